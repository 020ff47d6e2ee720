"""Contracts of the roles and playbooks that no tool of the field checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from gates.tree import COLLECTION, files, report, require
from gates.yaml_files import load, walk

from factory.core.base.brought import Brought

REQUIRED_FILES = (
    "README.md",
    "defaults/main.yml",
    "meta/argument_specs.yml",
    "meta/main.yml",
    "tasks/main.yml",
)
ROLES = COLLECTION / "roles"
# Keys of section brings, which every role writes: backup_paths is an option of the role backup as well.
BROUGHT = {field.name for field in fields(Brought)}
PLAYBOOKS = COLLECTION / "playbooks"
PREFIX = "aina.factory."
README_MAX_LINES = 60
PLAY_KEYS = {
    *("name", "hosts", "become", "gather_facts", "gather_subset", "pre_tasks", "roles"),
    *("any_errors_fatal", "serial", "strategy", "max_fail_percentage"),
}
IMPORT_KEYS = {"name", "ansible.builtin.import_playbook", "tags", "when", "vars"}
# What works on the control node alone, before there is anything that a role could converge, or after all was.
CONTROL = {"aina.factory.new_inventory", "aina.factory.secrets", "ansible.builtin.fail"}
TASK_IMPORTS = ("ansible.builtin.import_tasks", "ansible.builtin.include_tasks")
# Modules that leave nothing behind which a state could describe.
ACTIONS = {"aina.factory.workflow_policy", "aina.factory.worktree_reap"}
ROLE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
MODULE_NAME = re.compile(r"\w+\.\w+\.\w+\Z")


def role_names(root: Path) -> list[str]:
    """Return the names of the roles, a half-made one included."""
    return sorted(
        {path.relative_to(ROLES).parts[0] for path in require(files(root, f"{ROLES}/*"), "role")}
    )


def _short(entry: str | dict[str, Any]) -> str:
    """Return the name that a role has in the collection."""
    name: str = entry["role"] if isinstance(entry, dict) else entry
    return name.removeprefix(PREFIX)


def _spec(root: Path, role: str) -> dict[str, Any]:
    path = root / ROLES / role / "meta/argument_specs.yml"
    if not path.is_file():
        return {}
    return load(path)["argument_specs"]["main"].get("options") or {}


def _roles_used(root: Path, playbooks: str) -> set[str]:
    names: set[str] = set()
    for path in files(root, playbooks):
        for mapping in walk(load(root / path)):
            for entry in mapping.get("roles") or []:
                names.add(_short(entry))
            for key in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
                if key in mapping:
                    names.add(_short(mapping[key]["name"]))
    return names


def _only_acts(root: Path, role: str) -> bool:
    """Whether nothing that the role does stays on the host, so that nothing can be taken back."""
    tasks = [
        mapping
        for path in files(root, f"{ROLES}/{role}/tasks/*.yml", f"{ROLES}/{role}/handlers/*.yml")
        for mapping in walk(load(root / path))
    ]
    used = {key for task in tasks for key in task if MODULE_NAME.match(key)}
    return bool(used & ACTIONS) and used <= {*ACTIONS, *TASK_IMPORTS, "ansible.builtin.assert"}


def layout(root: Path) -> str:
    """Every role has its files, a README of one screen, a state if it leaves one, and a molecule scenario."""

    def problems() -> Iterator[str]:
        used = _roles_used(root, f"{COLLECTION}/playbooks/*.yml")
        tested = _roles_used(root, "molecule/*/converge.yml")
        for role in role_names(root):
            base = root / ROLES / role
            for name in REQUIRED_FILES:
                if not (base / name).is_file():
                    yield f"{ROLES}/{role}/{name} is missing"
            readme = base / "README.md"
            if readme.is_file() and len(readme.read_text().splitlines()) > README_MAX_LINES:
                yield f"{ROLES}/{role}/README.md is longer than {README_MAX_LINES} lines"
            state = _spec(root, role).get(f"{role}_state", {})
            if _only_acts(root, role):
                if state:
                    yield f"{ROLES}/{role}: {role}_state means nothing, for the role leaves nothing"
            elif state.get("choices") != ["present", "absent"]:
                yield f"{ROLES}/{role}: option {role}_state with choices [present, absent] is missing"
            if not ROLE_NAME.match(role):
                yield f"{ROLES}/{role}: such a name cannot begin that of a variable"
            # Its syntax is judged with that of the playbook.
            if role not in used:
                yield f"{ROLES}/{role}: no playbook uses it"
            if role not in tested:
                yield f"{ROLES}/{role}: no molecule/*/converge.yml uses it"

    return report(problems())


def _interface_problems(root: Path, role: str) -> Iterator[str]:
    spec_path = f"{ROLES}/{role}/meta/argument_specs.yml"
    for name, option in _spec(root, role).items():
        if not name.startswith(f"{role}_"):
            yield f"{spec_path}: {name} must begin with {role}_"
        if ("default" in option) == bool(option.get("required")):
            yield f"{spec_path}: {name} needs a default, or must be required"


def interface(root: Path) -> str:
    """Every option of a role bears the role's name and has a default, unless it is required."""
    return report(line for role in role_names(root) for line in _interface_problems(root, role))


