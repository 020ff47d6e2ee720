"""What Paperclip says of itself: health, boards, runs; and where its ports are reachable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import times
from ..base.configuration import Section
from ..base.ports import Fetch, Request
from ..base.text import printable
from ..paperclip.settings import PaperclipSettings
from .facts import Absent, Fact
from .places import expand
from .readings import ReadingError
from .sources import answered

LONGEST_LIST = 1000
RECENT_RUNS = 20
FEWEST_RUNS = 3
_LONGEST_REASON = 200
_ENDED = ("succeeded", "failed", "timed_out")
_RUNS = 200
# Addresses that only this host reaches, as the kernel prints them.
_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


@dataclass(frozen=True)
class BoardRun:
    """One running agent run."""

    name: str
    last_output_at: float | None
    started_at: float | None


@dataclass(frozen=True)
class Company:
    """The board of one company; counts are exact unless ``todo_truncated``.

    ``recent_runs`` are the newest that ended, of which ``recent_failed`` failed.
    """

    name: str
    tasks_open: int
    tasks_in_progress: int
    tasks_blocked: int
    tasks_done: int
    tasks_todo: int
    todo_truncated: bool
    agents_active: int
    agents_running: int
    agents_paused: int
    agents_error: int
    last_success_at: float | None
    runs: tuple[BoardRun, ...]
    recent_runs: int = 0
    recent_failed: int = 0
    last_failure: str = ""


@dataclass(frozen=True)
class Paperclip:
    """Paperclip's own account of itself, and where its ports are reachable."""

    healthy: bool
    detail: str
    version: str
    companies: Fact[tuple[Company, ...]]
    exposed: Fact[tuple[str, ...]]
    codex_drift: Fact[tuple[str, ...]]


def ask(settings: PaperclipSettings, fetch: Fetch, proc: Path, limit_seconds: float) -> Paperclip:
    """Return what can be known.

    Raises:
        OSError: the token cannot be read.

    """
    headers = {"Accept": "application/json"}
    if settings.token_file:
        token = Path(settings.token_file).read_text(encoding="ascii").strip()
        headers["Authorization"] = f"Bearer {token}"
    healthy, detail, version = _health(settings, fetch, headers, limit_seconds)
    companies: Fact[tuple[Company, ...]] = Absent("not asked while Paperclip is not healthy")
    if healthy:
        companies = answered(lambda: _companies(settings, fetch, headers, limit_seconds))
    tables = {name: _table(proc / "net" / name) for name in ("tcp", "tcp6")}
    return Paperclip(
        healthy,
        detail,
        version,
        companies,
        answered(lambda: exposed_ports(tables, settings.ports)),
        codex_drift(settings),
    )


def _table(path: Path) -> str:
    # A host without IPv6 has no such table.
    return path.read_text() if path.exists() else ""


def _health(
    settings: PaperclipSettings, fetch: Fetch, headers: Mapping[str, str], limit_seconds: float
) -> tuple[bool, str, str]:
    request = Request("GET", f"{settings.url}/api/health", headers)
    try:
        answer = fetch(request, timeout_seconds=limit_seconds / 2)
    except OSError as error:
        return False, f"{settings.url} does not answer: {error}", ""
    try:
        said = json.loads(answer.body)
    except ValueError:
        said = {}
    status = said.get("status", "no status") if isinstance(said, dict) else "no status"
    version = str(said.get("version", "")) if isinstance(said, dict) else ""
    if answer.status == 200 and status == "ok":
        return True, f"version {version or 'unknown'} is healthy", version
    why = said.get("error", "") if isinstance(said, dict) else ""
    return False, f"status {answer.status}, {status} {why}".strip(), version


def _companies(
    settings: PaperclipSettings, fetch: Fetch, headers: Mapping[str, str], limit_seconds: float
) -> tuple[Company, ...]:
    def get(path: str) -> Any:
        request = Request("GET", f"{settings.url}/api/{path}", headers)
        answer = fetch(request, timeout_seconds=limit_seconds / 2)
        if answer.status != 200:
            raise OSError(f"/api/{path} answers with status {answer.status}")
        return json.loads(answer.body)

    found = []
    for item in get("companies"):
        place = f"companies/{item['id']}"
        found.append(
            company(
                str(item.get("name") or item["id"]),
                get(f"{place}/dashboard"),
                get(f"{place}/issues?status=todo&limit={LONGEST_LIST}"),
                get(f"{place}/heartbeat-runs?summary=true&limit={_RUNS}"),
                get(f"{place}/live-runs"),
            )
        )
    return tuple(found)


