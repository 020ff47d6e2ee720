"""Policy, silences, attribution, repairs and messages: the pure parts around the checks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.watchdog import attribution, heal, messages, paperclip, policy, readings
from factory.core.watchdog.alerts import AlertChange, Edge, Track
from factory.core.watchdog.checks import memory, pressure, runners
from factory.core.watchdog.facts import Known, Unknown
from factory.core.watchdog.failures import FailedUnit
from factory.core.watchdog.settings import Heal, WatchdogSettings
from factory.core.watchdog.workspaces import HEALABLE, Workspace, Workspaces

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0
GIB = 1 << 30


def read(**values: Any) -> WatchdogSettings:
    return policy.from_section(Section(values, "watchdog"))


WRONG = [
    (
        {"intervall_seconds": 5},
        "watchdog.intervall_seconds is not known; did you mean interval_seconds?",
    ),
    ({"heal": {"modus": "off"}}, "watchdog.heal.modus is not known; did you mean mode?"),
    ({"heal": {"max_per_day": 5}}, "watchdog.heal.max_per_day is now max_per_day_count"),
    (
        {"limits": {"disk_use_percent": {"raise": 90}}},
        "watchdog.limits.disk_use_percent is not known; did you mean disk_used_percent?",
    ),
    (
        {"limits": {"disk_used_percent": {"rise": 90}}},
        "watchdog.limits.disk_used_percent.rise is not known; did you mean raise?",
    ),
    ({"limits": {"disk_used_percent": {"raise": 120}}}, "limits.disk_used_percent.raise is 120"),
    (
        {"limits": {"disk_used_percent": {"raise": 80, "clear": 85}}},
        "limits.disk_used_percent.clear is 85; it must not be above",
    ),
    (
        {"limits": {"certificate_days": {"raise": 14, "clear": 7}}},
        "limits.certificate_days.clear is 7; it must not be below",
    ),
    ({"limits": {"disk_full": {}}}, "watchdog.limits.disk_full is not known"),
    ({"notify": {"title": "$hots is down"}}, "watchdog.notify.title is '$hots is down'"),
    ({"notify": {"body": "100 $ gone"}}, "watchdog.notify.body"),
    ({"silences": [{"match": "*", "reason": "x", "by": "y"}]}, "watchdog.silences[0].until"),
    (
        {"silences": [{"match": "*", "reason": "x", "by": "y", "until": "soon"}]},
        "watchdog.silences[0].until is 'soon'",
    ),
    (
        {"silences": [{"match": "*", "reason": " ", "by": "y", "until": "2027-01-01"}]},
        "watchdog.silences[0].reason",
    ),
    ({"heal": {"mode": "always"}}, "watchdog.heal.mode is 'always'"),
    (
        {"heal": {"lanes": [{"alert": "mian_red", "project": "demo", "issue": 1}]}},
        "watchdog.heal.lanes[0].alert is 'mian_red'; it must begin with a check's name",
    ),
    (
        {"heal": {"lanes": [{"alert": "unknown:main_red", "project": "demo", "issue": 1}]}},
        "watchdog.heal.lanes[0].alert is 'unknown:main_red'",
    ),
    (
        {"heal": {"lanes": [{"alert": "main_red", "project": "../etc", "issue": 1}]}},
        "watchdog.heal.lanes[0].project is '../etc'",
    ),
    (
        {"heal": {"lanes": [{"alert": "main_red", "project": "demo", "issue": 0}]}},
        "watchdog.heal.lanes[0].issue is 0",
    ),
    ({"disks": ["var"]}, "watchdog.disks"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(**values)
    assert message in str(error.value)


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_the_watchdog_goes_on_without_the_wrong_part(values: dict[str, Any], message: str) -> None:
    given = {**values, "reserve_mib": 7}

    read_, errors = policy.tolerant(Section(given, "watchdog"))

    assert read_.reserve_mib == 7
    assert len(errors) == 1
    assert message in errors[0]


def test_every_wrong_part_is_left_out_and_told() -> None:
    given = {"heal": {"mode": "always"}, "dikss": ["/"], "limits": {"x": {}}, "reserve_mib": 7}

    read_, errors = policy.tolerant(Section(given, "watchdog"))

    assert read_.reserve_mib == 7
    assert [error.split(" ")[0] for error in errors] == [
        "watchdog.heal.mode",
        "watchdog.limits.x",
        "watchdog.dikss",
    ]


def test_a_new_threshold_takes_its_partner_along() -> None:
    limits = read(limits={"disk_used_percent": {"raise": 70}}).limits

    assert (limits["disk_used_percent"].raise_at, limits["disk_used_percent"].clear_at) == (70, 70)


# -- attribution --------------------------------------------------------------------------


def test_the_buckets_add_up_to_what_is_used_and_the_rest_has_a_name() -> None:
    # The numbers of a server of which half the use was in no list.
    found = attribution.attribute(
        "/",
        229 * GIB,
        ["/home/ali/agent-workspaces", "/srv/repos"],
        {"/home/ali/agent-workspaces": 71 * GIB, "/srv/repos": 24 * GIB},
        {"codex (1)": 3 * GIB},
        [],
        NOW,
        10.0,
    )

    assert sum(count for _name, count in attribution.buckets(found)) == found.used_bytes
    assert found.unattributed_bytes == (229 - 71 - 24 - 3) * GIB
    assert found.explained_percent == pytest.approx(100 * 98 / 229, abs=0.1)


def test_growth_is_told_against_the_day_before_also_of_the_rest() -> None:
    def kept(ago: float, size: int, rest: int) -> attribution.Measured:
        line = {
            "at": NOW - ago,
            "path": "/",
            "used": 0,
            "owners": {"/a": size},
            "unattributed": rest,
        }
        return attribution.measured_from(json.loads(json.dumps(line)))

    history = [kept(3 * DAY, 0, 0), kept(DAY + HOUR, GIB, 4 * GIB), kept(HOUR, 2 * GIB, 0)]

    found = attribution.attribute("/", 10 * GIB, ["/a"], {"/a": 3 * GIB}, {}, history, NOW, 1.0)

    assert found.owners[0].growth_bytes == 2 * GIB
    assert found.unattributed_growth_bytes == 3 * GIB


def test_a_place_that_was_not_reached_in_time_keeps_its_last_size_and_says_so() -> None:
    line = {"at": NOW - HOUR, "path": "/", "used": 0, "owners": {"/a": 5}, "unattributed": 0}

    found = attribution.attribute(
        "/", 10, ["/a", "/b"], {}, {}, [attribution.measured_from(line)], NOW, 1.0
    )

    owners = {owner.path: owner for owner in found.owners}
    assert (owners["/a"].bytes, owners["/a"].stale) == (5, True)
    assert (owners["/b"].bytes, owners["/b"].stale) == (None, True)
    assert not found.complete


def test_what_is_written_is_what_is_read() -> None:
    found = attribution.attribute("/", 10, ["/a"], {"/a": 4}, {"x (1)": 2}, [], NOW, 1.0)
    written = json.loads(json.dumps(attribution.document(found)))

    assert attribution.from_section(Section(written, "owners")) == found


def test_with_containerds_store_the_images_are_looked_for_there() -> None:
    info = {"DockerRootDir": "/var/lib/docker", "DriverStatus": []}
    store = [["driver-type", "io.containerd.snapshotter.v1"]]

    assert attribution.engine_places(info, "/x") == ["/var/lib/docker"]
    assert attribution.engine_places({**info, "DriverStatus": store}, "/x") == [
        "/var/lib/docker",
        "/x",
    ]
    assert attribution.containerd_root('version = 2\nroot = "/data/containerd"\n[plugins]\n') == (
        "/data/containerd"
    )
    assert attribution.containerd_root('[plugins]\nroot = "/elsewhere"\n') == "/var/lib/containerd"


# -- repairs ------------------------------------------------------------------------------


def wanted(mode: str = "repair", **values: Any) -> Heal:
    return read(heal={"mode": mode, "units": ["a.service"], **values}).heal


def plan(chosen: Heal, attempts: list[heal.Attempt], *paths: str) -> list[tuple[str, str]]:
    broken = tuple(Workspace(path, HEALABLE, 1000, 1000) for path in paths)
    found = Workspaces(len(paths), (*broken, Workspace("/w/dangling", "dangling_gitfile")))
    units = (FailedUnit("a.service", True, NOW, "x"), FailedUnit("b.service", True, NOW, "x"))
    repairs = heal.plan(chosen, Known(found), Known(units), attempts, NOW)
    return [(repair.key, repair.verdict) for repair in repairs]


def tried(target: str, ago: float, action: str = heal.INIT_WORKSPACE) -> heal.Attempt:
    return heal.Attempt(NOW - ago, action, target, "done", "")


def test_only_what_is_on_the_list_is_repaired() -> None:
    assert plan(wanted(), [], "/w/1") == [
        ("init_workspace:/w/1", "go"),
        ("restart_unit:a.service", "go"),
    ]


def test_nothing_is_repaired_on_a_guess() -> None:
    assert heal.plan(wanted(), Unknown("x"), Unknown("y"), [], NOW) == []


def test_report_only_and_off() -> None:
    assert {verdict for _path, verdict in plan(wanted("report"), [], "/w/1")} == {"report_only"}
    assert plan(wanted("off"), [], "/w/1") == []


def test_a_repair_that_was_just_tried_cools_down() -> None:
    assert plan(wanted(), [tried("/w/1", 600)], "/w/1")[0][1] == "cooling_down"
    assert plan(wanted(), [tried("/w/1", 2 * HOUR)], "/w/1")[0][1] == "go"


def test_what_does_not_stay_repaired_is_given_up_and_told() -> None:
    attempts = [tried("/w/1", hours * HOUR) for hours in (20, 10, 5)]

    assert plan(wanted(), attempts, "/w/1")[0][1] == "circuit_open"
    broken = Workspaces(1, (Workspace("/w/1", HEALABLE),))
    repairs = heal.plan(wanted(), Known(broken), Known(()), attempts, NOW)
    assert heal.healing(repairs).open_circuits == ("init_workspace:/w/1",)
    later = [tried("/w/1", hours * HOUR) for hours in (30, 28, 26)]
    assert plan(wanted(), later, "/w/1")[0][1] == "go"


def test_a_day_has_a_budget() -> None:
    chosen = wanted(max_per_day_count=3)
    attempts = [tried("/other", 3 * HOUR)]

    verdicts = [
        verdict for key, verdict in plan(chosen, attempts, *map(str, range(4))) if "init" in key
    ]

    assert verdicts == ["go", "go", "budget_used_up", "budget_used_up"]


ORDERS = [
    {"alert": "main_red", "project": "demo", "issue": 7},
    {"alert": "image:demo-*", "project": "demo", "issue": 9},
]


def raised(check: str, subject: str, ago: float = 0) -> Track:
    return Track(f"{check}:{subject}", check, subject, raised_at=NOW - ago)


def lanes(
    tracks: list[Track], attempts: Sequence[heal.Attempt] = (), closed: bool = False, **values: Any
) -> dict[str, str]:
    chosen = wanted(lanes=ORDERS, **values)
    repairs = heal.plan_lanes(chosen, tracks, attempts, NOW, closed=closed)
    return {repair.key: repair.verdict for repair in repairs}


RED = raised("main_red", "demo", 2 * HOUR)


def asked(ago: float, result: str = "done", target: str = "demo#7") -> heal.Attempt:
    return heal.Attempt(NOW - ago, heal.START_LANE, target, result, "")


def test_a_lane_is_started_for_a_declared_alert_alone() -> None:
    others = [
        raised("disk_space", "/"),
        raised("image", "base"),
        raised("unknown", "main_red:demo"),
    ]

    assert lanes([RED, raised("image", "demo-ci"), *others]) == {
        "start_lane:demo#7": "go",
        "start_lane:demo#9": "go",
    }
    assert lanes([raised("main_red", "a"), raised("main_red", "b")]) == {"start_lane:demo#7": "go"}
    assert lanes([]) == {}
    assert heal.plan_lanes(wanted(), [RED], [], NOW, closed=False) == [], "the list is empty"


@pytest.mark.parametrize(
    ("values", "attempts", "verdict"),
    [
        ({"mode": "report"}, [], "report_only"),
        # One lane each time it is raised, however long it stays.
        ({}, [asked(HOUR + 60)], "already_started"),
        ({"cooldown_minutes": 0}, [asked(2 * HOUR)], "already_started"),
        ({}, [asked(3 * HOUR)], "go"),
        # What was refused is tried again, but not at once and not for ever.
        ({}, [asked(HOUR / 2, "failed")], "cooling_down"),
        ({}, [asked(1.5 * HOUR, "failed")], "go"),
        ({}, [asked(hours * HOUR, "failed") for hours in (1.9, 1.7, 1.5)], "circuit_open"),
        # Their own budget, whatever issue they were for.
        ({"lanes_max_per_day_count": 0}, [], "budget_used_up"),
        (
            {"lanes_max_per_day_count": 2},
            [asked(20 * HOUR, target="demo#1"), asked(5 * HOUR, target="demo#2")],
            "budget_used_up",
        ),
        ({"lanes_max_per_day_count": 1}, [asked(25 * HOUR, target="demo#1")], "go"),
        ({"max_per_day_count": 0}, [], "go"),
    ],
)
def test_lanes_for_alerts_have_bounds(
    values: dict[str, Any], attempts: list[heal.Attempt], verdict: str
) -> None:
    assert lanes([RED], attempts, **values) == {"start_lane:demo#7": verdict}


def test_no_lane_is_started_on_a_host_that_is_emptied_or_with_repairs_off() -> None:
    assert lanes([RED], closed=True) == {"start_lane:demo#7": "draining"}
    assert lanes([RED], mode="off") == {}


# -- messages -----------------------------------------------------------------------------

NOTIFY = read().notify


def edge(change: AlertChange, key: str, severity: str = "disk_space") -> Edge:
    track = Track(key, severity, "/", detail=f"detail of {key}", since=NOW, raised_at=NOW)
    return Edge(change, track)


def test_one_message_tells_problems_first_and_how_to_act() -> None:
    edges = [
        edge(AlertChange.RECOVERED, "c"),
        edge(AlertChange.REMINDER, "b"),
        edge(AlertChange.RAISED, "a"),
    ]

    message = messages.compose(edges, NOTIFY, "vds", NOW)

    assert message is not None
    assert message.title == "vds: 1 problem, 1 problem goes on, 1 recovered"
    heads = [line.split(":")[0] for line in message.body.splitlines() if line[0] != " "]
    assert heads == ["PROBLEM a", "STILL b", "RECOVERED c (was"]
    assert "factory janitor --dry-run" in message.body


def test_nothing_to_say_is_no_message() -> None:
    assert messages.compose([], NOTIFY, "vds", NOW) is None


def test_the_templates_are_the_operators() -> None:
    chosen = read(notify={"title": "[$host] $problems new", "body": "$time\n$edges\n$$5"}).notify

    message = messages.compose([edge(AlertChange.RAISED, "a")], chosen, "vds", NOW)

    assert message is not None
    assert message.title == "[vds] 1 new"
    assert message.body.startswith("2027-01-15T08:00:00Z\nPROBLEM a")
    assert message.body.endswith("$5")


def test_a_full_outbox_drops_the_oldest_and_counts_them() -> None:
    outbox = messages.Outbox()
    for number in range(messages.MOST_WAITING + 3):
        outbox = outbox.with_new(messages.Message(NOW + number, str(number), ""))

    assert (len(outbox.messages), outbox.dropped) == (messages.MOST_WAITING, 3)
    assert outbox.messages[0].title == "3"
    read_again = messages.from_section(
        Section(json.loads(json.dumps(messages.to_document(outbox))), "outbox")
    )
    assert read_again == outbox


def test_no_part_of_an_address_survives() -> None:
    address = "slack://TokenA1234/TokenB5678/TokenC9012/#ops?x=secretvalue"

    told = messages.redact(
        f"could not post to {address} nor to TokenB5678 (secretvalue): refused", [address]
    )

    assert told == "could not post to *** nor to *** (***): refused"


# -- readings -----------------------------------------------------------------------------

RUNNER = {
    "schema": 1,
    "instance": "vds-1",
    "state": "idle",
    "since": "2027-01-15T08:00:00Z",
    "updated_at": "2027-01-15T08:00:00Z",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "vds-1.schema is 2; it must be 1"),
        ({"state": None}, "vds-1.state is missing"),
        ({"since": "yesterday"}, "vds-1.since is 'yesterday'; it must be an ISO 8601 time"),
        ({"consecutive_failures": "3"}, "vds-1.consecutive_failures is '3'"),
    ],
)
def test_a_state_that_says_something_else_is_an_error_that_names_the_key(
    changes: dict[str, Any], message: str
) -> None:
    nobody: Any = None
    with pytest.raises(ConfigurationError) as error:
        runners.runner(nobody, {**RUNNER, **changes}, "vds-1")
    assert message in str(error.value)


def test_a_board_counts_what_the_lists_cannot_tell() -> None:
    dashboard = {
        "tasks": {"open": 66, "inProgress": 2, "blocked": 1, "done": 134},
        "agents": {"active": 3, "running": 1, "paused": 0, "error": 0},
    }
    runs = [
        {"status": "failed", "finishedAt": "2027-01-15T07:59:00Z"},
        {"status": "succeeded", "finishedAt": "2027-01-15T07:00:00Z"},
        {"status": "succeeded", "finishedAt": "2027-01-15T06:00:00Z"},
    ]
    live = [{"status": "running", "agentName": "a", "lastOutputAt": "2027-01-15T07:30:00Z"}]

    company = paperclip.company("c", dashboard, [{}] * 1000, runs, [*live, {"status": "queued"}])

    assert company.last_success_at == NOW - HOUR
    assert company.todo_truncated
    assert [(run.name, run.last_output_at) for run in company.runs] == [("a", NOW - HOUR / 2)]


LISTENING = """  sl  local_address rem_address   st
   0: {address}:0C1C 00000000:0000 {state} 0
