from __future__ import annotations

from dataclasses import replace
from typing import Any

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.jobs import converge, layout, observe, plan, render
from factory.core.jobs.observe import JobsOnDisk, Unit
from factory.core.jobs.settings import Jobs

EMPTY = JobsOnDisk(frozenset(), frozenset(), frozenset(), frozenset())


def jobs(**changes: Any) -> Jobs:
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"], **changes}
    return settings.read(Jobs, Section({"jobs": [job]}, "jobs"))


def unit(name: str, active: str = "active", enabled: str = "enabled") -> Unit:
    return Unit(name, "loaded", active, enabled, False, "", (), "", None, None, None, None)


def steps(
    declared: Jobs,
    *units: Unit,
    disk: JobsOnDisk | None = None,
    changed: tuple[str, ...] = (),
    paused: tuple[str, ...] = (),
) -> plan.UnitPlan:
    wanted = frozenset(f"{layout.UNIT_DIR}/{name}" for name in render.units(declared))
    own = frozenset(path for path in wanted if "factory-job-" in path)
    installed = plan.Installed(
        {item.name: item for item in units},
        disk or replace(EMPTY, unit_paths=own),
        set(paused),
    )
    paths = {f"{layout.UNIT_DIR}/{name}" for name in changed}
    return plan.plan(declared, installed, wanted, paths)


def verbs(actions: tuple[plan.Action, ...]) -> list[str]:
    return [" ".join((action.verb, *action.units)) for action in actions]


TIMER, SERVICE = "factory-job-tick.timer", "factory-job-tick.service"
SETTLED = (unit(TIMER), unit(SERVICE, "inactive", "static"))


def test_a_settled_host_needs_nothing() -> None:
    assert steps(jobs(), *SETTLED) == plan.UnitPlan((), (), (), {}, {})


def test_a_new_job_is_loaded_enabled_and_started_in_that_order() -> None:
    done = steps(jobs(), disk=EMPTY, changed=(TIMER, SERVICE))

    assert verbs(done.before_files) == []
    assert verbs(done.after_files) == ["daemon-reload", f"enable {TIMER}", f"start {TIMER}"]
    assert done.states_before == {TIMER: "absent"}


def test_a_changed_timer_rests_while_its_file_is_replaced() -> None:
    done = steps(jobs(), *SETTLED, changed=(TIMER,))

    assert verbs(done.before_files) == [f"stop {TIMER}"]
    assert verbs(done.after_files) == ["daemon-reload", f"start {TIMER}"]


def test_files_without_a_reload_are_noticed() -> None:
    stale = replace(SETTLED[1], needs_reload=True)

    assert verbs(steps(jobs(), SETTLED[0], stale).after_files) == ["daemon-reload"]


def test_a_timer_that_is_not_enabled_or_not_running_is_put_right() -> None:
    done = steps(jobs(), unit(TIMER, "inactive", "disabled"), SETTLED[1])

    assert verbs(done.after_files) == [f"enable {TIMER}", f"start {TIMER}"]


def test_pauses_stop_and_disable_but_leave_a_run_alone() -> None:
    pause = {"reason": "x", "by": "y", "since": "2026-01-01"}
    working = unit(SERVICE, "activating", "static")

    declared = steps(jobs(state="paused", paused=pause), unit(TIMER), working)
    runtime = steps(jobs(), unit(TIMER), working, paused=("tick",))

    for done in (declared, runtime):
        assert verbs(done.before_files) == [f"stop {TIMER}", f"disable {TIMER}"]
        assert done.after_files == ()


def test_a_pause_of_an_operator_is_reported_with_who_and_why() -> None:
    result = converge.ConvergeResult("systemd")
    pause = observe.PauseFile("runtime", "disk forensics", "ali", "2026-06-30", None)

    converge._report_pauses(jobs(), {"tick": pause}, result)

    assert [entry["name"] for entry in result.runtime_paused] == ["tick"]
    told = "job tick is paused on the host since 2026-06-30 by ali: disk forensics"
    assert result.warnings == [f"{told}; 'factory resume tick' ends that"]