def codex_drift(settings: PaperclipSettings) -> Fact[tuple[str, ...]]:
    """Return the codex homes whose configuration is not the user's own any more."""
    own = Path(settings.codex_config_path)
    homes = [Path(home, "config.toml") for home in expand(settings.codex_homes)]
    copies = [path for path in homes if path.is_file()]
    if not settings.codex_config_path or not own.is_file() or not copies:
        return Absent("there are no two configurations of codex to compare")
    return answered(lambda: tuple(str(p.parent) for p in copies if _digest(p) != _digest(own)))


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def company(name: str, dashboard: Any, todo: Any, runs: Any, live: Any) -> Company:
    """Read Paperclip's answers about one company."""
    board = Section(dashboard, f"dashboard of {name}")
    tasks, agents = board.section("tasks"), board.section("agents")
    for answer in (todo, runs, live):
        if not isinstance(answer, list) or not all(isinstance(item, Mapping) for item in answer):
            raise ReadingError(f"Paperclip's lists of {name} are not what they should be")
    succeeded = [_ended(run) for run in runs if run.get("status") == "succeeded"]
    recent, failed, why = _recent(runs)
    if recent < FEWEST_RUNS:
        recent, failed = max((recent, failed), _today(board))
    return Company(
        name=name,
        tasks_open=tasks.integer("open"),
        tasks_in_progress=tasks.integer("inProgress"),
        tasks_blocked=tasks.integer("blocked"),
        tasks_done=tasks.integer("done"),
        tasks_todo=len(todo),
        todo_truncated=len(todo) >= LONGEST_LIST,
        agents_active=agents.integer("active"),
        agents_running=agents.integer("running"),
        agents_paused=agents.integer("paused"),
        agents_error=agents.integer("error"),
        last_success_at=max((at for at in succeeded if at is not None), default=None),
        runs=tuple(_board_run(run) for run in live if run.get("status") == "running"),
        recent_runs=recent,
        recent_failed=failed,
        last_failure=why,
    )


def _recent(runs: list[Mapping[str, Any]]) -> tuple[int, int, str]:
    """Return how many of the newest runs ended, how many of them failed, and why the last did.

    A run that was called off says nothing; whatever else ended without success has failed.
    """
    ended = [run for run in runs if run.get("status") in _ENDED or run.get("finishedAt")]
    ended = [run for run in ended if run.get("status") != "cancelled"]
    ended.sort(key=lambda run: _ended(run) or 0.0, reverse=True)
    newest = ended[:RECENT_RUNS]
    failed = [run for run in newest if run.get("status") != "succeeded"]
    words = ""
    if failed:
        told = (failed[0].get(key) for key in ("errorCode", "error"))
        words = next((text for text in told if isinstance(text, str) and text), "")
    return len(newest), len(failed), printable(words[:_LONGEST_REASON])


def _today(board: Section) -> tuple[int, int]:
    """Return the runs of the newest day that the dashboard counts, and how many failed."""
    days = [day for day in board.sections("runActivity", ()) if day.has("date")]
    if not days:
        return 0, 0
    newest = max(days, key=lambda day: day.text("date"))
    failed = newest.integer("failed", 0, minimum=0)
    return newest.integer("succeeded", 0, minimum=0) + failed, failed


def _ended(run: Mapping[str, Any]) -> float | None:
    text = run.get("finishedAt") or run.get("updatedAt")
    return times.seconds(text) if isinstance(text, str) else None


def _board_run(run: Mapping[str, Any]) -> BoardRun:
    def at(key: str) -> float | None:
        return times.seconds(run[key]) if isinstance(run.get(key), str) else None

    return BoardRun(str(run.get("agentName") or run.get("id")), at("lastOutputAt"), at("startedAt"))


def exposed_ports(tables: Mapping[str, str], ports: Mapping[int, str]) -> tuple[str, ...]:
    """Return which of the ports listen for others than this host; from ``/proc/net/tcp*``."""
    found = set()
    for text in tables.values():
        for line in text.splitlines()[1:]:
            words = line.split()
            address, _colon, port = words[1].partition(":")
            listening = words[3] == "0A"
            local = address in _LOOPBACK or (len(address) == 8 and address.endswith("7F"))
            if listening and not local and int(port, 16) in ports:
                found.add(f"{ports[int(port, 16)]} (port {int(port, 16)})")
    return tuple(sorted(found))
