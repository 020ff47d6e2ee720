"""Kills, silences and declarations in any order: one runner per slot, none beside, no job lost."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from factory.core.runners import reconcile
from factory.core.runners.reconcile import Act, SeenContainer, SeenEntry, Start

SLOTS = ("a-1", "a-2", "b-1")


@dataclass
class Container:
    slot: str
    job: bool = False
    runs: bool = True
    known: bool = True
    forgotten: float = 0.0


@dataclass
class Host:
    """A host as the two who look after containers see it."""

    declared: set[str] = field(default_factory=lambda: set(SLOTS))
    supervised: set[str] = field(default_factory=set)
    # What the supervisor of a slot knows to run; None when it has not been able to look yet.
    watched: dict[str, Container | None] = field(default_factory=dict)
    looked: set[str] = field(default_factory=set)
    containers: list[Container] = field(default_factory=list)
    engine: bool = True
    github: bool = True
    lost: list[str] = field(default_factory=list)

    def running(self, slot: str) -> list[Container]:
        return [c for c in self.containers if c.runs and c.slot == slot]

    def end(self, container: Container) -> None:
        if container.job and container.known:
            self.lost.append(container.slot)
        container.runs = False

    def supervise(self, slot: str) -> None:
        """Do one step of a slot's supervisor."""
        if slot not in self.supervised:
            return
        if slot not in self.looked:
            found = self.running(slot) if self.engine else None
            may = reconcile.may_start(None if found is None else [c.slot for c in found])
            if may is Start.WAIT:
                return
            self.looked.add(slot)
            self.watched[slot] = found[0] if found and may is Start.TAKE_OVER else None
        seen = self.watched.get(slot)
        if seen is not None and seen.runs:
            if slot not in self.declared and self.github and not seen.job:
                self.end(seen)
            return
        if slot not in self.declared:
            self.supervised.discard(slot)
        elif self.engine and self.github:
            self.watched[slot] = Container(slot)
            self.containers.append(self.watched[slot] or Container(slot))

    def heal(self) -> None:
        """Do one round of the healer."""
        if not self.engine:
            return
        for container in list(self.containers):
            if self.github and not container.known:
                container.forgotten += 300.0
            row = reconcile.container(
                SeenContainer(
                    running=container.runs,
                    declared=container.slot in self.declared,
                    supervised=container.slot in self.supervised,
                    worker=container.job,
                    forgotten_seconds=container.forgotten if self.github else 0.0,
                )
            )
            if row.act is Act.ADOPT:
                self.start(container.slot)
            elif row.act is Act.REMOVE:
                self.containers.remove(container)
            elif row.act is Act.END or (
                row.act is Act.WITHDRAW and self.github and not container.job
            ):
                self.end(container)
                self.containers.remove(container)
        for slot in self.declared:
            self.start(slot)

    def start(self, slot: str) -> None:
        if slot not in self.supervised:
            self.supervised.add(slot)
            self.looked.discard(slot)
            self.watched.pop(slot, None)

    def disturb(self, draw: random.Random) -> None:
        """Let something happen."""
        slot = draw.choice(SLOTS)
        what = draw.choice(
            ("kill", "engine", "github", "declare", "job", "done", "die", "forget", "start")
        )
        running = self.running(slot)
        if what == "kill":
            self.supervised.discard(slot)
        elif what == "engine":
            self.engine = not self.engine
        elif what == "github":
            self.github = not self.github
        elif what == "declare":
            self.declared ^= {slot}
        elif what == "start" and slot in self.declared:
            self.start(slot)
        elif running and what == "job" and self.github and running[0].known:
            running[0].job = True
        elif running and what == "done" and running[0].job:
            running[0].runs = running[0].job = False
        elif running and what == "die":
            running[0].runs = False
        elif running and what == "forget":
            running[0].known = False


@pytest.mark.parametrize("seed", range(300))
def test_one_container_per_declared_slot_none_beside_and_no_job_lost(seed: int) -> None:
    draw, host = random.Random(seed), Host()  # noqa: S311 - no secret
    for _step in range(120):
        host.disturb(draw)
        for slot in SLOTS:
            host.supervise(slot)
        if draw.random() < 0.3:
            host.heal()
        assert all(len(host.running(slot)) <= 1 for slot in SLOTS)
        assert host.lost == []
    # Once all answer and jobs are over, what is declared is there and nothing else.
    host.engine = host.github = True
    for container in host.containers:
        container.runs, container.job = container.runs and not container.job, False
    for _round in range(6):
        host.heal()
        for slot in SLOTS:
            host.supervise(slot)
    assert {c.slot for c in host.containers if c.runs} == host.declared
    assert len([c for c in host.containers if c.runs]) == len(host.declared)


def test_every_row_says_who_may_undo_it_and_can_be_reached() -> None:
    states = [
        SeenContainer(running, declared, supervised, stopped, worker, age, forgotten)
        for running in (True, False)
        for declared in (True, False)
        for supervised in (True, False)
        for stopped in (True, False)
        for worker in (True, False, None)
        for age in (0.0, 1e6)
        for forgotten in (0.0, 1e6)
    ]
    assert {id(reconcile.container(state)) for state in states} == set(
        map(id, reconcile.CONTAINERS)
    )
    assert all(row.reason and row.undone_by for row in reconcile.CONTAINERS)
    # Nothing unknown leads to an end.
    for state in states:
        if state.worker is None and state.running and not state.forgotten_seconds:
            assert reconcile.container(state).act in (Act.KEEP, Act.ADOPT)


@pytest.mark.parametrize(
    ("changes", "act"),
    [
        ({}, Act.REMOVE),
        ({"known_slot": False}, Act.KEEP),
        ({"online": True}, Act.KEEP),
        ({"busy": True}, Act.KEEP),
        ({"is_current": True}, Act.KEEP),
        ({"has_container": True}, Act.KEEP),
        ({"age_seconds": 900.0}, Act.KEEP),
    ],
)
def test_an_entry_goes_only_when_nothing_speaks_for_it(
    changes: dict[str, bool | float], act: Act
) -> None:
    dead = {
        "online": False,
        "busy": False,
        "known_slot": True,
        "is_current": False,
        "has_container": False,
        "age_seconds": 901.0,
    }
    assert reconcile.entry(SeenEntry(**{**dead, **changes})).act is act  # type: ignore[arg-type]
