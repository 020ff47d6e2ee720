"""Does an exchange keep to GitHub's published OpenAPI description?

The description is that of the oldest supported version; what a newer one changes is written
in it too, as patches (``x-github-breaking-changes``).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema import Draft4Validator, validators
from referencing import Registry
from referencing.jsonschema import DRAFT4

from simulator import published
from simulator.exchanges import Exchange
from simulator.versions import OLDEST

Json = dict[str, Any]
ROOT = "openapi"
# A property that a version has removed must not come back.
GONE: Json = {"not": {}}


@lru_cache(maxsize=2)
def description(version: str = OLDEST) -> Json:
    """Return the whole document as it is in a version."""
    if version != OLDEST:
        found = copy.deepcopy(description())
        _change(found, version)
        return found
    read: Json = json.loads(published.ensure(published.OPENAPI).read_text(encoding="utf-8"))
    listed = read["paths"]["/app/installations"]["get"]["responses"]["200"]["content"]
    account = listed["application/json"]["schema"]["items"]["properties"]["account"]
    # As published, this one account is a user and an enterprise at once; elsewhere it is either.
    account["anyOf"] = account.pop("allOf")
    return read


def _change(node: Any, version: str) -> None:
    """Apply the patches of a version wherever they are written."""
    if isinstance(node, list):
        for inner in node:
            _change(inner, version)
    if not isinstance(node, dict):
        return
    for inner in list(node.values()):
        _change(inner, version)
    for change in node.pop("x-github-breaking-changes", []):
        if change["version"] != version:
            continue
        if isinstance(change["patch"], dict):
            _merge(node, change["patch"])
        else:
            for step in change["patch"]:
                _step(node, step)


def _merge(target: Json, patch: Json) -> None:
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif name == "properties":
            _merge_properties(target.setdefault(name, {}), value)
        elif isinstance(value, dict):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def _merge_properties(target: Json, patch: Json) -> None:
    for name, value in patch.items():
        if value is None:
            target[name] = GONE
        else:
            _merge(target.setdefault(name, {}), value)


def _step(node: Json, step: Json) -> None:
    *way, last = [
        part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]
    ]
    target: Any = node
    for part in way:
        target = target[int(part)] if isinstance(target, list) else target[part]
    key: Any = int(last) if isinstance(target, list) else last
    if step["op"] in ("add", "replace"):
        target[key] = step["value"]
    elif way and way[-1] == "properties":
        target[key] = GONE
    else:
        del target[key]


def _unless_null(keyword: str) -> Any:
    original = Draft4Validator.VALIDATORS[keyword]

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        # OpenAPI 3.0 writes "or null" beside the type.
        if instance is None and schema.get("nullable"):
            return
        yield from original(validator, value, instance, schema)

    return check


_KEYWORDS = {key: _unless_null(key) for key in ("type", "enum", "allOf", "anyOf", "oneOf")}
_VALIDATOR = validators.extend(Draft4Validator, _KEYWORDS)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=2)
def _registry(version: str) -> Registry[Any]:
    empty: Registry[Any] = Registry()
    resource = DRAFT4.create_resource(description(version))
    registry: Registry[Any] = empty.with_resource(ROOT, resource)
    return registry


@lru_cache(maxsize=1)
def _paths() -> list[tuple[re.Pattern[str], str]]:
    found = []
    for template in description()["paths"]:
        names = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        names = re.sub(r"(compare/|contents/|ref/|refs/|branches/)\[\^/\]\+$", r"\1.+", names)
        found.append((re.compile(names), template))
    # Fixed words win over names, as on GitHub.
    return sorted(found, key=lambda entry: (entry[1].count("{"), -len(entry[1])))


def operation(method: str, path: str, version: str = OLDEST) -> Json | None:
    """Return the published operation for a request."""
    for pattern, template in _paths():
        entry: Json = description(version)["paths"][template]
        if method.lower() in entry and pattern.fullmatch(path):
            found: Json = entry[method.lower()]
            return found
    return None


def _resolve(node: Json, version: str) -> Json:
    while "$ref" in node:
        target: Any = description(version)
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _problems(schema: Json, body: Any, what: str, version: str) -> list[str]:
    absolute = json.loads(json.dumps(schema).replace('"$ref": "#/', f'"$ref": "{ROOT}#/'))
    validator = _VALIDATOR(absolute, registry=_registry(version))
    errors: list[jsonschema.ValidationError] = sorted(validator.iter_errors(body), key=str)
    return [f"{what} {error.json_path}: {error.message[:300]}" for error in errors]


def problems(
    method: str,
    path: str,
    sent: Any,
    status: int,
    received: Any,
    *,
    version: str = OLDEST,
    query: Iterable[str] = (),
) -> list[str]:
    """Return what is wrong with an exchange; nothing when it keeps to the description."""
    found = operation(method, path, version)
    if found is None:
        return [f"{method} {path} is not in the description"]
    parameters = [_resolve(entry, version) for entry in found.get("parameters", [])]
    known = {entry["name"] for entry in parameters if entry["in"] == "query"}
    wrong = [f"there is no parameter {name!r}" for name in sorted(set(query) - known)]
    request = _resolve(found.get("requestBody", {}), version).get("content", {})
    if sent is not None and status < 400 and "application/json" in request:
        schema = request["application/json"]["schema"]
        wrong += _problems(schema, sent, "request", version)
    response = found["responses"].get(str(status))
    if response is not None:
        content = _resolve(response, version).get("content", {})
        if "application/json" in content:
            schema = content["application/json"]["schema"]
            wrong += _problems(schema, received, f"{status}", version)
        elif received is not None and status in {200, 201, 202, 204}:
            wrong.append(f"status {status} has no JSON body")
    elif status not in EVERYWHERE:
        wrong.append(f"status {status} is not in the description")
    return [f"{method} {path}: {text}" for text in wrong]


# What GitHub may answer to any request, written at no operation.
EVERYWHERE = frozenset({400, 401, 403, 404, 422, 429})


def violations(exchanges: Iterable[Exchange]) -> list[str]:
    """Return what is wrong with each of many exchanges."""
    return [
        text
        for found in exchanges
        for text in problems(
            found.method,
            found.path,
            found.sent,
            found.status,
            found.received,
            version=found.version,
            query=found.query,
        )
    ]
