from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from factory.core.base import guarded
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.settings import read
from factory.core.marshal import audit, saved_state
from factory.core.marshal.reasons import Code
from factory.core.marshal.settings import (
    LANE_COMMAND,
    ConflictLane,
    MarshalSettings,
    MergePolicy,
    MergeProject,
)
from factory.core.marshal.snapshot import (
    Backport,
    EarlierReason,
    Refusal,
    RepeatedConflict,
    SavedState,
    TrainRun,
    TrainState,
)


def policy(**values: object) -> MergePolicy:
    return read(MergePolicy, Section(values, "merge"))


def test_the_empty_mapping_is_the_default() -> None:
    assert policy() == MergePolicy()
    assert policy().digest() == MergePolicy().digest() != policy(mode="train").digest()


def freeze(start: str, end: str) -> dict[str, object]:
    return {"freezes": [{"reason": "r", "start": start, "end": end}]}


LANES = [
    (None, ConflictLane(enabled=False)),
    (False, ConflictLane(enabled=False)),
    (True, ConflictLane(command=LANE_COMMAND)),
    ({"tries": 3}, ConflictLane(command=LANE_COMMAND, tries=3)),
    ({"command": ["x"], "max_per_day": 2}, ConflictLane(command=("x",), max_per_day=2)),
]


@pytest.mark.parametrize(("value", "lane"), LANES)
def test_a_conflict_lane_is_the_servers_own_unless_a_command_is_given(
    value: object, lane: ConflictLane
) -> None:
    assert policy(conflict_lane=value).lane == lane


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"conflict_lane": "yes"}, "merge.conflict_lane.enabled is 'yes'; it must be true or"),
        ({"mode": "quick"}, "merge.mode is 'quick'"),
        ({"max_merges_per_cycle": -1}, "must be at least 0"),
        ({"conflict_lane": {"command": "lane run"}}, "merge.conflict_lane.command is 'lane run'"),
        ({"conflict_lane": {"command": []}}, r"command is \(\); it must begin with a program"),
        ({"conflict_lane": {"tries": 0}}, "merge.conflict_lane.tries is 0"),
        ({"hold_label": "x"}, "merge.hold_label is not known"),
        (
            {"freezes": [{"reason": "r", "start": "soon", "end": "later"}]},
            r"merge.freezes\[0\].start is 'soon'; it must be like 2026-",
        ),
        (freeze("fri 16:00", "2026-12-27T12:00:00Z"), "start is 'fri 16:00'; it must be like"),
        (freeze("2026-12-24T12:00:00", "2026-12-27T12:00:00Z"), "start is .* its time zone"),
        (freeze("2026-12-27T12:00:00Z", "2026-12-24T12:00:00Z"), "end is .* lie after start"),
        (freeze("fri 16:00", "Fri 16:00"), "end is .* differ from start"),
        ({"hold_labels": [" hold"]}, "merge.hold_labels.* be a label of at most 50 characters"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        policy(**values)


@pytest.mark.parametrize(
    ("moment", "frozen"),
    [
        ("2026-11-27T15:59", False),  # a Friday
        ("2026-11-27T16:00", True),
        ("2026-11-29T12:00", True),
        ("2026-11-30T07:59", True),
        ("2026-11-30T08:00", False),
    ],
)
def test_a_weekly_freeze_wraps_over_the_weekend(moment: str, frozen: bool) -> None:
    (window,) = policy(freezes=[{"reason": "r", "start": "Fri 16:00", "end": "Mon 08:00"}]).freezes

    assert window.covers(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) is frozen


def test_a_hold_of_ones_own_leaves_the_standard_one_and_a_repair_of_ones_own_replaces_it() -> None:
    found = policy(hold_labels=["wait"], repair_labels=["mend"])

    assert found.hold_labels == ("hold", "wait")
    assert found.repair_labels == ("mend",)


def test_labels_are_kept_as_github_compares_them() -> None:
    found = policy(hold_labels=["Hold"], repair_labels=["OK"], duplicates={"label": "Twin"})

    assert (found.hold_labels, found.repair_labels) == (("hold",), ("ok",))
    assert found.duplicates.label == "twin"


def test_two_projects_of_one_repository_are_refused() -> None:
    projects = [{"name": name, "repository": "o/r"} for name in ("a", "b")]

    with pytest.raises(ConfigurationError, match="'o/r' is declared twice"):
        read(MarshalSettings, Section({"projects": projects}, "marshal"))


def test_what_the_site_and_the_project_say_of_persons_and_paths_binds_the_marshal() -> None:
    project = {
        "name": "a",
        "repository": "o/r",
        "guarded_paths": ["deploy/"],
        "guarded_label": "Looked-At",
    }
    section = Section({"projects": [project]}, "marshal")

    found = read(MarshalSettings, section, agents=("robot",))
    wanted = found.policy_of(found.projects[0])

    assert wanted.guarded_paths == (*guarded.STANDARD, "deploy/")
    assert (wanted.guarded_label, wanted.agents) == ("looked-at", ("robot",))


@pytest.mark.parametrize(
    ("values", "now"),
    [
        ({"guarded_paths": []}, "merge.guarded_paths is now guarded_paths of the project itself"),
        ({"guarded_label": "x"}, "merge.guarded_label is now guarded_label of the project itself"),
        ({"duplicates": {"agents": []}}, "merge.duplicates.agents is now agents, at the top"),
    ],
)
def test_what_stands_elsewhere_now_is_said(values: dict[str, object], now: str) -> None:
    with pytest.raises(ConfigurationError, match=now):
        policy(**values)


STATE = SavedState(
    conflicts={4: RepeatedConflict("abc", 2, (5.0, 6.5))},
    remembered={1: EarlierReason("draft", 1.0, "f", 2.0)},
    main_red_since=7.0,
    halted_since=8.0,
    halted_reason="#9",
    landed_count=10,
    refused={2: Refusal("h", "t", 3.0, Code.LEFT_MERGE_QUEUE)},
    cleanups={3: "h"},
    doubtful=(3,),
    marked=(8,),
    queued={6: "h"},
    list_cursor="c",
    backports=(Backport(7, "release/1", "m", "h"),),
    leftovers=("train/old",),
    train=TrainState(
        (TrainRun(((1, "h"),), "b", "t", "train/t", 4.0, True),),
        (((1, "h"),),),
        ((2, "g"),),
        {5: ("h", 6.0)},
        11,
        13.0,
        "no push",
        {1: "h"},
    ),
    pushed={3: "t"},
)


def state_document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(saved_state.to_document(STATE)))
    return document


