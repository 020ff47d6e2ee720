"""Ask a real GitHub what this project asks, and write its answers without secrets.

A person runs it once (``script/record-github``) with a token and two repositories that may be
thrown away. What it writes has the form of ``answers.yml``; a test holds the simulator to it.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
# Method, path, body and status; a status of 0 is no answer.
Send = Callable[[str, str, Json | None], tuple[int, Any]]
RECORDED = Path(__file__).with_name("recorded.yml")
_TIMEOUT_SECONDS = 30
_READS = (
    "",
    "/actions/runners?per_page=100",
    "/actions/runners/1",
    "/actions/runners/downloads",
    "/actions/runs?status=queued&per_page=100",
    "/actions/permissions",
    "/actions/permissions/fork-pr-contributor-approval",
    "/actions/permissions/fork-pr-workflows-private-repos",
    "/pulls?state=open&per_page=1",
    "/issues?state=open&per_page=1",
    "/rulesets",
)
_ORGANIZATION_READS = (
    "/actions/runners?per_page=100",
    "/actions/runner-groups?per_page=100",
    "/actions/permissions/self-hosted-runners",
    "/actions/permissions/fork-pr-contributor-approval",
)
_RUNNER = "aina-factory-record"


@dataclass(frozen=True)
class Target:
    """Whom is asked: its kind in words, the base of its paths, and what stands for its name."""

    kind: str
    base: str
    name: str
    placeholder: str


def shape(value: Any) -> Any:
    """Return the types of an answer in place of its values; of a list, its first item's."""
    if isinstance(value, dict):
        return {str(key): shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return {bool: "boolean", int: "number", float: "number", str: "text", type(None): "null"}.get(
        type(value), "unknown"
    )


def record(targets: list[Target], send: Send) -> Iterator[Json]:
    """Yield a row for each question; the one runner that is registered is removed again."""
    for target in targets:
        is_repository = target.placeholder == "{repository}"
        for path in _READS if is_repository else _ORGANIZATION_READS:
            yield _row(target, "GET", path, *send("GET", target.base + path, None))
        yield from _writes(target, send)


def _writes(target: Target, send: Send) -> Iterator[Json]:
    runners = f"{target.base}/actions/runners"
    yield _row(
        target,
        "POST",
        "/actions/runners/registration-token",
        *send("POST", f"{runners}/registration-token", None),
    )
    body = {"name": _RUNNER, "runner_group_id": 1, "labels": [_RUNNER]}
    path = "/actions/runners/generate-jitconfig"
    status, answer = send("POST", f"{runners}/generate-jitconfig", body)
    yield _row(target, "POST", path, status, answer)
    if status != 201:
        return
    number = answer["runner"]["id"]
    try:
        again = {**_row(target, "POST", path, *send("POST", target.base + path, body))}
        yield {**again, "kind": f"{target.kind}, a name that is taken"}
    finally:
        status, answer = send("DELETE", f"{runners}/{number}", None)
    yield _row(target, "DELETE", "/actions/runners/{id}", status, answer)


def _row(target: Target, method: str, path: str, status: int, answer: Any) -> Json:
    base = target.base.replace(target.name, target.placeholder)
    row: Json = {"kind": target.kind, "method": method, "path": base + path, "status": status}
    if 200 <= status < 300:
        row["shape"] = shape(answer)
    elif isinstance(answer, dict):
        # What GitHub says of a refusal is what this project reads; it holds no secret but names.
        words = {key: answer[key] for key in ("message", "errors", "status") if key in answer}
        row["body"] = json.loads(json.dumps(words).replace(target.name, target.placeholder))
    return row


def differences(row: Json, status: int, answer: Any) -> list[str]:
    """Return where an answer is not what was recorded: its status, or a key that GitHub has."""
    if row["status"] != status:
        return [f"{row['method']} {row['path']} ({row['kind']}): {status}, not {row['status']}"]
    if "shape" not in row:
        return []
    return [
        f"{row['method']} {row['path']} ({row['kind']}): {words}"
        for words in _lacking(row["shape"], shape(answer), "")
    ]


def _lacking(wanted: Any, found: Any, place: str) -> Iterator[str]:
    """Yield what somebody who reads the found one would get another way from GitHub."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in found:
            if key not in wanted:
                yield f"{place}{key} is not there at GitHub"
            else:
                yield from _lacking(wanted[key], found[key], f"{place}{key}.")
    elif isinstance(wanted, list) and isinstance(found, list):
        if wanted and found:
            yield from _lacking(wanted[0], found[0], f"{place}[].")
    elif wanted != found and "null" not in (wanted, found):
        yield f"{place.rstrip('.')} is {found}, at GitHub {wanted}"


def sender(api_url: str, token: str, ca_file: str | None = None) -> Send:
    """Return what asks a server; the token goes into no file and no message."""
    context = ssl.create_default_context(cafile=ca_file)

    def send(method: str, path: str, body: Json | None) -> tuple[int, Any]:
        request = urllib.request.Request(  # noqa: S310 - the operator's own server
            api_url.rstrip("/") + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "aina-factory-record",
            },
        )
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_SECONDS, context=context
            ) as response:
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            try:
                return error.code, json.loads(error.read() or b"null")
            except ValueError:
                return error.code, None
        except (OSError, ValueError):
            return 0, None

    return send


def main(argv: list[str], environment: dict[str, str]) -> int:
    """Record; return the exit status."""
    parser = argparse.ArgumentParser(prog="script/record-github", description=__doc__)
    parser.add_argument("--private", required=True, metavar="OWNER/NAME")
    parser.add_argument("--public", required=True, metavar="OWNER/NAME")
    parser.add_argument("--organization", metavar="NAME")
    parser.add_argument("--plan", default="unknown plan", help="words for it, as in 'team plan'")
    parser.add_argument("--api-url", default="https://api.github.com")
    parser.add_argument("--ca-file")
    parser.add_argument("--output", type=Path, default=RECORDED)
    given = parser.parse_args(argv)
    token = environment.get("GITHUB_TOKEN", "")
    if not token:
        print("GITHUB_TOKEN is not set; it needs administration of both repositories")
        return 2
    targets = [
        Target(f"{kind} repository, {given.plan}", f"/repos/{name}", name, "{repository}")
        for kind, name in (("private", given.private), ("public", given.public))
    ]
    if given.organization:
        name = given.organization
        targets.append(
            Target(f"organization, {given.plan}", f"/orgs/{name}", name, "{organization}")
        )
    rows = list(record(targets, sender(given.api_url, token, given.ca_file)))
    text = "---\n# Written by script/record-github.\n" + yaml.safe_dump(rows, sort_keys=False)
    if token in text:
        print("an answer holds the token; nothing is written")
        return 1
    given.output.write_text(text, encoding="utf-8")
    silent = sum(row["status"] == 0 for row in rows)
    print(f"{len(rows)} answers in {given.output}, {silent} questions without an answer")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
