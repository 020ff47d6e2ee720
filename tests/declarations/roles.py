"""What roles say of the settings that they set: options, defaults, and how both become a section."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from gates.tree import COLLECTION, files

from declarations.yaml_text import entry, prose, wrapped
from factory.core.base import settings
from factory.core.base.settings import Setting
from factory.core.site.sections import declared

ROLES = COLLECTION / "roles"
# Between these two comments of an argument spec stand the options of a section.
_BEGIN = re.compile(r"^ +# Section (?P<section>[a-z_]+), written by script/generate\.$", re.M)
_END = "# End of section {}."
_MARKUP = re.compile(r"\b[BCIOVPRMUEL]+\(([^)]*)\)")
_CASTS = {bool: "bool", int: "int", float: "float"}


def spec_path(role: str) -> Path:
    """Return where a role declares its options."""
    return Path(ROLES, role, "meta/argument_specs.yml")


def role_names(root: Path) -> list[str]:
    """Return the names of the roles that declare options."""
    return sorted(path.parts[-3] for path in files(root, f"{ROLES}/*/meta/argument_specs.yml"))


def sections(text: str) -> list[str]:
    """Return the sections whose options an argument spec has."""
    return [found["section"] for found in _BEGIN.finditer(text)]


def sections_of_roles(root: Path) -> dict[str, str]:
    """Return which role sets a section."""
    return {
        section: role
        for role in role_names(root)
        for section in sections((root / spec_path(role)).read_text())
    }


def generated(root: Path) -> Iterator[tuple[Path, str]]:
    """Return the files of the roles as their declarations want them."""
    for role in role_names(root):
        old = (root / spec_path(role)).read_text()
        text = argument_spec(role, old)
        yield spec_path(role), text
        spec = yaml.safe_load(text)["argument_specs"]["main"].get("options") or {}
        yield Path(ROLES, role, "defaults/main.yml"), defaults(spec)
        if sections(text):
            path = Path(ROLES, role, "vars/main/configuration.yml")
            yield path, mapping(role, sections(text), _private(root, role))


# --- the argument spec ------------------------------------------------------


def argument_spec(role: str, text: str) -> str:
    """Return an argument spec with the options of its sections written anew.

    Raises:
        ValueError: a section has no end.

    """
    for section in sections(text):
        begin = next(found for found in _BEGIN.finditer(text) if found["section"] == section)
        end = text.find(_END.format(section), begin.end())
        if end < 0:
            raise ValueError(f"{spec_path(role)}: section {section} lacks {_END.format(section)!r}")
        margin = text[text.rfind("\n", 0, end) + 1 : end]
        lines = [
            line
            for item in settings.site_settings(declared(section))
            for line in _of_role(f"{role}_{item.key}", item, len(margin))
        ]
        text = "\n".join([text[: begin.end()], *lines, margin + text[end:]])
    return text


def _of_role(name: str, item: Setting, indent: int) -> list[str]:
    """Return the lines of an option of a role, which has a default unless it must be given."""
    lines = option(name, item, item.rule.expression or item.default, indent)
    has_none = item.default is None and not item.rule.expression
    return [*lines, *(entry("default", None, indent + 2) if has_none else [])]


def option(name: str, item: Setting, default: Any, indent: int) -> list[str]:
    """Return the lines of one option."""
    inner = indent + 2
    what = settings.option(item, default)
    if item.rule.expression == default and what.get("type") == "bool":
        # Whoever reads the documentation takes nothing but the words of a boolean for one.
        what["type"] = "raw"
    lines = [" " * indent + f"{name}:", *prose("description", described(item), inner)]
    for key, value in what.items():
        if key not in ("options", "no_log"):
            lines += entry(key, value, inner)
    if item.nested and "options" in what:
        lines.append(" " * inner + "options:")
        for each in settings.site_settings(item.nested):
            lines += option(each.key, each, each.of(item.inner(default)), inner + 2)
    return lines


def described(item: Setting) -> str:
    """Return the sentences of an option."""
    text = re.sub(r"`([^`]+)`", r"C(\1)", item.rule.text)
    if item.rule.adds:
        text += " What is given is added to the standard ones."
    elif item.nested and not item.container:
        text += " Keys that are left out keep their defaults."
    return text


# --- defaults and the section ----------------------------------------------


def defaults(spec: Mapping[str, Any]) -> str:
    """Return the defaults of a role, each below its sentence."""
    blocks = []
    for name, what in spec.items():
        if what.get("required"):
            continue
        said = what.get("description", "")
        said = said if isinstance(said, str) else " ".join(said)
        sentence = _MARKUP.sub(r"\1", " ".join(said.split()))
        blocks.append("\n".join([*wrapped(sentence, "# "), *entry(name, what.get("default"))]))
    return "---\n" + "\n\n".join(blocks) + "\n"


def _private(root: Path, role: str) -> set[str]:
    """Return the names of the role's own variables."""
    paths = [
        path for path in files(root, f"{ROLES}/{role}/vars/*") if path.name != "configuration.yml"
    ]
    return {name for path in paths for name in yaml.safe_load((root / path).read_text()) or {}}


def mapping(role: str, names: list[str], private: set[str]) -> str:
    """Return the variable that holds what a role says of its sections."""
    lines = [
        "---",
        "# The sections that the options of this role make. Written by script/generate.",
        f"__{role}_settings:",
    ]
    for section in names:
        lines.append(f"  {section}:")
        for item in settings.settings_of(declared(section)):
            # What the role makes of an option, or of no option, is a variable of its own.
            if f"__{role}_{item.key}" in private:
                lines += entry(item.key, "{{ " + f"__{role}_{item.key}" + " }}", 4)
            elif item.rule.by == "site":
                lines += entry(item.key, "{{ " + _value(f"{role}_{item.key}", item) + " }}", 4)
    return "\n".join(lines) + "\n"


def _value(name: str, item: Setting) -> str:
    if item.container:
        return name
    if item.nested:
        return f"{name} | default(none, true)" if item.optional else name
    # What --extra-vars says is text.
    cast = _CASTS.get(item.item)
    return f"{name} | {cast}" if cast and not item.optional else name
