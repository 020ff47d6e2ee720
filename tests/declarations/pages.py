"""docs/settings: one page for each section, one row for each key."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from declarations.roles import ROLES
from factory.core.base.settings import REQUIRED, Setting, plain, settings_of
from factory.core.site.sections import SECTIONS, declared
from factory.core.site.settings import Inventory

DIRECTORY = Path("docs/settings")
_LISTED_MAX = 4
_MANY = 5
_HEAD = "| key | type | default | meaning |\n|---|---|---|---|"
_NAMES = {str: "string", int: "whole number", float: "number", bool: "true or false", object: "any"}


@dataclass(frozen=True)
class _Place:
    """A mapping of keys: where it stands, its class, and the values that it has by default."""

    path: str
    cls: type
    default: Any
    # Whether it stands for several keys, whose defaults the table above names.
    many: bool = False


def generated(roles: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Return the pages; ``roles`` says which role sets a section."""
    yield DIRECTORY / "site.md", page("Site", Inventory, "factory")
    for section in SECTIONS:
        title = f"Section `{section}`"
        yield DIRECTORY / f"{section}.md", page(title, declared(section), roles.get(section))
    yield DIRECTORY / "README.md", index(roles)


def index(roles: Mapping[str, str]) -> str:
    """Return the table of all sections."""
    lines = [
        "# Settings",
        "",
        "One page for each section of the configuration, written by `script/generate` from the classes that read it.",
        "",
        "| section | what | role |",
        "|---|---|---|",
        f"| [site](site.md) | {_first(Inventory)} | all |",
    ]
    for section in SECTIONS:
        role = roles.get(section)
        link = f"[{role}](../../{ROLES}/{role}/README.md)" if role else ""
        lines.append(f"| [{section}]({section}.md) | {_first(declared(section))} | {link} |")
    return "\n".join(lines) + "\n"


def _first(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def page(title: str, cls: type, prefix: str | None) -> str:
    """Return the page of one class; ``prefix`` is that of its variables in an inventory."""
    lines = [f"# {title}", "", inspect.getdoc(cls) or "", ""]
    if prefix:
        lines += [f"In the inventory a key is the variable `{prefix}_<key>`.", ""]
    lines += [
        "Written by `script/generate` from the class"
        f" `{cls.__name__}` in `{cls.__module__.partition('.core.')[2]}`.",
        "",
    ]
    places, shown = [_Place("", cls, None)], dict[type, _Place]()
    for index, place in enumerate(places):
        if place.path:
            lines += [f"## `{place.path}`", "", inspect.getdoc(place.cls) or "", ""]
        if place.cls in shown:
            lines += [*_differences(place, shown[place.cls]), ""]
            continue
        shown[place.cls] = place
        lines += [*_table(place), ""]
        places[index + 1 : index + 1] = _below(place)
    return "\n".join(lines).rstrip() + "\n"


def _differences(place: _Place, first: _Place) -> Iterator[str]:
    """Say of a mapping whose keys stand in an earlier table which defaults are others here."""
    yield f"The keys are those of `{first.path}`."
    pairs = [
        (item, item.of(place.default), item.of(first.default)) for item in settings_of(place.cls)
    ]
    others = [f"`{item.key}` {_default(item, own)[0]}" for item, own, its in pairs if own != its]
    if others:
        yield f"Other defaults: {', '.join(others)}."


def _table(place: _Place) -> Iterator[str]:
    yield _HEAD
    standards = []
    for item in settings_of(place.cls):
        default = item.of(place.default)
        words, standard = _default(item, default)
        words = f"`{item.rule.expression}`" if item.rule.expression else words
        if place.many:
            words = "see above"
        elif _is_one_of_many(item, place.cls):
            own = plain(default)
            words = ", ".join(
                f"`{each.key}` {own[each.key]}" for each in settings_of(type(default))
            )
        if standard:
            standards.append(f"Standard of `{item.key}`: {standard}.")
        by = " The role sets it." if item.rule.by == "role" else ""
        text = f"{item.rule.text}{by}".replace("|", "\\|")
        yield f"| `{item.key}` | {_type(item)} | {words} | {text} |"
    for line in standards:
        yield ""
        yield line


def _is_one_of_many(item: Setting, cls: type) -> bool:
    """Whether a mapping is one among many of one class, which need no tables of their own."""
    alike = [each for each in settings_of(cls) if each.nested is item.nested]
    return item.nested is not None and not item.container and len(alike) >= _MANY


def _type(item: Setting) -> str:
    rule = item.rule
    name = "mapping" if item.nested else _NAMES[item.item]
    if item.nested and rule.short:
        (short,) = (each for each in settings_of(item.nested) if each.key == rule.short)
        name = f"{_NAMES[short.item]} (its `{rule.short}`) or mapping"
    elif rule.choices:
        name = "one of " + ", ".join(f"`{choice}`" for choice in rule.choices)
    elif rule.kind == "path":
        name = "path"
    elif rule.form:
        name += f" that must {rule.form[1]}".replace("|", "\\|").replace("must be", "is")
    if item.unit:
        name += f", {item.unit}"
    if rule.minimum is not None and rule.maximum is not None:
        name += f", {rule.minimum:g} to {rule.maximum:g}"
    elif rule.minimum is not None:
        name += f", at least {rule.minimum:g}"
    elif rule.maximum is not None:
        name += f", at most {rule.maximum:g}"
    if item.container == "list":
        name = f"list: {name}"
    elif item.container == "mapping":
        keys = ", ".join(f"`{key}`" for key in rule.keys) or "names"
        name = f"mapping of {keys}: {name}"
    return name


def _default(item: Setting, default: Any) -> tuple[str, str]:
    """Return what stands in the table, and a list that is too long for it."""
    if default is REQUIRED:
        return "must be given", ""
    if default is None or default == "":
        return "none", ""
    if item.nested and not item.container:
        return "see below", ""
    if not item.container:
        return f"`{json.dumps(plain(default))}`".replace('`"', "`").replace('"`', "`"), ""
    values = plain(default)
    if isinstance(values, dict):
        values = [f"{key}: {value}" for key, value in values.items()]
    words = ", ".join(f"`{value}`" for value in values) or "empty"
    many = len(values) > _LISTED_MAX
    verb = {True: "; what is given is added", False: "; what is given replaces it", None: ""}
    return ("see below" if many else words) + verb[item.rule.adds], words if many else ""


def _below(place: _Place) -> list[_Place]:
    places: list[_Place] = []
    for item in settings_of(place.cls):
        if not item.nested:
            continue
        if _is_one_of_many(item, place.cls):
            if not any(each.many for each in places):
                places.append(_Place(f"{place.path}.*", item.nested, None, many=True))
            continue
        default = item.of(place.default)
        marks = {"": "", "list": "[]", "mapping": ".*"}[item.container]
        inner = item.inner(default)
        path = f"{place.path}.{item.key}{marks}".lstrip(".")
        places.append(_Place(path, item.nested, inner))
    return places