def test_what_is_undeclared_is_stopped_disabled_and_removed_with_its_stamp() -> None:
    stale = "factory-job-old.timer"
    own = frozenset(f"{layout.UNIT_DIR}/{name}" for name in (TIMER, SERVICE))
    disk = JobsOnDisk(
        own | {f"{layout.UNIT_DIR}/{stale}", f"{layout.UNIT_DIR}/factory-job-old.service.d"},
        frozenset({f"{layout.UNIT_DIR}/timers.target.wants/{stale}"}),
        frozenset({stale}),
        frozenset(),
    )

    done = steps(jobs(), *SETTLED, unit(stale), disk=disk)

    assert verbs(done.before_files) == [f"stop {stale}", f"disable {stale}"]
    assert done.absent_paths == (
        f"{layout.UNIT_DIR}/factory-job-old.service.d",
        f"{layout.UNIT_DIR}/{stale}",
        f"{layout.UNIT_DIR}/timers.target.wants/{stale}",
        f"{layout.STAMP_DIR}/stamp-{stale}",
    )
    assert verbs(done.after_files) == ["daemon-reload"]


def test_a_unit_that_lives_in_memory_alone_is_stopped() -> None:
    done = steps(jobs(), *SETTLED, unit("factory-job-ghost.timer", enabled=""))

    assert verbs(done.before_files) == ["stop factory-job-ghost.timer"]


def test_a_foreign_drop_in_of_a_declared_job_stays() -> None:
    directory = f"{layout.UNIT_DIR}/{SERVICE}.d"
    own = frozenset(f"{layout.UNIT_DIR}/{name}" for name in (TIMER, SERVICE)) | {directory}
    disk = JobsOnDisk(own, frozenset(), frozenset(), frozenset({f"{directory}/override.conf"}))

    assert steps(jobs(), *SETTLED, disk=disk) == plan.UnitPlan((), (), (), {}, {})
    assert plan.foreign_drop_ins(disk, own) == [f"{directory}/override.conf"]


def test_our_own_override_goes_when_failures_are_reported_again() -> None:
    directory = f"{layout.UNIT_DIR}/{SERVICE}.d"
    own = frozenset(f"{layout.UNIT_DIR}/{name}" for name in (TIMER, SERVICE)) | {directory}
    override = f"{directory}/10-on-failure.conf"
    disk = JobsOnDisk(own, frozenset(), frozenset(), frozenset({override}))

    done = steps(jobs(), *SETTLED, disk=disk)

    assert done.absent_paths == (override,)
    assert verbs(done.after_files) == ["daemon-reload"]


def test_a_stamp_fires_only_for_an_unchanged_job_that_catches_up() -> None:
    own = frozenset(f"{layout.UNIT_DIR}/{name}" for name in (TIMER, SERVICE))
    disk = JobsOnDisk(own, frozenset(), frozenset({TIMER}), frozenset())
    resting = unit(TIMER, "inactive", "disabled")

    kept = steps(jobs(catch_up=True), resting, disk=disk)
    rescheduled = steps(jobs(catch_up=True), resting, disk=disk, changed=(TIMER,))
    forgetful = steps(jobs(), resting, disk=disk)

    assert kept.absent_paths == ()
    assert f"clean {TIMER}" not in verbs(kept.after_files)
    assert rescheduled.absent_paths == (f"{layout.STAMP_DIR}/stamp-{TIMER}",)
    assert f"clean {TIMER}" in verbs(rescheduled.after_files)
    assert forgetful.absent_paths == (f"{layout.STAMP_DIR}/stamp-{TIMER}",)


def test_a_slice_and_a_waiting_trigger_go_with_the_last_job() -> None:
    nothing = Jobs()
    waiting = unit("factory-trigger-queue@tick.service", "activating", "static")
    slices = unit("factory-jobs-light.slice", enabled="")

    done = plan.plan(
        nothing,
        plan.Installed({item.name: item for item in (*SETTLED, waiting, slices)}, EMPTY, set()),
        frozenset(),
        set(),
    )

    assert verbs(done.before_files)[0] == f"stop {TIMER} {slices.name} {waiting.name}"
