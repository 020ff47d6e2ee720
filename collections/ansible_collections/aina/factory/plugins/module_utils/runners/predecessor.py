"""A runner that was set up by hand and gives way to the declared ones; its files stay.

It is closed at GitHub once one of them is online, ended once its job is, and kept from coming
back. Each step leaves a state from which the next run goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..host import units
from . import names, processes
from .api import Deletion, Registered
from .github_client import GitHubClient
from .native import NativeError
from .native_host import BusyError, Identity, identity
from .settings import Mode, Predecessor

SET_ASIDE = ".runner.retired"
_SUCCESSOR_SECONDS = 120.0
_END_SECONDS = 60.0
_POLL_SECONDS = 2.0
_UNIT = re.compile(r"actions\.runner\.[A-Za-z0-9_.@-]+\.service\Z")


@dataclass(frozen=True)
class Remains:
    """What the host still has of it: its registration, the unit of its own script, processes."""

    registered: Identity | None
    unit: str
    works: bool

    @property
    def steps(self) -> tuple[str, ...]:
        """What follows, a phrase per step."""
        steps = {
            "close it at GitHub": self.registered is not None,
            f"stop and disable {self.unit}": bool(self.unit),
            "end its processes": self.works,
            f"rename its .runner to {SET_ASIDE}": self.registered is not None,
        }
        return tuple(step for step, needed in steps.items() if needed)


class PredecessorHost:
    """One such runner on this host."""

    def __init__(
        self,
        declared: Predecessor,
        github: GitHubClient,
        drain_seconds: float,
        play_runner_name: str = "",
    ) -> None:
        """Nothing is looked at yet; ``play_runner_name`` is the runner whose job this play is."""
        self.tree, self.target, self.github = Path(declared.path), declared.target, github
        self._drain_seconds, self._play_runner_name = drain_seconds, play_runner_name

    def __str__(self) -> str:
        return str(self.tree)

    # --- looking --------------------------------------------------------------

    def remains(self) -> Remains:
        """Return what is left of it.

        Raises:
            UnitsError: systemd does not answer.

        """
        return Remains(identity(self.tree), self._unit(), bool(self._processes()))

    def _processes(self) -> dict[int, bool]:
        return processes.of_hand_made(self.tree, self.github.places.proc)

    def _has_job(self) -> bool:
        return any(self._processes().values())

    def _unit(self) -> str:
        """Return the unit that its own script made, while that runs or starts with the host."""
        try:
            name = (self.tree / ".service").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
        if not _UNIT.match(name):
            return ""
        status = units.read([name], self.github.effects.run, 0.0)[name]
        return name if status.active or status.enabled else ""

    # --- acting ---------------------------------------------------------------

    def carry_out(self, remains: Remains, done: Callable[[str], None]) -> None:
        """Take the steps; ``done`` hears of each.

        Raises:
            BusyError: it has a job, or nobody has taken its place yet; another run goes on.
            NativeError, ForgeError, UnitsError, OSError: a step failed.

        """
        own = remains.registered
        workers = {pid for pid, has_job in self._processes().items() if has_job}
        hosts_play = own is not None and own.name == self._play_runner_name
        if hosts_play or processes.is_part_of(workers, self.github.places.proc):
            raise BusyError(f"{self.tree}: it runs this very play; the healer goes on afterwards")
        steps = iter(remains.steps)
        if own is not None:
            self._close(own)
            done(next(steps))
        self._wait(lambda: not self._has_job(), self._drain_seconds, "its job is still running")
        if remains.unit:
            for verb in ("disable", "stop"):
                units.apply([units.Action(verb, remains.unit, "")], self.github.effects.run)
            done(next(steps))
        if remains.works:
            self._end()
            done(next(steps))
        if own is not None:
            self._set_aside()
            done(next(steps))

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        effects = self.github.effects
        limit = effects.now() + seconds
        while not condition():
            if effects.now() >= limit:
                raise BusyError(f"{self.tree}: {what}; the healer goes on, or run this again")
            effects.sleep(_POLL_SECONDS)

    def _close(self, own: Identity) -> None:
        """Have GitHub send no more jobs, which it agrees to only while there is none."""
        if not self.github.can_ask:
            raise NativeError(
                "with a bare registration token it cannot be closed at GitHub; log in otherwise"
            )
        api = self.github.api(self.target)
        found = api.get(own.id)
        if found is None:
            return
        # Its file belongs to whoever runs its jobs; what it says must not cost another runner.
        if found.name != own.name or self._is_ours(found.name):
            raise NativeError(
                f"its .runner says that it is {own.name}, number {own.id}; at GitHub that is {found.name}, so it is"
                " left alone. End it by hand"
            )
        self._wait(
            lambda: any(self._succeeds(runner, own) for runner in api.listed()),
            min(self._drain_seconds, _SUCCESSOR_SECONDS),
            f"no declared runner of {self.target} is online to take its place",
        )
        self._wait(
            lambda: api.delete(own.id) is not Deletion.BUSY,
            self._drain_seconds,
            "GitHub says that it has a job",
        )

    def _succeeds(self, runner: Registered, own: Identity) -> bool:
        return runner.online and runner.id != own.id and self._is_ours(runner.name)

    def _is_ours(self, name: str) -> bool:
        settings = self.github.settings
        slot = names.slot_of(name, settings.prefix)
        if slot is not None and settings.of_slot(slot[0]) is not None:
            return True
        natives = (item for item in settings.instances if item.mode == Mode.NATIVE)
        return name in {settings.runner_name(item.name) for item in natives}

    def _end(self) -> None:
        """End what waits for jobs; those who start it anew come first, being older."""
        pids = sorted(self._processes())
        if pids:
            self.github.effects.run(["kill", "-TERM", *map(str, pids)], timeout_seconds=30)
        self._wait(lambda: not self._processes(), _END_SECONDS, "its processes do not end")

    def _set_aside(self) -> None:
        # The application may have removed it itself when GitHub closed it.
        if os.path.lexists(self.tree / ".runner"):
            (self.tree / ".runner").rename(self.tree / SET_ASIDE)
