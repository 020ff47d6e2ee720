"""A native runner: what separates the host and GitHub from what is declared, and how it is closed.

``plan`` compares and is pure; ``Native`` carries a plan out step by step. Each step leaves a
state from which the next plan goes on, so that a run may be killed between any two.
Only what root recorded counts as a registration: a job may have changed the runner's own files.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum, StrEnum, auto
from pathlib import Path
from typing import Any

from ..base import documents
from ..base.errors import FactoryError
from ..base.github import release
from ..host.units import UnitStatus
from . import exits
from .api import Registered

# A runner that was just made may not be seen by every reader yet.
EVENTUALLY_SECONDS = 120.0


class NativeError(FactoryError):
    """The declared state cannot be reached now; the message says why and what to do."""


@dataclass(frozen=True)
class Registration:
    """What an instance was registered as, recorded by root right after it was."""

    url: str
    name: str
    group: str
    default_labels: bool
    work_dir: str
    id: int
    registered_at: float


@dataclass(frozen=True)
class DesiredRunner:
    """What is declared, or ``present`` off; ``rests`` says why it must not run now."""

    present: bool
    rests: str
    url: str
    name: str
    group: str
    default_labels: bool
    work_dir: str
    labels: frozenset[str]
    version: str
    replace: bool


@dataclass(frozen=True)
class LocalRunner:
    """What the host has; ``configured``: the runner's files are those of the registration."""

    has_user: bool
    version: str | None
    registration: Registration | None
    configured: bool
    has_leftovers: bool
    unit_differs: bool
    unit: UnitStatus
    is_stale: bool
    hosts_us: bool


class RegistrationStatus(Enum):
    """What GitHub says of the registration; UNASKED where nobody may ask."""

    REGISTERED = auto()
    GONE = auto()
    NEVER = auto()
    UNASKED = auto()


@dataclass(frozen=True)
class RegisteredState:
    """GitHub's side."""

    known: RegistrationStatus
    runner: Registered | None = None


class Do(StrEnum):
    """One step."""

    MAKE_USER = "make its user"
    FETCH = "fetch version"
    CLOSE = "close at GitHub"
    STOP = "stop"
    SWITCH = "switch to version"
    REGISTER = "register"
    LABEL = "set labels"
    WRITE_UNIT = "write its unit"
    RELOAD = "reload systemd"
    ENABLE = "enable"
    DISABLE = "disable"
    START = "start"
    AWAIT = "wait until it is online"
    REMOVE = "remove"


@dataclass(frozen=True)
class NativeStep:
    """One step and why, or with what."""

    do: Do
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.do} {self.detail}".strip()


@dataclass(frozen=True)
class RunnerSteps:
    """The steps in order.

    ``deferred`` says what has to wait for the end of a job; ``problem`` why the declared state
    cannot be had, whatever is waited for.
    """

    steps: tuple[NativeStep, ...]
    deferred: str = ""
    problem: str = ""


def plan(
    wish: DesiredRunner, local: LocalRunner, remote: RegisteredState, now: float
) -> RunnerSteps:
    """Return what separates declared from actual."""
    if not wish.present:
        return _absent(local, remote)
    if problem := _problem(wish, local):
        return RunnerSteps((), problem=problem)
    registered, why = _is_registered(wish, local, remote, now)
    upgrade = local.version != wish.version
    closing = (
        why if remote.known in (RegistrationStatus.REGISTERED, RegistrationStatus.UNASKED) else ""
    )
    if upgrade and local.version is not None and registered:
        closing = f"version {local.version} gives way to {wish.version}"
    if local.unit.active and (local.unit_differs or local.is_stale):
        closing = closing or "its unit changed"
    if wish.rests:
        closing = wish.rests if registered or local.unit.active else ""
    if local.hosts_us and (closing or not registered):
        return RunnerSteps(
            (), f"{closing or why}: it runs this very play; the healer does it afterwards"
        )
    steps = [NativeStep(Do.MAKE_USER)] if not local.has_user else []
    if upgrade:
        steps.append(NativeStep(Do.FETCH, wish.version))
    if closing and local.registration is not None:
        steps.append(NativeStep(Do.CLOSE, f"({closing})"))
    if local.unit.active and (closing or not registered):
        steps.append(NativeStep(Do.STOP))
    if upgrade:
        steps.append(NativeStep(Do.SWITCH, wish.version))
    if local.unit_differs:
        steps.append(NativeStep(Do.WRITE_UNIT))
    if local.unit_differs or local.unit.needs_reload:
        steps.append(NativeStep(Do.RELOAD))
    if wish.rests:
        return RunnerSteps(tuple(steps))
    coming = _come_up(wish, local, remote, registered and not closing, why or closing)
    return RunnerSteps((*steps, *coming))


