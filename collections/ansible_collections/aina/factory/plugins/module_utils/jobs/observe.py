"""Read what a host has of the jobs: units in memory, files on disk, pauses."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import output
from . import layout

QUERY_SECONDS = 60.0
PROPERTIES = (
    "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,FragmentPath,DropInPaths,Result,"
    "NextElapseUSecRealtime,LastTriggerUSec,ActiveEnterTimestamp,InactiveExitTimestamp,"
    "ExecMainStatus,ConditionResult"
)

# Units in memory that may be ours though nobody names them.
_PATTERNS = (f"{layout.PREFIX}*", "factory-trigger-*", "factory-jobs*.slice")


class ObservationError(FactoryError):
    """The host's state could not be read; nothing may be concluded from it."""


@dataclass(frozen=True)
class Unit:
    """One unit as the service manager knows it; times in seconds since the epoch."""

    name: str
    load_state: str
    active_state: str
    unit_file_state: str
    needs_reload: bool
    fragment_path: str
    drop_in_paths: tuple[str, ...]
    result: str
    next_elapse: float | None
    active_since: float | None
    started_at: float | None
    exit_status: int | None

    @property
    def is_loaded(self) -> bool:
        """Whether a unit file (or a transient definition) of it is in memory."""
        return self.load_state not in ("not-found", "")

    @property
    def can_start(self) -> bool:
        """Whether its definition is in force: not masked, and without an error."""
        return self.load_state == "loaded"

    @property
    def is_running(self) -> bool:
        """Whether it is, or is about to be, active."""
        return self.active_state in ("active", "activating", "reloading", "deactivating")

    @property
    def is_enabled(self) -> bool:
        """Whether it comes back at the next boot."""
        return self.unit_file_state in ("enabled", "enabled-runtime", "linked")


def units(names: Iterable[str], run: Run) -> dict[str, Unit]:
    """Return the named units and every one in memory that may be the jobs', in one call.

    Raises:
        ObservationError: ``systemctl`` could not be run or did not answer.

    """
    argv = ["systemctl", "show", "--timestamp=unix", f"--property={PROPERTIES}"]
    argv += ["--", *sorted(set(names)), *_PATTERNS]
    shown = output(
        run,
        argv,
        name="systemctl show",
        error=ObservationError,
        environment={"LC_ALL": "C", "TZ": "UTC"},
        timeout_seconds=QUERY_SECONDS,
    )
    return parse_units(shown)


def parse_units(text: str) -> dict[str, Unit]:
    """Return the units of a ``systemctl show`` answer, by name."""
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if "Id" in values:
            found[values["Id"]] = _unit(values)
    return found


def _unit(values: Mapping[str, str]) -> Unit:
    status = values.get("ExecMainStatus", "")
    return Unit(
        name=values["Id"],
        load_state=values.get("LoadState", ""),
        active_state=values.get("ActiveState", ""),
        unit_file_state=values.get("UnitFileState", ""),
        needs_reload=values.get("NeedDaemonReload") == "yes",
        fragment_path=values.get("FragmentPath", ""),
        drop_in_paths=tuple(values.get("DropInPaths", "").split()),
        result=values.get("Result", ""),
        next_elapse=timestamp(values.get("NextElapseUSecRealtime", "")),
        active_since=timestamp(values.get("ActiveEnterTimestamp", "")),
        started_at=timestamp(values.get("InactiveExitTimestamp", "")),
        exit_status=int(status) if status.isdigit() else None,
    )


def timestamp(text: str) -> float | None:
    """Return seconds since the epoch from ``@N`` or systemd's text in UTC."""
    if text.startswith("@"):
        return float(text[1:])
    try:
        # Without the day's name, which depends on the locale.
        parsed = datetime.datetime.strptime(text.partition(" ")[2], "%Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return None
    return parsed.replace(tzinfo=datetime.UTC).timestamp()


@dataclass(frozen=True)
class JobsOnDisk:
    """What lies on disk under names that belong to the jobs."""

    unit_paths: frozenset[str]  # prefix units and their drop-in directories, /etc and /run
    link_paths: frozenset[str]  # enablement links of prefix units
    stamps: frozenset[str]  # timer unit names with a Persistent stamp
    drop_in_paths: frozenset[str]  # single files within the prefix's drop-in directories


def disk() -> JobsOnDisk:
    """Read the unit directory and the timers' stamps."""
    own: set[str] = set()
    links: set[str] = set()
    drop_ins: set[str] = set()
    for directory in (Path(layout.UNIT_DIR), Path("/run/systemd/system")):
        for entry in _entries(directory):
            if entry.name.startswith(layout.PREFIX):
                own.add(str(entry))
                if entry.name.endswith(".d") and entry.is_dir():
                    drop_ins |= {str(file) for file in _entries(entry)}
            elif entry.name.endswith((".wants", ".requires")):
                links |= {
                    str(link) for link in _entries(entry) if link.name.startswith(layout.PREFIX)
                }
    stamps = {
        entry.name.removeprefix("stamp-")
        for entry in _entries(Path(layout.STAMP_DIR))
        if entry.name.startswith(f"stamp-{layout.PREFIX}")
    }
    return JobsOnDisk(frozenset(own), frozenset(links), frozenset(stamps), frozenset(drop_ins))


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(frozen=True)
class PauseFile:
    """A pause as found on disk; a file that cannot be read still pauses."""

    origin: str  # runtime | declared
    reason: str
    by: str
    since: str
    review_after: str | None


def pauses(directory: str, origin: str) -> dict[str, PauseFile]:
    """Return the pause files of a directory, by job."""
    found = {}
    for path in _entries(Path(directory)):
        if not path.name.startswith("."):
            values = read_json(path) or {}
            review = values.get("review_after")
            found[path.name] = PauseFile(
                origin,
                str(values.get("reason", "unknown: the pause file is unreadable")),
                str(values.get("by", "unknown")),
                str(values.get("since", "unknown")),
                str(review) if review is not None else None,
            )
    return found


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON mapping, or ``None`` when there is none that can be read."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def systemd_is_running() -> bool:
    """Whether PID 1 is systemd, by systemd's own documented mark."""
    return Path(layout.SYSTEMD_MARK).is_dir()


def host_timezone() -> str:
    """Return the name of the host's time zone; without a setting it is UTC."""
    local = Path("/etc/localtime")
    if local.is_symlink():
        target = os.path.realpath(local)
        return target.partition("/zoneinfo/")[2] or "unknown"
    if not local.exists():
        return "UTC"
    try:
        return Path("/etc/timezone").read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"
