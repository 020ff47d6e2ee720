"""Bring systemd units to a declared state, with what actually runs as the measure.

A restart is owed when a configuration file changed after the unit had begun to start.
That is read off the running system, so a run that was killed between writing the file
and restarting the unit is completed by the next one.

So is one that runs with another secret than the file holds by now: what systemd has handed over
is compared with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Run

SHOW_SECONDS = 30.0
ACTION_SECONDS = 300.0
# Where systemd lays what it hands over to the services that run.
CREDENTIALS_DIR = Path("/run/credentials")
_PROPERTIES = (
    "Id",
    "Names",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "InactiveExitTimestampMonotonic",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "SubState",
    "Result",
    "ExecMainStatus",
    "Restart",
)
_ENABLED = frozenset({"enabled", "enabled-runtime", "alias", "static", "generated", "indirect"})


class UnitsError(FactoryError):
    """systemd refused or does not know a unit; the message quotes it."""


class Running(StrEnum):
    """What a unit is to do now."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True)
class UnitSpec:
    """The declared state of one unit; ``None`` leaves an aspect as it is.

    ``optional``: a unit that this host does not have is nobody's fault. ``needs`` are files
    without which it is not started, as it could only fail.
    """

    name: str
    enabled: bool | None
    state: Running | None
    restarted_by: tuple[str, ...] = ()
    optional: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Credential:
    """A secret that a unit is handed when it starts, by its name, and the file that holds it.

    What is ``encrypted`` cannot be compared with what the unit was handed.
    """

    name: str
    path: str
    encrypted: bool = False


@dataclass(frozen=True)
class UnitStatus:
    """What systemd says of one unit; ``started_at`` in seconds since the epoch.

    ``declined_at``: when it last declined to start by a condition of its own, such as a clock
    that a container cannot set. ``exit_status`` is that of its main process's last end; None when it
    has not ended. ``kept_running``: systemd starts it again when it ends, so that it is no mere task.
    """

    exists: bool
    active: bool
    enabled: bool
    needs_reload: bool
    started_at: float | None
    declined_at: float | None = None
    sub_state: str = ""
    result: str = ""
    exit_status: int | None = None
    kept_running: bool = False


@dataclass(frozen=True)
class Action:
    """One systemctl call of a plan, with the reason for it."""

    verb: str
    unit: str
    why: str

    def __str__(self) -> str:
        """Return what is done and why, as a phrase."""
        return f"{self.verb} {self.unit} ({self.why})".replace("  ", " ")


def read(names: Sequence[str], run: Run, boot_time: float) -> dict[str, UnitStatus]:
    """Ask systemd for all units at once.

    ``boot_time`` is the wall-clock time, in seconds since the epoch, at which the
    monotonic clock was zero.

    Raises:
        UnitsError: systemd does not answer.

    """
    if not names:
        return {}
    argv = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names]
    done = run(argv, environment={"LC_ALL": "C"}, timeout_seconds=SHOW_SECONDS)
    if not done.ok:
        raise UnitsError(f"systemctl show: {done.stderr.decode(errors='replace').strip()}")
    blocks = done.stdout.decode(errors="replace").strip("\n").split("\n\n")
    if len(blocks) != len(names):
        raise UnitsError(f"systemctl show described {len(blocks)} units instead of {len(names)}")
    return {
        name: _parse(
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line), boot_time
        )
        for name, block in zip(names, blocks, strict=True)
    }


def _parse(values: Mapping[str, str], boot_time: float) -> UnitStatus:
    active = values.get("ActiveState") in {"active", "activating", "reloading", "refreshing"}
    microseconds = int(values.get("InactiveExitTimestampMonotonic") or 0)
    declined = int(values.get("ConditionTimestampMonotonic") or 0)
    return UnitStatus(
        exists=values.get("LoadState") not in {"not-found", None},
        active=active,
        enabled=values.get("UnitFileState") in _ENABLED,
        needs_reload=values.get("NeedDaemonReload") == "yes",
        started_at=boot_time + microseconds / 1e6 if active and microseconds else None,
        declined_at=boot_time + declined / 1e6
        if declined and values.get("ConditionResult") == "no"
        else None,
        sub_state=values.get("SubState", ""),
        result=values.get("Result", ""),
        exit_status=int(status) if (status := values.get("ExecMainStatus", "")).isdigit() else None,
        kept_running=values.get("Restart", "no") != "no",
    )


def changed_at(path: str) -> float | None:
    """Return when a path last changed, in seconds since the epoch; ``None`` when it is not there.

    The inode's change time is taken: unlike the modification time it cannot be set, so a
    file moved into place with an old date is still seen as changed.
    """
    try:
        return Path(path).stat().st_ctime
    except OSError:
        return None


