"""The step of :mod:`aina.factory.managed_files`: files and directories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import managed_files
from ..way_in import way_back
from . import PROGRAMS, Context, StepError, lacks_program

_ATTRIBUTES: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
ARGUMENTS: dict[str, Any] = {
    "directories": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            **_ATTRIBUTES,
            "mode": {"type": "str", "default": "0755"},
            "exclusive": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        # As a whole, so that the host's log never sees a content; see hide_contents.
        "no_log": True,
        "options": {
            **_ATTRIBUTES,
            "content": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0644"},
            "validate": {"type": "list", "elements": "str", "default": []},
            "sensitive": {"type": "bool", "default": False},
        },
    },
    "links": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "target": {"type": "str", "required": True},
        },
    },
    "absent": {"type": "list", "elements": "str", "default": []},
    "former_dir": {"type": "path"},
    "given_back": {"type": "list", "elements": "str", "default": []},
}


def secrets(parameters: dict[str, Any]) -> set[str]:
    """Return the contents that no answer may show: those that are said to be sensitive."""
    return {
        item["content"].strip()
        for item in parameters["files"]
        if item["sensitive"] and item["content"].strip()
    }


def shown(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters without the contents, for display."""
    return {
        **parameters,
        "files": [{**item, "content": "(left out)"} for item in parameters["files"]],
    }


def _attributes(item: dict[str, Any]) -> managed_files.Attributes:
    try:
        mode = int(item["mode"], 8)
    except ValueError:
        raise StepError(
            f"{item['path']}: mode {item['mode']!r} must be four octal digits"
        ) from None
    return managed_files.Attributes(item["owner"], item["group"], mode)


def _plan(parameters: dict[str, Any]) -> list[managed_files.Change]:
    directories = [
        managed_files.DirectorySpec(
            item["path"], _attributes(item), item["exclusive"], tuple(item["exclude"])
        )
        for item in parameters["directories"]
    ]
    files = [
        managed_files.FileSpec(
            item["path"],
            item["content"].encode("utf-8", "surrogateescape"),
            _attributes(item),
            tuple(item["validate"]),
            item["sensitive"],
        )
        for item in parameters["files"]
    ]
    links = [managed_files.LinkSpec(item["path"], item["target"]) for item in parameters["links"]]
    return managed_files.plan(directories, files, parameters["absent"], links)


def _lacking(parameters: dict[str, Any], context: Context) -> list[dict[str, str]]:
    """Return which files cannot be judged, for a program of an earlier role is not here yet."""
    declared = [options for name, options in context.declared if name == "managed_files"]
    coming = {item["path"] for options in declared for item in options["files"]}
    coming |= {*context.changed_paths}
    return [
        lacks_program(item["path"], item["validate"][0])
        for item in parameters["files"]
        if item["validate"]
        and item["validate"][0] in PROGRAMS
        and not Path(item["validate"][0]).exists()
        and item["validate"][0] not in coming
    ]


def guard(parameters: dict[str, Any], context: Context) -> None:
    """Refuse, before anything else is done, what only an earlier role makes possible."""
    for item in _lacking(parameters, context) if not context.check_mode else ():
        raise StepError(f"{item['what']} cannot be judged without {item['for']}: {item['remedy']}")


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what is there, and write."""
    done: list[str] = []
    former, given_back = parameters["former_dir"], parameters["given_back"]
    try:
        changes = _plan(parameters)
        if former:
            changes += managed_files.give_back(given_back, Path(former))
        if undo := way_back.of_files([change.path for change in changes]):
            context.protect(undo)
        if not context.check_mode:
            if former:
                managed_files.keep_former(changes, Path(former))
            managed_files.apply(changes, context.run, done)
            if former:
                managed_files.forget_former(given_back, Path(former))
    except managed_files.ManagedFilesError as error:
        raise StepError(str(error), changed_paths=done) from error
    return {
        "changed": bool(changes),
        "changed_paths": [change.path for change in changes],
        "waiting": _lacking(parameters, context) if context.check_mode else [],
        "diff": [
            {
                "before_header": change.path,
                "after_header": f"{change.path} ({change.kind})",
                "before": change.before,
                "after": change.after,
            }
            for change in changes
        ],
    }
