"""Does an exchange keep to GitHub's published OpenAPI description?"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import jsonschema
from jsonschema import Draft4Validator, validators
from referencing import Registry
from referencing.jsonschema import DRAFT4

from simulator import published

Json = dict[str, Any]
ROOT = "openapi"


@lru_cache(maxsize=1)
def description() -> Json:
    """Return the whole document."""
    found: Json = json.loads(published.ensure(published.OPENAPI).read_text(encoding="utf-8"))
    return found


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


@lru_cache(maxsize=1)
def _registry() -> Registry[Any]:
    empty: Registry[Any] = Registry()
    registry: Registry[Any] = empty.with_resource(ROOT, DRAFT4.create_resource(description()))
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


def operation(method: str, path: str) -> Json | None:
    """Return the published operation for a request."""
    for pattern, template in _paths():
        entry: Json = description()["paths"][template]
        if method.lower() in entry and pattern.fullmatch(path):
            found: Json = entry[method.lower()]
            return found
    return None


def _resolve(node: Json) -> Json:
    while "$ref" in node:
        target: Any = description()
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _problems(schema: Json, body: Any, what: str) -> list[str]:
    absolute = json.loads(json.dumps(schema).replace('"$ref": "#/', f'"$ref": "{ROOT}#/'))
    validator = _VALIDATOR(absolute, registry=_registry())
    errors: list[jsonschema.ValidationError] = sorted(validator.iter_errors(body), key=str)
    return [f"{what} {error.json_path}: {error.message[:300]}" for error in errors]


def problems(method: str, path: str, sent: Any, status: int, received: Any) -> list[str]:
    """Return what is wrong with an exchange; nothing when it keeps to the description."""
    found = operation(method, path)
    if found is None:
        return [f"{method} {path} is not in the description"]
    wrong = []
    request = _resolve(found.get("requestBody", {})).get("content", {})
    if sent is not None and status < 400 and "application/json" in request:
        wrong += _problems(request["application/json"]["schema"], sent, "request")
    response = found["responses"].get(str(status))
    if response is None:
        return [*wrong, f"{method} {path}: status {status} is not in the description"]
    content = _resolve(response).get("content", {})
    if "application/json" in content:
        wrong += _problems(content["application/json"]["schema"], received, f"{status}")
    elif received is not None and status in {200, 201, 202, 204}:
        wrong.append(f"{method} {path}: status {status} has no JSON body")
    return [f"{method} {path}: {text}" for text in wrong]
