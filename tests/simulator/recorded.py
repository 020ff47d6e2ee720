"""Compare the simulator's answers with recorded ones of the real GitHub, endpoint by endpoint.

The recordings are other projects' and stay theirs: ``AINA_RECORDED`` names the directories, of
PyGithub's ``tests/ReplayData`` and of ``scenarios`` of npm's ``@octokit/fixtures``. What is left
different stands in ``differences.yml``, each with its reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from simulator.exchanges import Exchange
from simulator.rest import ROUTES

LISTED = Path(__file__).with_name("differences.yml")
Json = dict[str, Any]
# An answer by the operation that gave it.
Answers = Iterator[tuple[str, Any]]


def directories() -> list[Path]:
    """Return where recordings are on this machine; none is usual."""
    return [Path(name) for name in os.environ.get("AINA_RECORDED", "").split(":") if name]


def answers(directory: Path) -> Answers:
    """Yield the recorded answers below ``directory`` to what the simulator serves, if they succeeded."""
    for path in sorted(directory.rglob("*.txt")):
        yield from _replayed(path.read_text(encoding="utf-8", errors="replace"))
    for path in sorted(directory.rglob("raw-fixture.json")):
        for item in json.loads(path.read_text(encoding="utf-8")):
            operation = _operation(item["method"].upper(), item["path"])
            if operation and 200 <= item["status"] < 300:
                yield operation, item["response"]


def _replayed(text: str) -> Answers:
    """Read PyGithub's form: eleven lines an exchange, the answer the tenth."""
    lines = text.split("\n")
    for start in range(0, len(lines) - 9, 11):
        scheme, method, host, _port, path, _sent, _body, status, _headers, answer = lines[
            start : start + 10
        ]
        if scheme != "https" or host != "api.github.com" or not status.startswith("2"):
            continue
        operation = _operation(method, path)
        try:
            body = json.loads(answer) if operation else None
        except ValueError:
            continue
        if operation:
            yield operation, body


def _operation(method: str, path: str) -> str:
    plain = path.partition("?")[0]
    found = (r for r in ROUTES if r.method == method and r.pattern.fullmatch(plain))
    return next((f"{route.method} {route.template}" for route in found), "")


def shapes(found: Iterable[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what each operation answers: by field, its types and whether it is always there."""
    merged: dict[str, dict[str, Any]] = {}
    for operation, body in found:
        _merge(merged.setdefault(operation, {}), body, "")
    return merged


def _merge(into: dict[str, Any], value: Any, place: str) -> None:
    name = type(value).__name__.replace("float", "int")
    entry = into.setdefault(place or ".", {"types": set(), "count": 0, "keys": {}})
    entry["types"].add(name)
    if isinstance(value, dict):
        entry["count"] += 1
        for key, inner in value.items():
            entry["keys"][key] = entry["keys"].get(key, 0) + 1
            _merge(into, inner, f"{place}.{key}")
    elif isinstance(value, list):
        for inner in value:
            _merge(into, inner, f"{place}[]")


def differences(recorded: dict[str, Any], ours: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield operation, field and what is different: absent here, or of another type.

    A field counts that every recorded answer has. Under one that is absent nothing is compared.
    """
    for operation, fields in sorted(recorded.items()):
        mine = ours.get(operation, {})
        for place, entry in sorted(fields.items()):
            if place not in mine:
                continue
            types, here = entry["types"] - {"NoneType"}, mine[place]["types"] - {"NoneType"}
            if types and here and not types & here:
                yield operation, place, f"{_names(here)}, at GitHub {_names(types)}"
            # What an App may do is said by name: the names are no fields.
            if "dict" not in here or place.endswith(".permissions"):
                continue
            for key, count in sorted(entry["keys"].items()):
                if count == entry["count"] and key not in mine[place]["keys"]:
                    yield operation, f"{place.rstrip('.')}.{key}", "absent"


def _names(types: set[str]) -> str:
    return " or ".join(sorted(types))


def answered(exchanges: Iterable[Exchange]) -> Answers:
    """Yield what the simulator answered, in the same form."""
    for exchange in exchanges:
        if exchange.route and 200 <= exchange.status < 300:
            yield f"{exchange.method} {exchange.route}", exchange.received


def listed() -> list[tuple[str, str, str]]:
    """Return the differences that are known, each of which must have its reason."""
    groups = yaml.safe_load(LISTED.read_text(encoding="utf-8"))
    rows = []
    for group in groups:
        assert group["reason"], group
        for operation, fields in group["fields"].items():
            rows += [(operation, field, group["what"]) for field in fields]
    return rows
