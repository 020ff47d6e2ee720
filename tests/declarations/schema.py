"""JSON schemas for editors: of a server's configuration, an inventory's variables, single files."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from factory.core.base.settings import REQUIRED, Setting, plain, settings_of, site_settings
from factory.core.lanes.agents import Agent
from factory.core.lanes.settings import LaneOptions
from factory.core.site.sections import SECTIONS, declared
from factory.core.site.settings import Inventory, Site

CONFIGURATION = Path("docs/configuration.schema.json")
INVENTORY = Path("docs/inventory.schema.json")
# Files that are neither: their names, titles and classes.
FILES = (
    (Path("docs/agent.schema.json"), "An agent of lanes, a file of images/agents", Agent),
    (Path("docs/lane.schema.json"), "lane.yml of a project", LaneOptions),
)
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_OPTION_TYPES = {
    **{"str": "string", "path": "string", "int": "integer", "float": "number", "bool": "boolean"},
    **{"list": "array", "dict": "object"},
}
# Where a value of its own type may stand, Ansible takes an expression.
_EXPRESSION = {"type": "string", "pattern": "\\{\\{|\\{%"}


def generated(roles: Mapping[str, str], specs: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Return the schemas; ``roles`` says which role sets a section, ``specs`` their options."""
    yield CONFIGURATION, _text(configuration())
    yield INVENTORY, _text(inventory(roles, specs))
    for path, title, cls in FILES:
        yield path, _text({"$schema": _DIALECT, "title": title, **of_class(cls)})


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def configuration() -> dict[str, Any]:
    """Return the schema of /etc/aina-factory, its files taken together."""
    return {
        "$schema": _DIALECT,
        "title": "Configuration of an aina-factory server",
        "type": "object",
        "properties": {
            **of_class(Site)["properties"],
            **{name: of_class(declared(name)) for name in SECTIONS},
        },
    }


def of_class(
    cls: type, default: Any = None, *, site: bool = False, partial: bool = False
) -> dict[str, Any]:
    """Return the schema of a section; with ``site`` of what an inventory may say of it.

    With ``partial`` it says only what differs.
    """
    items = site_settings(cls) if site else settings_of(cls)
    schema: dict[str, Any] = {
        "description": (inspect.getdoc(cls) or "").partition("\n")[0],
        "type": "object",
        "properties": {
            item.key: of_setting(item, item.of(default), site=site, partial=partial)
            for item in items
        },
        "additionalProperties": False,
    }
    required = [item.key for item in items if item.required and default is None]
    return {**schema, "required": required} if required and not partial else schema


def of_setting(
    item: Setting, default: Any, *, site: bool = False, partial: bool = False
) -> dict[str, Any]:
    """Return the schema of one key."""
    inner = item.inner(default)
    partial = site and (item.rule.partial or (partial and not item.container))
    one = of_class(item.nested, inner, site=site, partial=partial) if item.nested else _scalar(item)
    if item.nested and item.rule.short:
        (short,) = (each for each in settings_of(item.nested) if each.key == item.rule.short)
        one = {"anyOf": [of_setting(short, short.default, site=site), one]}
    if site:
        one = _or_expression(one)
    if item.container == "list":
        one = {"type": "array", "items": one}
    elif item.container == "mapping":
        one = {"type": "object", "additionalProperties": one}
        if item.rule.keys:
            one["propertyNames"] = {"enum": list(item.rule.keys)}
        elif item.rule.names:
            one["propertyNames"] = {"pattern": f"^({item.rule.names[0]})$"}
    if site and item.container:
        one = _or_expression(one)
    if item.optional:
        one = {"anyOf": [one, {"type": "null"}]}
    adds = {True: " Adds to the default.", False: " Replaces the default.", None: ""}
    one = {"description": item.rule.text + adds[item.rule.adds], **one}
    if default not in (REQUIRED, None) and not (item.nested and not item.container):
        one["default"] = plain(default)
    return one


def _scalar(item: Setting) -> dict[str, Any]:
    rule = item.rule
    if item.item is object:
        return {}
    schema: dict[str, Any] = {"type": _TYPES[item.item]}
    if rule.minimum is not None:
        schema["minimum"] = plain(rule.minimum)
    if rule.maximum is not None:
        schema["maximum"] = plain(rule.maximum)
    if rule.choices:
        schema["enum"] = list(rule.choices)
    if rule.form:
        empty = "|" if item.default == "" else ""
        schema["pattern"] = f"^({rule.form[0]}{empty})$"
    return schema


def _or_expression(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, _EXPRESSION]} if schema else schema


def inventory(roles: Mapping[str, str], specs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a file of variables: those of all roles, beside the site's own."""
    properties: dict[str, Any] = {}
    for options in specs.values():
        properties |= {name: of_option(option) for name, option in options.items()}
    classes = {role: declared(section) for section, role in roles.items()}
    for prefix, cls in {**classes, "factory": Inventory}.items():
        for item in site_settings(cls):
            properties[f"{prefix}_{item.key}"] = of_setting(item, item.default, site=True)
    return {
        "$schema": _DIALECT,
        "title": "Variables of an aina-factory inventory",
        "type": "object",
        "properties": dict(sorted(properties.items())),
    }


def of_option(option: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of an option that a role declares by hand."""
    said = option.get("description", "")
    schema: dict[str, Any] = {}
    kind = _OPTION_TYPES.get(option.get("type", "str"))
    if kind:
        schema["type"] = kind
    if "choices" in option:
        schema["enum"] = option["choices"]
    inner = {name: of_option(each) for name, each in (option.get("options") or {}).items()}
    required = [
        name for name, each in (option.get("options") or {}).items() if each.get("required")
    ]
    nested: dict[str, Any] = {}
    if inner:
        nested = {"type": "object", "properties": inner, "additionalProperties": False}
        nested |= {"required": required} if required else {}
    if kind == "array":
        schema["items"] = _or_expression(
            nested or {"type": _OPTION_TYPES.get(option.get("elements", "str"), "string")}
        )
    elif nested:
        schema |= nested
    described = {"description": said if isinstance(said, str) else " ".join(said)}
    default = {"default": option["default"]} if "default" in option else {}
    return {**described, **_or_expression(schema), **default}


def options(text: str) -> dict[str, Any]:
    """Return the options that an argument spec declares."""
    return yaml.safe_load(text)["argument_specs"]["main"].get("options") or {}