"""


@pytest.mark.parametrize(
    ("address", "state", "exposed"),
    [
        ("0100007F", "0A", False),
        ("00000000", "0A", True),
        ("0A00000A", "0A", True),
        ("00000000000000000000000001000000", "0A", False),
        ("00000000000000000000000000000000", "0A", True),
        ("00000000", "01", False),
    ],
)
def test_a_port_is_exposed_when_others_than_this_host_reach_it(
    address: str, state: str, exposed: bool
) -> None:
    tables = {"tcp": LISTENING.format(address=address, state=state)}

    found = paperclip.exposed_ports(tables, {3100: "Paperclip"})

    assert found == (("Paperclip (port 3100)",) if exposed else ())


def test_memory_and_pressure_are_read_or_refused() -> None:
    text = "MemTotal: 1000 kB\nMemAvailable: 100 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
    assert memory.parse(text).available_bytes == 102400
    with pytest.raises(readings.ReadingError):
        memory.parse("MemTotal: 1000 kB\n")
    line = (
        "some avg10=1.00 avg60=2.00 avg300=3.50 total=1\nfull avg10=0 avg60=0 avg300=4.5 total=1\n"
    )
    found = pressure.parse(line, line, line)
    assert (found.memory_full, found.cpu_some) == (4.5, 3.5)
    with pytest.raises(readings.ReadingError):
        pressure.parse("", line, line)


def test_the_real_kernel_can_be_read() -> None:
    assert memory.parse(Path("/proc/meminfo").read_text()).total_bytes > 0