def plan(
    specs: Sequence[UnitSpec],
    statuses: Mapping[str, UnitStatus],
    changed_paths: Collection[str],
    changed_at: Callable[[str], float | None],
) -> list[Action]:
    """Return the systemctl calls that lead to the declared state, in order.

    ``changed_paths`` are files that this run has written, or in check mode would write.
    """
    actions: list[Action] = []
    if any(status.needs_reload for status in statuses.values()):
        actions.append(Action("daemon-reload", "", "unit files changed on disk"))
    for spec in specs:
        status = statuses[spec.name]
        if spec.optional and not status.exists:
            continue
        if spec.enabled is True and not status.enabled:
            actions.append(Action("enable", spec.name, "it was not enabled"))
        if spec.enabled is False and status.enabled and status.exists:
            actions.append(Action("disable", spec.name, "it was enabled"))
        if spec.state is Running.STOPPED and status.active:
            actions.append(Action("stop", spec.name, "it was running"))
        # Where only the settings are declared, what runs is to run with them.
        if spec.state is Running.STARTED or (spec.state is None and status.active):
            actions += _plan_start(spec, status, changed_paths, changed_at)
    return actions


def _plan_start(
    spec: UnitSpec,
    status: UnitStatus,
    changed_paths: Collection[str],
    changed_at: Callable[[str], float | None],
) -> list[Action]:
    if not status.active and status.declined_at is None:
        return [Action("start", spec.name, "it was not running")]
    verb, since = ("restart", status.started_at) if status.active else ("start", status.declined_at)
    what = "runs" if status.active else "does not run"
    for path in spec.restarted_by:
        if path in changed_paths:
            return [Action(verb, spec.name, f"{path} changed")]
        changed = changed_at(path)
        if changed is not None and since is not None and changed > since:
            return [Action(verb, spec.name, f"it {what} since before {path} changed")]
    return []


def lacking(spec: UnitSpec, changed_paths: Collection[str] = ()) -> list[str]:
    """Return the files that a unit needs and that are not there, nor written by this run."""
    if spec.state is not Running.STARTED:
        return []
    return [path for path in spec.needs if path not in changed_paths and not Path(path).exists()]


def holders(patterns: Sequence[str]) -> list[str]:
    """Return the services that hold credentials right now and match one of the globs."""
    if not patterns or not CREDENTIALS_DIR.is_dir():
        return []
    names = sorted(
        path.name for path in CREDENTIALS_DIR.iterdir() if path.name.endswith(".service")
    )
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def credentials(name: str, run: Run) -> list[Credential]:
    """Return what a unit is handed from files, by its unit files.

    Raises:
        UnitsError: systemd does not answer.

    """
    done = run(
        ["systemctl", "cat", "--", name], environment={"LC_ALL": "C"}, timeout_seconds=SHOW_SECONDS
    )
    if not done.ok:
        raise UnitsError(f"systemctl cat {name}: {done.stderr.decode(errors='replace').strip()}")
    found: list[Credential] = []
    for line in done.stdout.decode(errors="replace").splitlines():
        key, _equals, value = line.strip().partition("=")
        if key not in {"LoadCredential", "LoadCredentialEncrypted"}:
            continue
        encrypted = key != "LoadCredential"
        if not value:
            found = [item for item in found if item.encrypted is not encrypted]
            continue
        word, _colon, path = value.partition(":")
        found.append(Credential(word, path or word, encrypted))
    return found


def outdated(
    name: str,
    status: UnitStatus,
    handed: Sequence[Credential],
    changed_paths: Collection[str],
) -> list[Credential]:
    """Return the credentials with which a unit runs though their files hold others by now.

    ``changed_paths`` are files that will hold another. One that is gone is no other secret: what
    waits for it is said elsewhere.
    """
    return [
        item
        for item in handed
        if item.path in changed_paths
        or _is_another(item, CREDENTIALS_DIR / name / item.name, status)
    ]


def _is_another(item: Credential, held: Path, status: UnitStatus) -> bool:
    if not Path(item.path).is_file():
        return False
    if item.encrypted:
        changed, since = changed_at(item.path), status.started_at
        return changed is not None and since is not None and changed > since
    return held.is_file() and held.read_bytes() != Path(item.path).read_bytes()


def apply(actions: Sequence[Action], run: Run, done: list[str] | None = None) -> None:
    """Carry the plan out; ``done`` collects the phrases, also where it ends early.

    Raises:
        UnitsError: systemctl failed; its words and the unit's last log lines are quoted.

    """
    for action in actions:
        argv = ["systemctl", action.verb, *(["--", action.unit] if action.unit else [])]
        ended = run(argv, environment={"LC_ALL": "C"}, timeout_seconds=ACTION_SECONDS)
        if not ended.ok:
            words = ended.stderr.decode(errors="replace").strip()
            raise UnitsError(f"systemctl {action.verb} {action.unit}: {words}{_log(action, run)}")
        if done is not None:
            done.append(str(action))


def _log(action: Action, run: Run) -> str:
    if action.verb not in {"start", "restart"}:
        return ""
    argv = ["journalctl", "--no-pager", "--lines=15", "--output=cat", f"--unit={action.unit}"]
    lines = run(argv, timeout_seconds=SHOW_SECONDS).stdout.decode(errors="replace").strip()
    return f"\nits log ends with:\n{lines}" if lines else ""
