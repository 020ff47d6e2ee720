"""One run of the watchdog: read, judge, repair, write, tell."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from factory import effects
from factory.core.base import times
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.ports import Run
from factory.core.status import document, legacy, page
from factory.core.watchdog import alerts, checks, heal, messages, metrics, mounts, planned, services
from factory.core.watchdog.checks import (
    configuration,
    dead_man,
    delivery,
    disk_trend,
    healing,
    jobs,
    out_of_memory,
    planned_work,
    run_gap,
    units,
    workspaces,
)
from factory.core.watchdog.checks import services as kept_running
from factory.core.watchdog.facts import Absent, Fact, Known, written
from factory.core.watchdog.filesystems import DISKS, MOUNTS
from factory.core.watchdog.settings import WatchdogSettings
from factory.core.watchdog.silences import Silence, covering
from factory.core.watchdog.sources import Facts, Host, Source
from factory.core.watchdog.trend import DiskSample
from factory.lanes import capacity
from factory.watchdog import gather, notify, repair, saved_state, web
from factory.watchdog.store import FALLBACK_DIR, Reserve, Store

T = TypeVar("T")


@dataclass
class Watchdog:
    """One run with its effects."""

    policy: WatchdogSettings
    whole: Section
    run: Run = effects.run
    now: float = field(default_factory=effects.now)
    hostname: str = field(default_factory=socket.gethostname)
    fallback_dir: Path = FALLBACK_DIR
    # What is known already: these sources are not asked.
    given: Mapping[Source[Any], Fact[Any]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()

    def once(self) -> dict[str, Any]:
        """Do everything once and return the document of the status.

        Whatever fails on the way is in the document; the status, the messages and the sign
        of life do not wait for each other.
        """
        started = time.monotonic()
        policy = self.policy
        store = Store(
            Reserve(Path(policy.state_dir, "reserve"), policy.reserve_mib), self.fallback_dir
        )
        state_path = Path(policy.state_dir, "state.json")
        known = saved_state.load_or_begin_anew(store, state_path)
        work = planned.read(policy.data_dir)
        longest = policy.limits.get(planned_work.LASTS.name, planned_work.LASTS).raise_at
        silences = (*self._silences(store), *planned.silences(work, longest))
        facts = self._facts(known)
        repairs = heal.plan(
            policy.heal, facts[workspaces.SOURCE], facts[units.SOURCE], known.attempts, self.now
        )
        attempts = repair.carry_out(repairs, self.run, self.now)
        if attempts:
            facts = self._after_repairs(facts, known)
        # What is mended by now calls for nobody.
        orders = self._lanes(facts, known, silences)
        attempts += repair.carry_out(orders, self.run, self.now)
        repairs += orders
        facts = self._having(facts, healing.SOURCE, self._healing(repairs))
        findings = checks.run(facts, policy.limits)
        step = alerts.step(known.tracks, findings, policy, silences, self.now)
        known.tracks = step.tracks
        known.attempts = _recent([*known.attempts, *attempts], self.now)
        known.timeline = [*known.timeline, *map(self._entry, step.edges)]
        for message in messages.composed(step.edges, policy.notify, self.hostname, self.now):
            known.outbox = known.outbox.with_new(message)

        def write() -> dict[str, Any]:
            seconds = time.monotonic() - started
            report = document.WatchdogReport(
                host=self.hostname,
                facts=facts,
                findings=findings,
                step=step,
                policy=policy,
                silences=silences,
                planned=work,
                repairs=repairs,
                attempts=known.attempts,
                outbox=known.outbox,
                timeline=known.timeline,
                dead_man_ok_at=known.dead_man_ok_at,
                dead_man_error=known.dead_man_error,
                seconds=seconds,
                problems=store.problems,
            )
            store.replace(state_path, json.dumps(known.document()).encode())
            return self._write(store, report)

        # Kept before anything is sent: a run that is killed while sending tells again.
        known.finished_at = self.now
        told = write()
        changed = self._tell(known)
        if changed:
            told = write()
        store.reserve.refill()
        return told

    def _silences(self, store: Store) -> Sequence[Silence]:
        try:
            return saved_state.silences(self.policy)
        except (ConfigurationError, OSError) as error:
            store.problems.append(f"{error}; silences made here are not honoured")
            return self.policy.declared_silences

    def _host(self, known: saved_state.WatchdogState) -> Host:
        return gather.host(
            self.policy, self.whole, self.now, self.run, known.finished_at, known.told_failures
        )

    def _having(self, facts: Facts, source: Source[T], fact: Fact[T]) -> Facts:
        return facts if source in self.given else facts.having(source, fact)

    def _facts(self, known: saved_state.WatchdogState) -> Facts:
        policy = self.policy
        facts = Facts(self.now, found=self.given)
        waiting = known.outbox.delivery()
        outside = dead_man.DeadMan(known.dead_man_ok_at, known.dead_man_error)
        facts = self._having(facts, configuration.SOURCE, Known(self.errors))
        facts = self._having(
            facts,
            delivery.SOURCE,
            written(waiting, waiting.oldest_at or self.now, "the outbox", self.now)
            if policy.notify.is_heard
            else Absent("messages are sent nowhere (notify.apprise_path)"),
        )
        facts = self._having(
            facts,
            dead_man.SOURCE,
            written(outside, outside.last_ok_at or self.now, "the last sign of life", self.now)
            if policy.notify.dead_man_path
            else Absent("no outside watcher is declared (notify.dead_man_path)"),
        )
        facts = self._having(
            facts,
            run_gap.SOURCE,
            written(
                run_gap.Previous(known.finished_at), known.finished_at, "the last run", self.now
            )
            if known.finished_at is not None
            else Absent("this is the first run"),
        )
        facts = self._asked(facts, checks.SOURCES, known)
        return self._remembered(facts, known)

    def _asked(
        self, facts: Facts, sources: Iterable[Source[Any]], known: saved_state.WatchdogState
    ) -> Facts:
        wanted = [source for source in sources if source not in self.given]
        return gather.ask(facts, wanted, self._host(known))

    def _remembered(self, facts: Facts, known: saved_state.WatchdogState) -> Facts:
        """Add what earlier runs saw, and remember what this one does."""
        mounted, restarted, ran = facts[MOUNTS], facts[kept_running.SOURCE], facts[jobs.SOURCE]
        if isinstance(mounted, Known):
            known.mounts = mounts.remember(mounted.value, known.mounts, self.now)
            told = mounts.with_memory(mounted.value, known.mounts)
            facts = facts.having(MOUNTS, Known(told))
        if isinstance(restarted, Known):
            counted, known.restarts = services.count(
                restarted.value, known.restarts, known.finished_at, self.now
            )
            facts = facts.having(kept_running.SOURCE, Known(counted))
        killed = facts[out_of_memory.SOURCE]
        if isinstance(killed, Known):
            fresh = out_of_memory.since(killed.value, known.killed_count)
            known.killed_count = killed.value.total
            facts = facts.having(out_of_memory.SOURCE, Known(fresh))
        if isinstance(ran, Known):
            known.told_failures = ran.value.get("told", known.told_failures)
        # What another filesystem held at the same place says nothing of this one.
        begun = {path: item.since or 0.0 for path, item in known.mounts.items()}
        samples = {
            path: tuple(sample for sample in history if sample.at >= begun.get(path, 0.0))
            for path, history in saved_state.load_samples(self.policy, self.now).items()
        }
        return self._with_samples(facts, samples)

    def _with_samples(self, facts: Facts, samples: Mapping[str, tuple[DiskSample, ...]]) -> Facts:
        """Add this run's own samples to the history."""
        disks = facts[DISKS]
        fresh = {
            path: DiskSample(
                self.now,
                fact.value.disk.used_bytes,
                fact.value.disk.available_bytes,
                fact.value.inodes_total - fact.value.inodes_free,
            )
            for path, fact in (disks.value.items() if isinstance(disks, Known) else ())
            if isinstance(fact, Known)
        }
        self._fresh = fresh
        longer = {
            path: (*history, fresh[path]) if path in fresh else history
            for path, history in samples.items()
        }
        return self._having(facts, disk_trend.SOURCE, Known(longer))

    def _after_repairs(self, facts: Facts, known: saved_state.WatchdogState) -> Facts:
        """Look again at what was repaired."""
        return self._asked(facts, (workspaces.SOURCE, units.SOURCE), known)

    def _lanes(
        self, facts: Facts, known: saved_state.WatchdogState, silences: Sequence[Silence]
    ) -> list[heal.Repair]:
        if not self.policy.heal.lanes:
            return []
        findings = checks.run(facts, self.policy.limits)
        raised = [
            track
            for track in alerts.step(known.tracks, findings, self.policy, silences, self.now).firing
            if covering(track.key, silences, self.now) is None
        ]
        closed = capacity.draining() is not None
        return heal.plan_lanes(self.policy.heal, raised, known.attempts, self.now, closed=closed)

    def _healing(self, repairs: Sequence[heal.Repair]) -> Fact[healing.Healing]:
        if self.policy.heal.mode != "repair":
            return Absent(f"nothing is repaired (heal.mode is {self.policy.heal.mode})")
        return Known(heal.healing(repairs))

    def _entry(self, edge: alerts.Edge) -> dict[str, Any]:
        return {
            "at": times.iso_or_none(self.now),
            "change": edge.change.value,
            "key": edge.track.key,
            "severity": edge.track.severity,
            "detail": edge.track.detail,
        }

    def _write(self, store: Store, report: document.WatchdogReport) -> dict[str, Any]:
        policy = self.policy
        told = document.build(report)
        store.replace(Path(policy.status_path), _json(told))
        if policy.legacy_status_path:
            store.replace(Path(policy.legacy_status_path), _json(legacy.build(told)))
        if policy.metrics_path:
            text = metrics.render(
                report.facts,
                report.findings,
                report.step,
                report.seconds,
                len(report.outbox.messages),
                {
                    item["key"]: "silenced" if item["silenced"] else "effect"
                    for item in told["alerts"]
                    if item["silenced"] or item["cause"]
                },
            )
            store.replace(Path(policy.metrics_path), text.encode())
        store.replace(Path(policy.page_path), page.render(told).encode("utf-8", "replace"))
        if self._fresh:
            saved_state.keep_samples(policy, store, self._fresh)
            self._fresh = {}
        return told

    def _tell(self, known: saved_state.WatchdogState) -> bool:
        """Send what waits; return whether that is news for the status."""
        policy, before = self.policy.notify, known.outbox
        known.outbox = notify.deliver(before, policy, self.run, self.fallback_dir)
        if policy.dead_man_path:
            known.dead_man_error = notify.give_sign_of_life(policy, web.fetch)
            if not known.dead_man_error:
                known.dead_man_ok_at = self.now
        return known.outbox != before or bool(policy.dead_man_path)

    _fresh: Mapping[str, DiskSample] = field(default_factory=dict, init=False)


def _recent(attempts: Sequence[heal.Attempt], now: float) -> list[heal.Attempt]:
    return [attempt for attempt in attempts if now - attempt.at < heal.KEPT_SECONDS]


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
