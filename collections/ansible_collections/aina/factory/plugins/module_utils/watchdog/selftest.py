"""Inject every bad fact, and see that its alert is raised, told and cleared; pure.

It runs with the host's own policy: a limit that no value can reach makes it fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

from ..base.errors import FactoryError
from . import alerts, checks, messages
from .alerts import AlertChange, Track
from .check import UNKNOWN, Check
from .facts import Absent, Fact, Known, T, Unknown
from .settings import WatchdogSettings
from .sources import Facts, Source

_NOW = 1_800_000_000.0
_MOST_RUNS = 200


@dataclass(frozen=True)
class Result:
    """How one check fared; ``problem`` is empty when all went as it should."""

    check: str
    problem: str


def run(policy: WatchdogSettings) -> list[Result]:
    """Return how every check fares under this policy."""
    return [Result(check.name, _problem(check, policy)) for check in checks.CHECKS]


def _problem(check: Check[T], policy: WatchdogSettings) -> str:
    try:
        return (
            _goes_round(check, policy)
            or _stays_quiet(check, policy)
            or _unknown_is_raised(check, policy)
        )
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def alone(now: float, source: Source[T], fact: Fact[T]) -> Facts:
    """Return the facts of a server of which one fact is known, and nothing else is declared."""
    return Facts(now, otherwise=Absent("not part of this case")).having(source, fact)


class AlertError(FactoryError):
    """The machinery behind the checks does not do its work."""


class _SimulatedServer(Generic[T]):
    """A server of which one fact is known, run after run."""

    def __init__(self, check: Check[T], policy: WatchdogSettings) -> None:
        self.check, self.policy = check, policy
        self.tracks: Mapping[str, Track] = {}
        self.now = _NOW
        self.told: list[tuple[AlertChange, str]] = []

    def run(self, *, bad: bool) -> None:
        now = self.now + self.policy.interval_seconds
        self._run(Known(self.check.selftest.fact(self.policy.limits, now, bad=bad)))

    def run_unknown(self) -> None:
        self._run(Unknown("the self-test hides it"))

    def _run(self, fact: Fact[T]) -> None:
        self.now += self.policy.interval_seconds
        findings = checks.run(alone(self.now, self.check.source, fact), self.policy.limits)
        step = alerts.step(self.tracks, findings, self.policy, (), self.now)
        self.tracks = step.tracks
        message = messages.compose(step.edges, self.policy.notify, "selftest", self.now)
        for edge in step.edges:
            if message is None or not message.body or not message.title:
                raise AlertError("it is raised, but no message speaks of it")
            self.told.append((edge.change, edge.track.check))

    def firing(self, name: str = "") -> bool:
        wanted = name or self.check.name
        return any(track.firing and track.check == wanted for track in self.tracks.values())


def _goes_round(check: Check[T], policy: WatchdogSettings) -> str:
    server = _SimulatedServer(check, policy)
    for _number in range(check.raise_after[0] - 1):
        server.run(bad=True)
        if server.firing():
            return "is raised too early"
    server.run(bad=True)
    if not server.firing():
        return "is not raised by a fact that should raise it; can its limit be reached?"
    if (AlertChange.RAISED, check.name) not in server.told:
        return "is raised, but nobody is told"
    for _number in range(_MOST_RUNS):
        server.run(bad=False)
        if not server.firing():
            break
    if server.firing():
        return "is not cleared by a good fact"
    return (
        "" if (AlertChange.RECOVERED, check.name) in server.told else "recovers, but nobody is told"
    )


def _stays_quiet(check: Check[T], policy: WatchdogSettings) -> str:
    server = _SimulatedServer(check, policy)
    for _number in range(6):
        server.run(bad=False)
    return "is raised by a good fact" if server.firing() else ""


def _unknown_is_raised(check: Check[T], policy: WatchdogSettings) -> str:
    server = _SimulatedServer(check, policy)
    server.run(bad=False)
    for _number in range(policy.unknown_runs_count):
        if server.firing(UNKNOWN):
            return "is unknown too early"
        server.run_unknown()
    return "" if server.firing(UNKNOWN) else "stays unknown, and nobody is told"