def _come_up(
    wish: DesiredRunner, local: LocalRunner, remote: RegisteredState, registered: bool, why: str
) -> list[NativeStep]:
    steps = []
    if not registered:
        steps.append(NativeStep(Do.REGISTER, f"({why})" if why else ""))
    elif remote.runner is not None and remote.runner.custom_labels != wish.labels:
        steps.append(NativeStep(Do.LABEL, ", ".join(sorted(wish.labels)) or "(none)"))
    if not local.unit.enabled:
        steps.append(NativeStep(Do.ENABLE))
    if not registered or not local.unit.active:
        steps += [NativeStep(Do.START), NativeStep(Do.AWAIT)]
    return steps


def _problem(wish: DesiredRunner, local: LocalRunner) -> str:
    """Return why the declared version cannot be had."""
    if local.version is None:
        return ""
    if release.order(wish.version) < release.order(local.version):
        return (
            f"it runs version {local.version}; going back to {wish.version} is refused, since GitHub soon turns older"
            " versions away. If it must be, converge it to state absent first"
        )
    turned_away = not local.unit.active and local.unit.exit_status == exits.OUTDATED_CODE
    if turned_away and local.version == wish.version and not wish.rests:
        return (
            f"GitHub accepts version {wish.version} of the runner no longer, so it is not started again; raise or"
            " unset gh_actions_runner_version"
        )
    return ""


def _is_registered(
    wish: DesiredRunner, local: LocalRunner, remote: RegisteredState, now: float
) -> tuple[bool, str]:
    """Return whether it is registered as declared, and if not, why not."""
    found = local.registration
    if found is None:
        return False, "it is not registered"
    if not local.configured:
        return False, "its files are not those of its registration"
    differing = [
        f"{name} was {getattr(found, name)!r}"
        for name in ("url", "name", "group", "default_labels", "work_dir")
        if getattr(found, name) != getattr(wish, name)
    ]
    if differing:
        return False, ", ".join(differing)
    if remote.known is RegistrationStatus.GONE and now - found.registered_at > EVENTUALLY_SECONDS:
        return False, "GitHub does not know it any more"
    return True, ""


def _absent(local: LocalRunner, remote: RegisteredState) -> RunnerSteps:
    if local.hosts_us:
        words = "it runs this very play and cannot be removed by it; converge from another machine"
        return RunnerSteps((), problem=words)
    steps = []
    if remote.known is RegistrationStatus.REGISTERED or local.registration is not None:
        steps.append(NativeStep(Do.CLOSE, "(it is declared absent)"))
    if local.unit.active:
        steps.append(NativeStep(Do.STOP))
    if local.unit.enabled and local.unit.exists:
        steps.append(NativeStep(Do.DISABLE))
    if local.has_leftovers or local.has_user:
        steps.append(NativeStep(Do.REMOVE, "its files and its user"))
    if local.unit.exists:
        steps.append(NativeStep(Do.RELOAD))
    return RunnerSteps(tuple(steps))


# --- the record ---------------------------------------------------------------


def read_registration(path: Path) -> Registration | None:
    """Return a recorded registration; None when there is none that can be understood."""
    document: dict[str, Any] = documents.read(path) or {}
    known = {key: document[key] for key in Registration.__dataclass_fields__ if key in document}
    try:
        return Registration(**known)
    except TypeError:
        return None


def write_registration(path: Path, registration: Registration) -> None:
    """Record a registration, readable by root alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    documents.replace(path, asdict(registration), mode=0o600)
