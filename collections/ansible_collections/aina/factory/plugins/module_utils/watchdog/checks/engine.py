"""Whether the container engine answers, and can start containers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...base.ports import Request, Response
from ...jobs import observe
from ..check import Answer, BadOrGood, Check, JudgeContext, Status
from ..sources import AbsentError, Host, Source


@dataclass(frozen=True)
class EngineState:
    """The container engine's answer."""

    answers: bool
    detail: str
    restart_pending: str = ""


def read(host: Host) -> EngineState:
    """Ask the engine whether it is there, through its socket and without its client."""
    path = host.policy.engine_socket_path
    if not path:
        raise AbsentError("no engine is declared (engine_socket_path)")
    pending = observe.read_json(Path(host.policy.data_dir, "docker-restart-pending.json"))
    waits = str((pending or {}).get("why", ""))
    try:
        answer = _ask(host, "_ping", host.policy.gather_seconds / 2)
    except (FileNotFoundError, ConnectionError) as error:
        return EngineState(False, f"{path}: {error.strerror or type(error).__name__}", waits)
    if answer.status != 200:
        return EngineState(False, f"{path} answers with status {answer.status}", waits)
    why = _why_nothing_starts(host)
    if why:
        return EngineState(False, f"answers at {path}, but no container can start: {why}", waits)
    return EngineState(True, f"answers at {path}", waits)


def _why_nothing_starts(host: Host) -> str:
    """Ask for something that the engine does not know by itself; "" when all is well."""
    limit = host.policy.gather_seconds / 4
    try:
        answer = _ask(host, "version", limit)
    except TimeoutError:
        return f"it does not tell its parts within {limit:g} s; is containerd stuck?"
    if answer.status != 200:
        return f"it does not tell its parts (status {answer.status})"
    told = json.loads(answer.body).get("Components") or ()
    parts = {item["Name"]: item.get("Version") for item in told}
    # Docker leaves out what did not answer it; other engines have no such part.
    lost = "Engine" in parts and parts.get("containerd") in (None, "", "N/A")
    return "containerd does not answer it" if lost else ""


def _ask(host: Host, what: str, limit_seconds: float) -> Response:
    return host.engine(Request("GET", f"http://engine/{what}"), timeout_seconds=limit_seconds)


def judge(engine: EngineState, _context: JudgeContext) -> Iterator[Answer]:
    """Judge whether the container engine answers."""
    yield Answer("", Status.OK if engine.answers else Status.PROBLEM, engine.detail)


SOURCE = Source("engine", read)
CHECKS = (
    Check(
        name="engine",
        title="Container engine",
        advice="systemctl status docker; journalctl -u docker",
        source=SOURCE,
        judge=judge,
        selftest=BadOrGood(lambda bad, _now: EngineState(not bad, "as told")),
        severity="critical",
    ),
)
