"""All runners of a host at once: what separates them from what is declared, and carrying it out.

The Ansible module and the healer on the server both use it; the healer never waits for a job.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..base import documents
from ..base.configuration import ConfigurationError
from ..base.github import release
from ..base.github.errors import ForgeError
from ..base.github.release import ReleaseError
from ..base.ports import Run
from ..base.run import checked, output
from ..host import units
from ..host.managed_files import ManagedFilesError
from ..host.units import Running, UnitsError, UnitSpec, UnitStatus
from . import layout, names, native, network, predecessor
from .github_client import GitHubClient
from .guard import GuardVerdict
from .layout import Places
from .native import DesiredRunner, LocalRunner, NativeError, RegisteredState, RunnerSteps
from .native_host import BusyError, NativeHost, Waits
from .settings import Instance, Mode, RunnersSettings
from .state import printable

_FAILURES = (
    *(ConfigurationError, ForgeError, ManagedFilesError, NativeError),
    *(OSError, ReleaseError, UnitsError),
)
_LOOP_UNIT = re.compile(r"factory-runner@(?P<slot>[a-z0-9-]+)\.service")
# These belong to the host as a whole, whatever the instances are.
_STOP_MARGIN_SECONDS = 120.0
_COMMON_UNITS = (layout.NETWORK_SERVICE, layout.HEAL_TIMER, layout.HEAL_PATH, layout.SLICE)


@dataclass(frozen=True)
class ConvergeOptions:
    """How a run behaves: how long it waits, who may be running it, what it believes.

    ``tends_loops`` is off for the healer: a slot that has given up did so for a reason.
    ``leaves`` is on when everything goes: then the loops' end is waited for. ``only`` leaves
    all but one native instance alone.
    """

    drain_seconds: float = 0.0
    play_runner_name: str = ""
    believed_seconds: float = 0.0
    tends_loops: bool = True
    leaves: bool = False
    only: str = ""


@dataclass
class ConvergeReport:
    """What a run found and did."""

    actions: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class NativePlan:
    """One native instance with its plan."""

    host: NativeHost
    wish: DesiredRunner
    local: LocalRunner
    remote: RegisteredState
    plan: RunnerSteps


@dataclass(frozen=True)
class PredecessorPlan:
    """One hand-made runner with what is left of it."""

    host: predecessor.PredecessorHost
    remains: predecessor.Remains


@dataclass(frozen=True)
class LoopPlan:
    """The systemctl calls for the loops and the common units; ``stopping`` do not wait."""

    actions: tuple[units.Action, ...]
    stopping: tuple[str, ...]


@dataclass(frozen=True)
class RunnersPlan:
    """Everything that a run is going to do."""

    natives: tuple[NativePlan, ...]
    loops: LoopPlan
    predecessors: tuple[PredecessorPlan, ...] = ()
    teardown: tuple[str, ...] = ()

    @property
    def phrases(self) -> list[str]:
        """Return one phrase per step."""
        steps = [
            f"{item.host.instance.name}: {step}"
            for item in self.natives
            for step in item.plan.steps
        ]
        steps += [str(action) for action in self.loops.actions]
        steps += [
            f"stop {unit} (nobody declares it; a job may end first)" for unit in self.loops.stopping
        ]
        steps += [
            f"{item.host}: {step}" for item in self.predecessors for step in item.remains.steps
        ]
        return [*steps, *self.teardown]


class Converge:
    """One run over all runners."""

    def __init__(self, github: GitHubClient, boot_time: float, options: ConvergeOptions) -> None:
        """Nothing is looked at yet; ``boot_time`` is when the monotonic clock was zero."""
        self.github, self.boot_time, self.options = github, boot_time, options
        self.settings, self.places = github.settings, github.places
        self.report = ConvergeReport()
        self.verdicts: dict[str, GuardVerdict] = {}

    # --- planning ---------------------------------------------------------------

    def plan(self) -> RunnersPlan:
        """Compare; what cannot be judged is a failure of its instance alone."""
        self.verdicts = {
            item.name: self._judge(item)
            for item in self.settings.instances
            if self.options.only in ("", item.name)
        }
        natives = self._plan_natives()
        loops = self._plan_loops() if self.options.tends_loops else LoopPlan((), ())
        old = tuple(self._plan_predecessors())
        return RunnersPlan(tuple(natives), loops, old, tuple(self._teardown()))

    def preview(self) -> list[str]:
        """Return what is coming where GitHub cannot be asked yet, a phrase per step."""
        coming = [f"{item.name}: bring it up" for item in self.settings.instances if item.present]
        old = tuple(self._plan_predecessors())
        return coming + RunnersPlan((), LoopPlan((), ()), old).phrases

    def _plan_predecessors(self) -> Iterator[PredecessorPlan]:
        """Look at what gives way; not while the declared ones go themselves."""
        if self.options.leaves or self.options.only:
            return
        for declared in self.settings.predecessors:
            host = predecessor.PredecessorHost(
                declared, self.github, self.options.drain_seconds, self.options.play_runner_name
            )
            try:
                yield PredecessorPlan(host, host.remains())
            except _FAILURES as error:
                self.report.failures.append(f"{host}: {error}")

    def _teardown(self) -> list[str]:
        """Return what all instances share and nobody needs any more."""
        if not self.options.leaves:
            return []
        found = [f"remove {path}" for path in self._directories() if path.exists()]
        statuses = self._units(_COMMON_UNITS)
        return found + [f"stop {name}" for name in _COMMON_UNITS if statuses[name].active]

    def _directories(self) -> tuple[Path, ...]:
        return (self.places.root, self.places.homes, self.places.state)

    def _judge(self, instance: Instance) -> GuardVerdict:
        if not instance.present:
            return GuardVerdict(())
        verdict = self.github.judge(instance, believed_seconds=self.options.believed_seconds)
        self.report.failures += verdict.problems
        return verdict

    def _plan_natives(self) -> list[NativePlan]:
        declared = [
            item
            for item in self.settings.instances
            if item.mode == Mode.NATIVE and item.name in self.verdicts
        ]
        # Of what GitHub did not say nothing follows, neither a start nor a stop.
        wanted = [item for item in declared if not self.verdicts[item.name].unknown]
        wanted += undeclared_natives(self.settings, self.places) if not self.options.only else []
        if not wanted:
            return []
        statuses = self._units([layout.native_unit(item.name) for item in wanted])
        release_of = self._release_or_none(wanted)
        found = []
        for item in wanted:
            try:
                status = statuses[layout.native_unit(item.name)]
                found.append(self._plan_native(item, status, release_of))
            except _FAILURES as error:
                self.report.failures.append(f"{item.name}: {error}")
        return found

    def _units(self, names: Sequence[str]) -> dict[str, UnitStatus]:
        return units.read(names, self.github.effects.run, self.boot_time)

    def _release_or_none(self, wanted: Iterable[Instance]) -> str | None:
        """Return the version that natives are to have; None when GitHub does not say."""
        if not any(item.present for item in wanted):
            return None
        settings = self.settings
        if settings.version != "latest":
            return settings.version
        try:
            return release.choose(
                self.github.releases(), "latest", self.github.ask_release, self.github.platform
            ).version
        except (ConfigurationError, ForgeError, OSError, ReleaseError) as error:
            self.report.warnings.append(f"the newest version of the runner is unknown: {error}")
            return None

    def _plan_native(self, item: Instance, status: UnitStatus, version: str | None) -> NativePlan:
        host = NativeHost(
            item,
            self.github,
            Waits(self.options.drain_seconds),
            self.options.play_runner_name,
        )
        local = host.local(status)
        remote = host.remote(local.registration)
        version = self._version_for(item, local, version)
        forbidden = not self.verdicts.get(item.name, GuardVerdict(())).ok
        rests = why_drained(self.places, item.name)
        wish = host.wish(version, rests="its target may not be served" if forbidden else rests)
        if forbidden and local.registration is None and not status.active:
            return NativePlan(host, wish, local, remote, RunnerSteps(()))
        plan = native.plan(wish, local, remote, self.github.effects.now())
        if plan.problem:
            self.report.failures.append(f"{item.name}: {plan.problem}")
        if plan.deferred:
            self.report.deferred.append(f"{item.name}: {plan.deferred}")
        if item.present:
            self._judge_age(item, version)
        return NativePlan(host, wish, local, remote, plan)

    def _version_for(self, item: Instance, local: LocalRunner, version: str | None) -> str:
        if not item.present:
            return local.version or ""
        if version is None:
            if local.version is None:
                raise ReleaseError("which version to install is unknown; see the warning above")
            return local.version
        # What GitHub withdrew after it was installed here is no reason to go back.
        if self.settings.version == "latest" and local.version is not None:
            return max(version, local.version, key=release.order)
        return version

    def _judge_age(self, item: Instance, version: str) -> None:
        """Warn of a version that GitHub will soon turn away, and fail where it is about to."""
        days = self._outdated_days(version)
        if days is None or days < self.settings.version_warn_days:
            return
        words = (
            f"{item.name}: version {version} of the runner has been outdated for {days:.0f} days; GitHub gives it no"
            f" jobs after 30: raise or unset gh_actions_runner_version"
        )
        failing = days >= self.settings.version_fail_days
        (self.report.failures if failing else self.report.warnings).append(words)

    def _outdated_days(self, version: str) -> float | None:
        try:
            self.github.releases()
        except (ConfigurationError, ForgeError, OSError, ReleaseError) as error:
            self.report.warnings.append(f"how old version {version} is, is unknown: {error}")
        return self.github.outdated_days(version)

    def _plan_loops(self) -> LoopPlan:
        wanted = [
            slot
            for item in self.settings.instances
            if item.mode == Mode.EPHEMERAL and item.present
            for slot in item.slot_names
        ]
        may_start = {
            slot
            for item in self.settings.instances
            if self.verdicts[item.name].ok
            for slot in item.slot_names
        }
        common = _COMMON_UNITS if any(item.present for item in self.settings.instances) else ()
        unit_names = [*common, *(layout.loop_unit(slot) for slot in wanted)]
        specs = [
            UnitSpec(name, True if name != layout.SLICE else None, Running.STARTED)
            for name in common
        ]
        # A slot that may not serve is left as it is: its own preflight keeps it from taking jobs.
        specs += [
            UnitSpec(layout.loop_unit(slot), True, Running.STARTED)
            for slot in wanted
            if slot in may_start
        ]
        statuses = self._units(unit_names)
        actions = units.plan(specs, statuses, [], units.changed_at)
        stray = sorted(loops_on_host(self.places, self.github.effects.run) - set(wanted))
        for slot in list(stray):
            if self._is_our_slot(slot):
                self.report.failures.append(
                    f"{slot}: it runs this very play and cannot be stopped by it; converge from another machine"
                )
                stray.remove(slot)
        return LoopPlan(tuple(actions), tuple(layout.loop_unit(slot) for slot in stray))

    def _is_our_slot(self, slot: str) -> bool:
        return self.options.play_runner_name.startswith(f"{self.settings.prefix}-{slot}-")

    # --- acting -----------------------------------------------------------------

    def carry_out(self, planned: RunnersPlan) -> None:
        """Do it; a failure of one instance keeps no other from coming up."""
        for item in planned.natives:
            self._attempt(
                item.host.instance.name, partial(item.host.carry_out, item.plan, item.wish)
            )
        self._carry_out_loops(planned)
        for old in planned.predecessors:
            self._attempt(str(old.host), partial(old.host.carry_out, old.remains))

    def _carry_out_loops(self, planned: RunnersPlan) -> None:
        run = self.github.effects.run
        try:
            for action in planned.loops.actions:
                if action.verb == "start":
                    # A unit that has given up does not start before that is forgotten.
                    run(["systemctl", "reset-failed", action.unit], timeout_seconds=30)
                units.apply([action], run)
                self.report.actions.append(str(action))
            for unit in planned.loops.stopping:
                units.apply([units.Action("disable", unit, "")], run)
                self._stop_loop(unit)
            if planned.teardown:
                self._leave()
        except (UnitsError, ForgeError, ConfigurationError, OSError) as error:
            self.report.failures.append(str(error))

    def _leave(self) -> None:
        """Remove what all instances share, once the last of them is gone."""
        if self.report.failures or self.report.deferred:
            return  # what is left needs it still
        run = self.github.effects.run
        statuses = self._units(_COMMON_UNITS)
        specs = [UnitSpec(name, False, Running.STOPPED) for name in _COMMON_UNITS]
        specs = [spec for spec in specs if statuses[spec.name].exists]
        for action in units.plan(specs, statuses, [], units.changed_at):
            units.apply([action], run)
            self.report.actions.append(str(action))
        self._sweep_all()
        self.report.actions += network.take_down(self.settings.network, run)
        for path in self._directories():
            if path.exists():
                shutil.rmtree(path)
                self.report.actions.append(f"remove {path}")

    def _sweep_all(self) -> None:
        """Remove the entries at GitHub that a killed supervisor left behind."""
        declared = {slot for item in self.settings.instances for slot in item.slot_names}
        pools = {i.target for i in self.settings.instances if i.mode == Mode.EPHEMERAL}
        for target in sorted(pools) if self.github.can_ask else ():
            for runner in self.github.api(target).listed():
                ours = names.slot_of(runner.name, self.settings.prefix)
                if ours and ours[0] in declared and not runner.online:
                    self.github.api(target).delete(runner.id)
                    self.report.actions.append(f"remove what was left of {runner.name}")

    def _stop_loop(self, unit: str) -> None:
        """Stop a loop, which lets its job end first; that is only waited for when all goes."""
        wait = [] if self.options.leaves else ["--no-block"]
        limit = self.settings.timing.stop_grace_seconds + _STOP_MARGIN_SECONDS
        argv = ["systemctl", "stop", *wait, unit]
        checked(self.github.effects.run, argv, error=UnitsError, timeout_seconds=limit)
        self.report.actions.append(f"stop {unit}")

    def _attempt(self, name: str, act: Callable[[Callable[[str], None]], None]) -> None:
        """Have one runner brought where it belongs; what it meets concerns no other."""
        try:
            act(lambda phrase: self.report.actions.append(f"{name}: {phrase}"))
        except BusyError as error:
            self.report.deferred.append(str(error))
        except _FAILURES as error:
            self.report.failures.append(f"{name}: {error}")


def why_drained(places: Places, *names: str) -> str:
    """Return in words why something takes no jobs, as whoever drained it said; "" when nobody did."""
    for path in (places.server_drained, *(places.drained(name) for name in names)):
        if path.exists():
            said = documents.read(path) or {}
            by, reason = (printable(str(said.get(key) or "")) for key in ("by", "reason"))
            who = f" ({by})" if by else ""
            return f"it is drained: {reason}{who}" if reason else "it is drained"
    return ""


def undeclared_natives(settings: RunnersSettings, places: Places) -> list[Instance]:
    """Return the native instances that this host still has though nobody declares them."""
    declared = {item.name for item in settings.instances if item.mode == Mode.NATIVE}
    present = {path.stem for path in places.registrations.glob("*.json")}
    present |= {path.name for path in places.instances.glob("[a-z0-9]*")}
    found = []
    for name in sorted(present - declared):
        registration = native.read_registration(places.registration(name))
        url = registration.url if registration else ""
        target = url.removeprefix(settings.web_url("")).strip("/")
        found.append(
            Instance(
                name=name, mode=Mode.NATIVE, target=target or _any_target(settings), state="absent"
            )
        )
    return found


def _any_target(settings: RunnersSettings) -> str:
    # Of a tree without a registration only GitHub's list of names could tell more.
    return settings.instances[0].target if settings.instances else ""


def loops_on_host(places: Places, run: Run) -> set[str]:
    """Return the slots whose loops run or start with the host."""
    argv = [
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "factory-runner@*.service",
    ]
    listed = output(
        run,
        argv,
        name="systemctl list-units",
        error=UnitsError,
        environment={"LC_ALL": "C"},
        timeout_seconds=30,
    )
    running = {
        match["slot"]
        for line in listed.splitlines()
        if (match := _LOOP_UNIT.match(line.strip()))
        and " inactive " not in f" {' '.join(line.split())} "
    }
    enabled = {
        match["slot"]
        for path in places.units.glob("*.wants/factory-runner@*.service")
        if (match := _LOOP_UNIT.fullmatch(Path(path).name))
    }
    return running | enabled