def test_each_further_branch_has_a_queue_of_its_own_under_the_same_policy() -> None:
    project = MergeProject(
        name="demo", repository="o/demo", merge=MergePolicy(branches=("release/1", "main"))
    )

    first, second = MarshalSettings(projects=(project,)).queues()

    assert first == project
    assert (second.name, second.default_branch) == ("demo@release/1", "release/1")
    assert second.merge.only_own
    assert "main" in second.merge.branches


@pytest.mark.parametrize("branch", ["../x", "a//b", "/a", "a/", "-a", "a b", ""])
def test_a_branch_that_is_no_name_is_refused(branch: str) -> None:
    with pytest.raises(ConfigurationError):
        policy(branches=[branch])


def test_the_state_survives_its_file() -> None:
    assert saved_state.from_document(state_document()) == STATE


def test_a_train_that_tested_one_batch_at_a_time_goes_on_where_it_was() -> None:
    document = state_document()
    train = document["train"]
    train["run"], train["suspects"] = train.pop("runs")[0], train.pop("reds")[0]

    assert saved_state.from_document(document) == STATE


@pytest.mark.parametrize("key", sorted(field.name for field in fields(SavedState)))
def test_a_state_that_is_older_than_one_of_its_keys_is_whole(key: str) -> None:
    document = state_document()
    del document[key]

    found = saved_state.from_document(document)

    assert getattr(found, key) == getattr(SavedState(), key)
    assert replace(found, **{key: getattr(STATE, key)}) == STATE


def test_a_state_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    document = state_document()
    document["newer"] = document["train"]["newer"] = document["remembered"]["1"]["newer"] = 1

    assert saved_state.from_document(document) == STATE


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"schema": 2},
        {"schema": 1, "remembered": []},
        {"schema": 1, "remembered": {"1": {"since": 1.0}}},
        {"schema": 1, "refused": {"2": {"head_oid": "h"}}},
        {"schema": 1, "train": None},
        {"schema": 1, "train": {"run": {"members": []}}},
        {"schema": 1, "cleanups": {"x": "h"}},
        {"schema": 1, "halted_since": None},
    ],
)
def test_a_damaged_state_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(saved_state.StateFormatError):
        saved_state.from_document(document)


def test_every_change_of_the_audit_log_shows() -> None:
    lines, previous = [], audit.GENESIS
    for number in range(3):
        text, previous = audit.line({"number": number}, previous)
        lines.append(text)

    assert audit.verify(lines) == previous
    for damaged in (
        lines[1:],
        [lines[0], lines[2]],
        [lines[0].replace("0", "1", 1), *lines[1:]],
        ["x"],
    ):
        with pytest.raises(ValueError, match="line"):
            audit.verify(damaged)
