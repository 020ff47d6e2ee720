"""What keeps runners alive between two converges, every few minutes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from factory.core.base import documents, files, times
from factory.core.base.configuration import ConfigurationError
from factory.core.base.docker import DockerError
from factory.core.base.github.errors import ForgeError
from factory.core.host import units
from factory.core.runners import layout, names, native_state, reconcile, state
from factory.core.runners.api import Deletion
from factory.core.runners.converge import (
    Converge,
    ConvergeOptions,
    NativePlan,
    RunnersPlan,
    why_drained,
)
from factory.core.runners.github_client import GitHubClient
from factory.core.runners.reconcile import Act, SeenContainer, SeenEntry
from factory.core.runners.settings import Instance, Mode
from factory.core.runners.state import Condition, State
from factory.runners import isolation
from factory.runners.engine import SlotContainer, SlotEngine
from factory.runners.isolation import IsolationError
from factory.runners.preflight import image_names

# An outdated slot tries again after so long even where its image is the same.
_OUTDATED_RETRY_SECONDS = 3600.0
# What the last round found is true of this one only if it was not longer ago.
_ROUND_MAX_SECONDS = 3600.0
_TROUBLES = (ForgeError, ConfigurationError, OSError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Forgotten:
    """Since when GitHub has not known the runner of a container: ``before`` this round, and ``now``."""

    before: dict[str, Any]
    now: dict[str, str] = field(default_factory=dict)


@dataclass
class Healer:
    """One round."""

    github: GitHubClient
    engine: SlotEngine
    boot_time: float
    problems: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def heal(self) -> dict[str, Any]:
        """Do the round; each part on its own, so that no failure keeps another from being done."""
        self._raise_walls()
        converge = Converge(self.github, self.boot_time, ConvergeOptions(tends_loops=False))
        planned = self._converge(converge)
        self._ask_for_queue()
        self._tend_slots()
        self._reconcile()
        if planned is not None:
            self._tell_of_natives(converge, planned)
        self._forget_undeclared()
        self._write_metrics()
        return {
            "actions": self.actions,
            "deferred": converge.report.deferred,
            "warnings": converge.report.warnings,
            "problems": self.problems,
            "unwell": self._unwell(),
            "counts": self.counts,
            "requests": self.github.meter.requests_count,
        }

    def _raise_walls(self) -> None:
        try:
            self.actions += isolation.enforce(self.github.settings, self.github.effects.run)
        except IsolationError as error:
            self.problems.append(str(error))

    def _converge(self, converge: Converge) -> RunnersPlan | None:
        try:
            planned = converge.plan()
            converge.carry_out(planned)
        except (*_TROUBLES, units.UnitsError) as error:
            self.problems.append(str(error))
            planned = None
        self.actions += converge.report.actions
        self.problems += converge.report.failures
        return planned

    # --- GitHub's side ----------------------------------------------------------

    def _ask_for_queue(self) -> None:
        """Note since when jobs have been waiting for each instance; the loops tell it on."""
        github, found = self.github, {}
        for item in self._present():
            if item.is_organization or not github.can_ask:
                continue
            labels = item.all_labels(github.architecture_label)
            try:
                since = github.api(item.target).oldest_queued(labels)
            except _TROUBLES as error:
                _log.warning("%s: how long jobs wait is unknown: %s", item.name, error)
                continue
            found[item.name] = None if since is None else times.iso(since)
        path = github.places.shared("queue")
        documents.replace(path, {"oldest_queued_at": found})

    def _present(self, mode: Mode | None = None) -> Iterator[Instance]:
        for item in self.github.settings.instances:
            if item.present and mode in (None, item.mode):
                yield item

    # --- slots --------------------------------------------------------------------

    def _tend_slots(self) -> None:
        """Speak for the slots whose supervisor is gone, and start those that may try again."""
        slots = {slot: item for item in self._present(Mode.EPHEMERAL) for slot in item.slot_names}
        try:
            loops = [layout.loop_unit(slot) for slot in slots]
            statuses = units.read(loops, self.github.effects.run, self.boot_time)
        except (units.UnitsError, OSError) as error:
            self.problems.append(str(error))
            return
        for slot, item in slots.items():
            status = statuses[layout.loop_unit(slot)]
            if status.active:
                continue
            found = self._speak_for(slot, item, status)
            try:
                self._wake_up(item, slot, found)
            except (DockerError, units.UnitsError) as error:
                self.problems.append(f"{slot}: {error}")

    def _speak_for(self, slot: str, item: Instance, status: units.UnitStatus) -> State:
        """Renew the state of a slot that nobody else renews."""
        places, now = self.github.places, self.github.effects.now()
        named = replace(item, name=slot)
        found = state.read(places.state, slot) or native_state.first(named, now)
        settled = (Condition.FAILED, Condition.OUTDATED, Condition.STOPPED)
        condition, detail = (
            (found.state, found.detail)
            if found.state in settled
            else (Condition.FAILED, f"its supervisor does not run (status {status.exit_status})")
        )
        found = found.changed(
            now,
            condition,
            detail,
            version_age_days=self.github.outdated_days(found.version),
            oldest_queued_seconds=self.github.queued_seconds(item.name),
        )
        state.write(places.state, found)
        return found

    def _wake_up(self, item: Instance, slot: str, found: State) -> None:
        """Start a slot again when what ended it may have passed."""
        now, unit = self.github.effects.now(), layout.loop_unit(slot)
        if found.state is Condition.OUTDATED:
            image_id = self._image_id(item)
            why = "its image is another one" if image_id not in (None, found.image_id) else ""
            since = state.moment(found.since)
            if since is None or now - since > _OUTDATED_RETRY_SECONDS:
                why = why or "its last try was long ago"
        elif found.state is Condition.FAILED:
            why = "its supervisor does not run"
        else:
            return  # stopped by somebody
        if why:
            self._start(unit, why)
            self.actions.append(f"start {unit} ({why})")

    def _start(self, unit: str, why: str) -> None:
        run = self.github.effects.run
        run(["systemctl", "reset-failed", unit], timeout_seconds=30)
        units.apply([units.Action("start", unit, why)], run)

    def _image_id(self, item: Instance) -> str | None:
        for name in image_names(item):
            if found := self.engine.image_id(name):
                return found
        return None

    # --- what nobody watches --------------------------------------------------------

    def _reconcile(self) -> None:
        """Compare what the engine and GitHub have with what is declared and watched."""
        ephemeral = [i for i in self.github.settings.instances if i.mode == Mode.EPHEMERAL]
        try:
            found = self.engine.all_containers()
        except DockerError as error:
            if ephemeral:
                self.problems.append(f"which runners run is unknown: {error}")
            return  # without it no entry is known to be without life
        self.counts["containers"] = sum(item.running for item in found)
        try:
            loops = sorted({layout.loop_unit(item.slot) for item in found})
            statuses = units.read(loops, self.github.effects.run, self.boot_time) if loops else {}
        except (units.UnitsError, OSError) as error:
            self.problems.append(f"which runners are watched is unknown: {error}")
            return
        forgotten = self._remembered()
        for item in found:
            try:
                self._settle(item, statuses[layout.loop_unit(item.slot)], forgotten)
            except (DockerError, units.UnitsError, *_TROUBLES) as error:
                self.problems.append(f"{item.name}: {error}")
        self._remember(forgotten)
        for target in sorted({item.target for item in ephemeral}):
            try:
                self._settle_entries(target, {item.runner_id for item in found})
            except _TROUBLES as error:
                self.problems.append(f"{target}: what is left of old runners is unknown: {error}")

    def _settle(
        self, found: SlotContainer, status: units.UnitStatus, forgotten: _Forgotten
    ) -> None:
        """Do with a container what the table says."""
        now, item = self._now(), self.github.settings.of_slot(found.slot)
        declared = item is not None and item.present
        told = state.read(self.github.places.state, found.slot)
        # One that is just stopping still lets its job end, and another one comes back by itself.
        supervised = status.active or status.sub_state.startswith(("stop", "final", "auto"))
        timing = self.github.settings.timing
        seen = SeenContainer(
            running=found.running,
            declared=declared,
            supervised=supervised,
            stopped=told is not None and told.state is Condition.STOPPED,
            age_seconds=now - found.created_at,
            forgotten_max_seconds=timing.forgotten_max_seconds,
            job_max_minutes=item.job_max_minutes if item else reconcile.JOB_MAX_MINUTES,
        )
        if found.running and not supervised:
            worker = self.engine.has_worker(found.name)
            seen = replace(seen, worker=worker, forgotten_seconds=self._forgotten(found, forgotten))
        row = reconcile.container(seen)
        if row.act is Act.KEEP:
            return
        if row.act is Act.ADOPT:
            self._start(layout.loop_unit(found.slot), row.reason)
        elif row.act is Act.WITHDRAW:
            api = self.github.api(found.target)
            if api.delete(found.runner_id) is Deletion.BUSY:
                return
        if row.act in (Act.WITHDRAW, Act.END) and found.running:
            self.engine.end(found.name)
        if row.act is not Act.ADOPT:
            self.engine.remove(found.name)
        self.actions.append(f"{row.act.name.lower()} {found.name} ({row.reason})")

    def _remembered(self) -> _Forgotten:
        """Return since when GitHub knows which runners no more, if the last round is not long ago."""
        document = documents.read(self.github.places.shared("forgotten")) or {}
        asked_at, since = state.moment(document.get("asked_at")), document.get("since")
        known = asked_at is not None and 0 <= self._now() - asked_at <= _ROUND_MAX_SECONDS
        return _Forgotten(since if known and isinstance(since, dict) else {})

    def _remember(self, forgotten: _Forgotten) -> None:
        """Keep what this round has found alone: what was not asked about begins anew."""
        path = self.github.places.shared("forgotten")
        if forgotten.now or path.exists():
            document = {"asked_at": times.iso(self._now()), "since": forgotten.now}
            documents.replace(path, document)

    def _forgotten(self, found: SlotContainer, forgotten: _Forgotten) -> float:
        """Return for how long GitHub has said that it knows no such runner; 0 while it does not say."""
        before, now = forgotten.before.get(found.name), self._now()
        since = min(state.moment(before) or now, now)
        try:
            missing = self.github.api(found.target).get(found.runner_id) is None
        except _TROUBLES as error:
            _log.warning("%s: GitHub does not say whether it knows it: %s", found.name, error)
            if before is not None:
                forgotten.now[found.name] = before
            return 0.0
        if missing:
            forgotten.now[found.name] = times.iso(since)
        return now - since if missing else 0.0

    def _settle_entries(self, target: str, with_container: set[int]) -> None:
        """Remove entries of ours that never came to life and belong to no slot that runs."""
        api, now = self.github.api(target), self._now()
        told = state.all_documents(self.github.places.state)
        current = {s.runner_id for d in told.values() if (s := state.from_document(d)) is not None}
        slots = {slot for item in self.github.settings.instances for slot in item.slot_names}
        for runner in api.listed():
            ours = names.slot_of(runner.name, self.github.settings.prefix)
            if ours is None:
                continue
            seen = SeenEntry(
                online=runner.online,
                busy=runner.busy,
                known_slot=ours[0] in slots | told.keys(),
                is_current=runner.id in current,
                has_container=runner.id in with_container,
                age_seconds=now - ours[1],
            )
            self.counts["entries"] = self.counts.get("entries", 0) + seen.known_slot
            if reconcile.entry(seen).act is Act.REMOVE:
                api.delete(runner.id)
                self.actions.append(f"remove what was left of {runner.name}")

    def _now(self) -> float:
        return self.github.effects.now()

    def _unwell(self) -> list[str]:
        """Return the declared runners that take no jobs though nobody keeps them from it."""
        places, found = self.github.places, []
        for item in self._present():
            for name in item.slot_names if item.mode == Mode.EPHEMERAL else (item.name,):
                told = state.read(places.state, name)
                if told is None:
                    found.append(f"{name}: nothing was heard of it yet")
                elif told.state not in (Condition.IDLE, Condition.BUSY) and not why_drained(
                    places, item.name, name
                ):
                    found.append(f"{name}: {told.state}{told.detail and f': {told.detail}'}")
        return found

    # --- what is told ---------------------------------------------------------------

    def _tell_of_natives(self, converge: Converge, planned: RunnersPlan) -> None:
        for item in planned.natives:
            if item.host.instance.present:
                self._tell_of_native(item, self._problem_of(item.host.instance.name, converge))
        told = {item.host.instance.name for item in planned.natives}
        for instance in self._present(Mode.NATIVE):
            if instance.name not in told:
                problem = self._problem_of(instance.name, converge) or "GitHub did not say enough"
                self._write(instance, Condition.UNKNOWN, problem)

    def _problem_of(self, name: str, converge: Converge) -> str:
        own = [
            text.removeprefix(f"{name}: ")
            for text in converge.report.failures
            if text.startswith(f"{name}: ")
        ]
        return "; ".join(
            [*own, *converge.verdicts[name].problems] if name in converge.verdicts else own
        )

    def _tell_of_native(self, item: NativePlan, problem: str) -> None:
        instance, run, now = item.host.instance, self.github.effects.run, self.github.effects.now()
        unit = layout.native_unit(instance.name)
        try:
            status = units.read([unit], run, self.boot_time)[unit]
            local = item.host.local(status)
            # What was planned with is still true unless something was done.
            remote = item.host.remote(local.registration) if item.plan.steps else item.remote
        except (*_TROUBLES, units.UnitsError) as error:
            self._write(instance, Condition.UNKNOWN, str(error))
            return
        condition, detail = native_state.condition(local, remote, item.wish.rests, problem, now)
        self._write(
            instance,
            condition,
            detail,
            runner_id=local.registration.id if local.registration else None,
            runner_name=local.registration.name if local.registration else None,
            version=local.version,
            last_exit_code=status.exit_status,
            last_job=native_state.last_job(self._log_of(unit)),
        )

    def _log_of(self, unit: str) -> str:
        argv = ["journalctl", "--no-pager", "--lines=2000", "--output=cat", f"--unit={unit}"]
        try:
            return self.github.effects.run(argv, timeout_seconds=60).stdout.decode(errors="replace")
        except (OSError, TimeoutError):
            return ""

    def _write(self, instance: Instance, condition: Condition, detail: str, **more: Any) -> None:
        places, now = self.github.places, self.github.effects.now()
        before = state.read(places.state, instance.name) or native_state.first(instance, now)
        if more.get("last_job", before.last_job) is None:
            more["last_job"] = before.last_job
        failing = condition in (Condition.FAILED, Condition.BACKOFF, Condition.OUTDATED)
        after = before.changed(
            now,
            condition,
            detail,
            consecutive_failures=before.consecutive_failures + 1 if failing else 0,
            version_age_days=self.github.outdated_days(more.get("version", before.version)),
            oldest_queued_seconds=self.github.queued_seconds(instance.name),
            **more,
        )
        state.write(places.state, after)

    def _forget_undeclared(self) -> None:
        """Remove the states of instances and slots that nobody declares any more."""
        known: set[str] = set()
        for item in self._present():
            known.update(item.slot_names if item.mode == Mode.EPHEMERAL else [item.name])
        for path in _strays(self.github.places.state, known):
            path.unlink(missing_ok=True)

    def _write_metrics(self) -> None:
        path = self.github.settings.metrics_path
        if not path:
            return
        now = self.github.effects.now()
        text = state.metrics(state.facts(state.all_documents(self.github.places.state), now), now)
        try:
            files.write(Path(path), text.encode())
        except OSError as error:
            self.problems.append(f"metrics_path {path}: {error.strerror}")


def _strays(directory: Path, known: Iterable[str]) -> list[Path]:
    kept = set(known)
    return [path for path in directory.glob("*.json") if path.stem not in kept]