def _code(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def independence(root: Path) -> str:
    """No role reads another role's variables: wiring is the inventory's."""

    def problems() -> Iterator[str]:
        roles = role_names(root)
        public = {name: role for role in roles for name in _spec(root, role) if name not in BROUGHT}
        for role in roles:
            for path in files(root, f"{ROLES}/{role}/*.yml", f"{ROLES}/{role}/*.j2"):
                for word in sorted(set(re.findall(r"\w+", _code((root / path).read_text())))):
                    owners = [name for name in roles if word.startswith(f"__{name}_")]
                    owner = public.get(word) or max(owners, key=len, default=role)
                    if owner != role:
                        yield f"{path}: {word} belongs to role {owner}"

    return report(problems())


def _unused(root: Path, role: str) -> Iterator[str]:
    base = root / ROLES / role
    own = [root / path for path in files(root, f"{ROLES}/{role}/*")]
    sources = [path for path in own if path.suffix in {".yml", ".j2"}]
    text = "\n".join(_code(path.read_text()) for path in sources)
    mappings = [
        inner
        for path in sources
        if path.suffix == ".yml" and path.parent.name in {"tasks", "handlers"}
        for inner in walk(load(path))
    ]
    imported = {mapping[key] for mapping in mappings for key in TASK_IMPORTS if key in mapping}
    imported = {name if isinstance(name, str) else name["file"] for name in imported}
    notified: set[str] = set()
    for mapping in mappings:
        notify = mapping.get("notify") or []
        notified.update([notify] if isinstance(notify, str) else notify)
    for path in own:
        relative = path.relative_to(base)
        room, name = relative.parts[0], "/".join(relative.parts[1:])
        if room == "tasks" and name != "main.yml" and name not in imported:
            yield f"{ROLES}/{role}/{relative} is imported by no task"
        if room in {"files", "templates"}:
            # A directory may be named as a whole.
            places = [name, *map(str, Path(name).parents)][:-1]
            if not any(re.search(rf"(?<![\w.-]){re.escape(at)}(?![\w-])", text) for at in places):
                yield f"{ROLES}/{role}/{relative} is mentioned nowhere in the role"
        if room == "handlers":
            for handler in load(path) or []:
                if not notified & {handler.get("name"), handler.get("listen")}:
                    yield f"{ROLES}/{role}/{relative}: no task notifies {handler.get('name')!r}"


def unused_files(root: Path) -> str:
    """Every tasks file, template, file and handler of a role is used."""
    return report(line for role in role_names(root) for line in _unused(root, role))


def _unread(root: Path, role: str) -> Iterator[str]:
    rooms = ("tasks", "handlers", "templates", "vars")
    paths = files(root, *(f"{ROLES}/{role}/{room}/*" for room in rooms))
    text = "\n".join(_code((root / path).read_text()) for path in paths)
    private = {
        name: path
        for path in paths
        if path.relative_to(ROLES).parts[1] == "vars"
        for name in load(root / path) or {}
    }
    for name in _spec(root, role):
        if not re.search(rf"\b{name}\b", text):
            yield f"{ROLES}/{role}: nothing reads the option {name}"
    for name, path in private.items():
        if len(re.findall(rf"\b{name}\b", text)) < 2:
            yield f"{path}: nothing reads {name}"


def unread_variables(root: Path) -> str:
    """Every option and every variable of a role is read by a file of the role."""
    return report(line for role in role_names(root) for line in _unread(root, role))


# A name that no role reads would be left without effect, in silence.
FIRST_TASKS = [
    {
        "name": "Check what the inventory says",
        "aina.factory.check_variables": None,
        "tags": ["always"],
    }
]


def _play_problems(path: Path, play: dict[str, Any]) -> Iterator[str]:
    if "roles" in play and play.get("pre_tasks") != FIRST_TASKS:
        yield f"{path}: a play begins with {FIRST_TASKS[0]['name']!r}, aina.factory.check_variables"
    allowed = IMPORT_KEYS if "ansible.builtin.import_playbook" in play else PLAY_KEYS
    if [{*task} & CONTROL for task in play.get("tasks") or [{}]] != [set()]:
        allowed = PLAY_KEYS | {"connection", "tasks"}
        if "roles" in play or len(play["tasks"]) > 1:
            yield f"{path}: what works on the control node is one task, and no role stands beside it"
    for key in sorted(play.keys() - allowed):
        yield f"{path}: a playbook is a list of roles or of playbooks; {key} has no place in it"
    if "hosts" in play and play.get("gather_facts") is not False:
        yield f"{path}: gather_facts must be false; a module asks the host what it needs"
    for entry in play.get("roles") or []:
        role, name = _short(entry), entry["role"] if isinstance(entry, dict) else entry
        tags = entry.get("tags") if isinstance(entry, dict) else None
        if tags not in (role, [role]):
            yield f"{path}: role {role} must carry its own name as its only tag"
        if name == role:
            yield f"{path}: role {role} must be named {PREFIX}{role}: so it is found wherever this is installed"


def playbooks(root: Path) -> str:
    """Playbooks hold neither tasks nor variables and gather no facts; every role runs alone by its tag."""
    return report(
        line
        for path in require(files(root, f"{PLAYBOOKS}/*.yml"), "playbook")
        for play in load(root / path)
        for line in _play_problems(path, play)
    )
