"""Alerts over simulated days: when they are raised, told, repeated and cleared."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.core.base.configuration import Section
from factory.core.watchdog import alerts, causes, checks, messages, policy
from factory.core.watchdog.alerts import AlertChange
from factory.core.watchdog.check import Finding, Status
from factory.core.watchdog.checks import disks, runners
from factory.core.watchdog.checks.engine import EngineState
from factory.core.watchdog.checks.runners import Runner
from factory.core.watchdog.facts import Absent, Known, Unknown
from factory.core.watchdog.failures import FailedUnit
from factory.core.watchdog.silences import Silence
from factory.core.watchdog.sources import Facts

POLICY = policy.from_section(Section({}, "watchdog"))
START = 1_800_000_000.0
RUN = POLICY.interval_seconds
HOUR, DAY = 3600.0, 86400.0
RUNS_OF_A_DAY = int(DAY / RUN)


class Server:
    """A server that is judged every quarter of an hour."""

    def __init__(self) -> None:
        self.now = START
        self.tracks: dict[str, alerts.Track] = {}
        self.told: list[tuple[str, str]] = []
        self.messages = 0
        self.silences: list[Silence] = []

    def judge(self, found: Sequence[Finding]) -> None:
        self.now += RUN
        step = alerts.step(self.tracks, found, POLICY, self.silences, self.now)
        # Kept and read again, as between two processes.
        text = json.dumps(alerts.to_documents(step.tracks))
        self.tracks = alerts.from_documents(Section(item, "t") for item in json.loads(text))
        assert self.tracks == dict(step.tracks)
        self.told += [(edge.change.value, edge.track.key) for edge in step.edges]
        if messages.compose(step.edges, POLICY.notify, "host", self.now) is not None:
            self.messages += 1

    def run(self, **facts: Any) -> None:
        sources = {source.name: source for source in checks.SOURCES}
        given = Facts(self.now, otherwise=Absent("not declared"))
        for name, fact in facts.items():
            given = given.having(sources[name], fact)
        self.judge(checks.run(given, POLICY.limits))

    def changes(self, change: AlertChange) -> int:
        return sum(told == change.value for told, _text in self.told)


def used(percent: float) -> Any:
    return Known(disks.example(percent))


def day_of(server: Server, values: Iterable[float]) -> None:
    for value in values:
        server.run(disks=used(value))


DICE = random.Random(1)  # noqa: S311 - the same noise in each run is what is wanted
NOISE = [DICE.uniform(-3, 3) for _turn in range(101)]
FLAPPING: list[tuple[str, Callable[[int], float]]] = [
    ("two points up and down", lambda run: 85 + (2 if run % 2 else -2)),
    ("a wave of four points", lambda run: 85 + 4 * math.sin(run / 3)),
    ("noise of three points", lambda run: 85 + NOISE[run % len(NOISE)]),
    ("a slow wave", lambda run: 85 + 4 * math.sin(run / 20)),
]


@pytest.mark.parametrize("name,value", FLAPPING)
def test_a_value_that_flaps_for_a_day_is_one_alert_and_one_recovery(
    name: str, value: Callable[[int], float]
) -> None:
    server = Server()

    day_of(server, [70.0] * 8)
    day_of(server, map(value, range(RUNS_OF_A_DAY)))
    day_of(server, [70.0] * 40)

    assert (server.changes(AlertChange.RAISED), server.changes(AlertChange.RECOVERED)) == (1, 1), (
        name
    )


def test_an_answer_that_comes_and_goes_is_one_alert_and_one_recovery() -> None:
    server = Server()

    for run in range(RUNS_OF_A_DAY):
        server.run(engine=Known(EngineState(run % 2 == 0, "as told")))
    for _turn in range(40):
        server.run(engine=Known(EngineState(True, "as told")))

    assert (server.changes(AlertChange.RAISED), server.changes(AlertChange.RECOVERED)) == (1, 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=RUNS_OF_A_DAY, max_size=RUNS_OF_A_DAY))
def test_no_pattern_of_a_day_brings_more_than_eight_alerts(answers: list[bool]) -> None:
    server = Server()

    for answer in answers:
        server.judge([Finding("engine", "", Status.OK if answer else Status.PROBLEM, "")])

    # Each relapse doubles how long it must stay well, and four new outages are told at once;
    # beyond these only what lasts for two hours is.
    assert server.changes(AlertChange.RAISED) <= 8


@pytest.mark.parametrize("pattern", ["BBGG", "BBGGG", "BBBGGGG", "BBGGBGGG"])
def test_no_regular_pattern_of_a_day_brings_more_than_eight_alerts(pattern: str) -> None:
    server = Server()
    for letter in (pattern * RUNS_OF_A_DAY)[:RUNS_OF_A_DAY]:
        status = Status.OK if letter == "G" else Status.PROBLEM
        server.judge([Finding("engine", "", status, "")])
    assert server.changes(AlertChange.RAISED) <= 8


@pytest.mark.parametrize("incidents", [1, 2, 3])
def test_an_outage_that_begins_in_distrust_is_told_within_30_minutes(incidents: int) -> None:
    server = Server()
    bad, good = (Finding("engine", "", status, "x") for status in (Status.PROBLEM, Status.OK))
    for _incident in range(incidents):
        for finding in (bad, bad, *[good] * 40):
            server.judge([finding])
            if not server.tracks["engine"].firing and finding is good:
                break
    server.judge([bad])
    server.judge([bad])
    for _run in range(2):
        server.judge([good])
    assert server.tracks["engine"].firing, "it is not believed yet"
    assert server.tracks["engine"].document()["detail"].startswith("well since 20")
    before = server.changes(AlertChange.RAISED)

    server.judge([bad])
    server.judge([bad])

    assert server.changes(AlertChange.RAISED) == before + 1
    assert server.tracks["engine"].since == server.now - RUN, "since this outage began"
    assert server.tracks["engine"].document()["detail"] == "x"


def test_what_never_comes_to_rest_is_told_again_once_it_lasts() -> None:
    server = Server()
    bad, good = (Finding("engine", "", status, "x") for status in (Status.PROBLEM, Status.OK))
    for finding in [bad, bad, good, good] * 5:
        server.judge([finding])
    before = server.changes(AlertChange.RAISED)

    for _run in range(7):
        server.judge([bad])
    assert server.changes(AlertChange.RAISED) == before
    for _run in range(3):
        server.judge([bad])

    assert server.changes(AlertChange.RAISED) == before + 1


def test_whoever_relapses_must_stay_well_twice_as_long_up_to_a_bound() -> None:
    server = Server()
    bad, good = (Finding("engine", "", status, "") for status in (Status.PROBLEM, Status.OK))

    def firing() -> bool:
        return "engine" in server.tracks and server.tracks["engine"].firing

    needed = []
    for _relapse in range(6):
        while not firing():
            server.judge([bad])
        needed.append(0)
        while firing():
            server.judge([good])
            needed[-1] += 1

    assert needed == [2, 4, 8, 16, 32, 32]


def test_one_bad_run_is_no_alert() -> None:
    server = Server()

    day_of(server, [70, 90, 70, 70, 70, 90, 70])

    assert server.told == []


def test_two_of_three_bad_runs_raise() -> None:
    server = Server()

    day_of(server, [90, 70, 90])

    assert server.told == [("raised", "disk_space:/")]


def test_between_the_two_thresholds_nothing_changes() -> None:
    server = Server()

    day_of(server, [82] * 20)
    assert server.told == []
    day_of(server, [85, 85])
    day_of(server, [80.1] * 20)
    assert [change for change, _text in server.told] == ["raised"]
    day_of(server, [80, 80])
    assert [change for change, _text in server.told] == ["raised", "recovered"]


def test_an_alert_that_stays_is_repeated_ever_later() -> None:
    server = Server()
    at = []

    bad = Finding("disk_space", "/", Status.PROBLEM, "90 %")
    for _turn in range(10 * RUNS_OF_A_DAY):
        before = len(server.told)
        server.judge([bad])
        at += [server.now] * (len(server.told) - before)

    pauses = [round((later - earlier) / HOUR) for earlier, later in pairwise(at)]
    assert pauses == [6, 12, 24, 48, 48, 48, 48]


def test_all_changes_of_one_run_are_one_message() -> None:
    server = Server()

    for _turn in range(2):
        server.run(disks=used(90), engine=Known(EngineState(False, "gone")))

    assert len(server.told) == 2
    assert server.messages == 1


def test_unknown_three_times_is_an_alert_of_its_own_and_clears_nothing() -> None:
    server = Server()

    day_of(server, [90, 90])
    for _turn in range(2):
        server.run(disks=Unknown("no answer"))
    assert server.told == [("raised", "disk_space:/")]
    server.run(disks=Unknown("no answer"))
    assert server.told[-1] == ("raised", "unknown:disks")
    assert server.tracks["disk_space:/"].firing
    server.run(disks=used(90))
    assert server.told[-1] == ("recovered", "unknown:disks")
    assert server.tracks["disk_space:/"].firing


def test_a_fact_that_several_checks_want_for_is_one_unknown() -> None:
    server = Server()

    for _turn in range(3):
        server.run(jobs=Unknown("systemd does not answer"))

    assert server.told == [("raised", "unknown:jobs")]


def test_one_unknown_subject_keeps_its_alert_while_the_others_are_known() -> None:
    def runner(state: str) -> Known[Runner]:
        fact = runners.example(server.now, state=state)["r"]
        assert isinstance(fact, Known)
        return fact

    server = Server()
    for _turn in range(2):
        server.run(runners=Known({"a": runner("failed"), "b": runner("idle")}))
    for _turn in range(20):
        server.run(runners=Known({"a": Unknown("no JSON"), "b": runner("idle")}))

    assert server.tracks["runner:a"].firing


def test_what_is_no_longer_there_recovers() -> None:
    server = Server()
    server.run(units=Known((FailedUnit("u", True, server.now, "x"),)))
    assert server.told == [("raised", "unit_failed:u")]

    for _turn in range(2):
        server.run(units=Known(()))

    assert server.told[-1] == ("recovered", "unit_failed:u")
    assert not server.tracks["unit_failed:u"].firing


def test_what_is_no_longer_configured_recovers() -> None:
    server = Server()
    for _turn in range(2):
        server.run(engine=Known(EngineState(False, "gone")))

    for _turn in range(2):
        server.run(engine=Absent("no engine is declared"))

    assert [change for change, _text in server.told] == ["raised", "recovered"]


def silence(match: str, hours: float) -> Silence:
    return Silence(match, START + hours * HOUR, "we know", "ali")


def test_a_silenced_alert_stays_in_the_state_and_is_told_when_the_silence_ends() -> None:
    server = Server()
    server.silences = [silence("disk_*", 5)]

    day_of(server, [90] * 8)
    assert server.told == []
    assert server.tracks["disk_space:/"].firing
    day_of(server, [90] * 20)

    assert server.told == [("raised", "disk_space:/")]
    assert server.now > START + 5 * HOUR


def test_what_came_and_went_in_silence_is_never_told() -> None:
    server = Server()
    server.silences = [silence("disk_space:/", 24)]

    day_of(server, [*[90] * 8, *[70] * 8])

    assert server.told == []


def test_who_was_told_of_a_problem_is_told_of_its_end_also_in_a_silence() -> None:
    server = Server()
    day_of(server, [90] * 2)
    server.silences = [silence("disk_space:/", 24)]

    day_of(server, [70] * 8)

    assert server.told == [("raised", "disk_space:/"), ("recovered", "disk_space:/")]


def test_a_silence_covers_only_what_it_names() -> None:
    server = Server()
    server.silences = [silence("job_*", 24)]

    day_of(server, [90, 90])

    assert server.told == [("raised", "disk_space:/")]


def test_with_everything_well_nothing_is_remembered() -> None:
    server = Server()

    day_of(server, [70] * 5)

    assert server.tracks == {}


def test_findings_without_a_value_are_kept_and_read_again() -> None:
    server = Server()

    server.judge([Finding("engine", "", Status.PROBLEM, "gone \ud800")])

    assert server.tracks["engine"].pending


# -- worse --------------------------------------------------------------------------------


def test_a_disk_that_fills_further_is_told_at_each_stage_once() -> None:
    server = Server()

    day_of(server, [86, 87, 88, 91, 92, 89, 91, 96, 100, 100])

    assert server.told == [
        ("raised", "disk_space:/"),
        ("worse", "disk_space:/"),
        ("worse", "disk_space:/"),
        ("worse", "disk_space:/"),
    ]


def test_a_stage_that_is_reached_at_once_is_no_second_message() -> None:
    server = Server()

    day_of(server, [97, 97, 97])

    assert server.told == [("raised", "disk_space:/")]


def test_what_becomes_worse_in_a_silence_is_told_when_it_ends() -> None:
    server = Server()
    day_of(server, [86, 86])
    server.silences = [Silence("disk_*", server.now + 2 * RUN, "x", "y")]

    day_of(server, [96, 96, 96])

    assert [change for change, _key in server.told] == ["raised", "worse"]


@pytest.mark.parametrize(
    "check", [check for check in checks.CHECKS if check.stages], ids=lambda check: check.name
)
def test_stages_lie_beyond_the_limit_and_each_beyond_the_last(check: Any) -> None:
    limit = check.selftest.limit
    steps = (limit.raise_at, *check.stages)

    assert all((a < b) == limit.high_is_bad and a != b for a, b in pairwise(steps))
    assert check.stage(limit.raise_at) == 0
    assert [check.stage(at) for at in check.stages] == [*range(1, len(check.stages) + 1)]
    assert check.stage(None) == 0


# -- causes -------------------------------------------------------------------------------


def finding(check: str, subject: str, *, bad: bool = True) -> Finding:
    return Finding(check, subject, Status.PROBLEM if bad else Status.OK, "words")


def test_an_engine_that_is_down_is_one_message_with_its_effects() -> None:
    server = Server()
    effects = [finding("image", name) for name in ("ci", "lane")]
    effects += [finding("runner", "r"), finding("unit_failed", "docker.service")]

    for _run in range(40):
        server.judge([finding("engine", ""), *effects])

    raised = [key for change, key in server.told if change == "raised"]
    assert raised == ["engine"], "though one of them is raised a run earlier"
    assert not {"image:ci", "image:lane", "runner:r"} & {key for _change, key in server.told}


def test_the_message_of_a_cause_names_its_effects() -> None:
    tracks: Any = {}
    for run in range(2):
        found = [finding("engine", ""), finding("image", "ci")]
        step = alerts.step(tracks, found, POLICY, (), START + run * RUN)
        tracks = step.tracks

    message = messages.compose(step.edges, POLICY.notify, "host", START)

    assert message is not None
    assert message.title == "host: 1 problem"
    assert "with it: image:ci" in message.body


def test_an_effect_that_outlives_its_cause_is_told_then() -> None:
    server = Server()
    for _run in range(3):
        server.judge([finding("engine", ""), finding("image", "ci")])
    assert server.told == [("raised", "engine")]

    for _run in range(3):
        server.judge([finding("engine", "", bad=False), finding("image", "ci")])

    assert server.told[1:] == [("recovered", "engine"), ("raised", "image:ci")]


def test_a_silenced_cause_hides_no_effect() -> None:
    server = Server()
    server.silences = [Silence("engine", server.now + DAY, "x", "y")]

    for _run in range(2):
        server.judge([finding("engine", ""), finding("image", "ci")])

    assert server.told == [("raised", "image:ci")]


def test_causes_are_checks_and_none_is_its_own_effect() -> None:
    for cause, effects in causes.EFFECTS.items():
        for key in (cause, *effects):
            head = key.partition(":")[0]
            assert head == "unknown" or head in checks.BY_NAME, key
        assert causes.of(cause.replace("*", "x"), {cause.replace("*", "x")}) is None
