"""Typed reading of what the other capabilities write down, and of what the kernel tells.

Every function takes parsed JSON or text and raises :class:`ReadingError` (or the
configuration's own error) when it does not say what it should: its caller then knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..base import times
from ..base.configuration import ConfigurationError, Section
from ..base.errors import FactoryError
from ..base.text import printable
from .facts import (
    Backup,
    BoardRun,
    Company,
    Drift,
    Fact,
    Image,
    Known,
    Lane,
    Memory,
    Pressure,
    Residue,
    Runner,
    Unknown,
)

T = TypeVar("T")
SCHEMA = 1
LONGEST_LIST = 1000
RECENT_RUNS = 20
FEWEST_RUNS = 3
_LONGEST_REASON = 200
_ENDED = ("succeeded", "failed", "timed_out")


class ReadingError(FactoryError, ValueError):
    """What was read is not what it should be; the message says where and why."""


def known(read: Callable[[], T]) -> Fact[T]:
    """Return what ``read`` returns, or that it is unknown and why."""
    try:
        return Known(read())
    except (OSError, TimeoutError) as error:
        return Unknown(str(error) or type(error).__name__)
    except (ConfigurationError, ReadingError, ValueError, KeyError, TypeError) as error:
        return Unknown(
            f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        )


def _document(values: Any, name: str) -> Section:
    section = Section(values, name)
    found = section.value("schema")
    if found != SCHEMA:
        raise section.error("schema", found, f"be {SCHEMA}")
    return section


def _time(section: Section, key: str) -> float:
    text = section.text(key)
    try:
        return times.seconds(text)
    except ValueError:
        raise section.error(key, text, "be an ISO 8601 time") from None


def _time_or_none(section: Section, key: str) -> float | None:
    return _time(section, key) if section.has(key) else None


def _number_or_none(section: Section, key: str) -> float | None:
    return section.number(key) if section.has(key) else None


def _flag_or_none(section: Section, key: str) -> bool | None:
    return section.boolean(key) if section.has(key) else None


def runner(values: Any, name: str) -> Runner:
    """Read ``runners/<instance>.json``."""
    section = _document(values, name)
    job = section.section("last_job", {})
    words = [job.text(key, "") for key in ("name", "outcome", "finished_at")]
    return Runner(
        name=section.text("instance", name),
        project=section.text("project", ""),
        mode=section.text("mode", ""),
        state=section.text("state"),
        since=_time(section, "since"),
        updated_at=_time(section, "updated_at"),
        detail=section.text("detail", ""),
        version=section.text("version", ""),
        version_age_days=_number_or_none(section, "version_age_days"),
        consecutive_failures=section.integer("consecutive_failures", 0),
        oldest_queued_seconds=_number_or_none(section, "oldest_queued_seconds"),
        unit_active=_flag_or_none(section, "unit_active"),
        last_job=" ".join(filter(None, words)),
    )


def lane(values: Any, name: str) -> Lane:
    """Read ``lanes/<id>/state.json``."""
    section = _document(values, name)
    started = _time(section, "started_at")
    return Lane(
        name=name,
        project=section.text("project", ""),
        issue=str(section.value("issue", "")),
        state=section.text("state"),
        started_at=started,
        last_output_at=_time_or_none(section, "last_output_at"),
        updated_at=_time_or_none(section, "updated_at") or started,
    )


def residue(values: Any) -> Residue:
    """Read ``lanes/residue.json``."""
    section = _document(values, "residue")
    found = section.value("differences", [])
    if not isinstance(found, list):
        raise section.error("differences", found, "be a list")
    return Residue(_time(section, "checked_at"), tuple(_sentence(item) for item in found))


def drift(values: Any) -> Drift:
    """Read ``drift.json``."""
    section = _document(values, "drift")
    found = section.value("changes", [])
    if not isinstance(found, list):
        raise section.error("changes", found, "be a list")
    return Drift(
        _time(section, "checked_at"),
        section.text("error", ""),
        tuple(_sentence(item) for item in found),
    )


def _sentence(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    what = str(item.get("what") or item.get("detail") or dict(item))
    return f"{what} (since {item['since']})" if item.get("since") else what


def image(values: Any, name: str) -> Image:
    """Read ``images/<image>.json``."""
    section = _document(values, name)
    return Image(
        name=section.text("image", name),
        built_at=_time(section, "built_at"),
        base_built_at=_time_or_none(section, "base_built_at"),
        size_bytes=section.integer("size_bytes", 0, minimum=0),
        smoke=section.text("smoke", choices=("ok", "failed")),
        detail=section.text("detail", ""),
    )


def backup(values: Any) -> Backup:
    """Read ``backup/report.json``."""
    section = _document(values, "backup")
    state = section.text("state", choices=("ok", "incomplete", "failed"))
    return Backup(state, section.text("detail", ""), _time_or_none(section, "last_success_at"))


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


def memory(text: str) -> Memory:
    """Read ``/proc/meminfo``."""
    values = {}
    for line in text.splitlines():
        name, _colon, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            values[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    try:
        return Memory(
            values["MemTotal"], values["MemAvailable"], values["SwapTotal"], values["SwapFree"]
        )
    except KeyError as error:
        raise ReadingError(f"/proc/meminfo does not say {error}") from None


def pressure(memory_text: str, io_text: str, cpu_text: str) -> Pressure:
    """Read the three files of ``/proc/pressure``."""
    return Pressure(
        _average(memory_text, "full"), _average(io_text, "full"), _average(cpu_text, "some")
    )


def _average(text: str, kind: str) -> float:
    for line in text.splitlines():
        words = line.split()
        if words and words[0] == kind:
            return float(dict(word.partition("=")[::2] for word in words[1:])["avg300"])
    raise ReadingError(f"/proc/pressure has no line {kind!r}")


# Addresses that only this host reaches, as the kernel prints them.
_LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")


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


def listed(
    documents: Mapping[str, Fact[Any]], read: Callable[[Any, str], T]
) -> Mapping[str, Fact[T]]:
    """Read each of several documents by itself: a broken one is unknown, alone."""
    return {
        name: known(lambda fact=fact, name=name: read(fact.value, name))  # type: ignore[misc]
        if isinstance(fact, Known)
        else fact
        for name, fact in documents.items()
    }
