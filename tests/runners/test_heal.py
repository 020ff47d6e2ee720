"""The healer: what it mends between two converges, and what it tells."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import pytest

from factory.core.base import documents, times
from factory.core.runners import layout, names, native, state
from factory.core.runners.state import Condition, State
from factory.runners.engine import SlotEngine
from factory.runners.heal import Healer
from runners.support import REPOSITORY, RUNNERS, PlayedContainer, Site, Unit, until

pytestmark = pytest.mark.slow
COMMON = layout.COMMON_IMAGE


def heal(site: Site) -> dict[str, Any]:
    return Healer(site.github_client(), SlotEngine(site.host.run, site.host.engine), 0.0).heal()


def told(site: Site, name: str) -> State:
    found = state.read(site.places.state, name)
    assert found is not None
    return found


def pool(site: Site, **changes: Any) -> None:
    site.section["instances"] = [
        {"name": "pool", "target": REPOSITORY, "labels": ["demo"], **changes}
    ]


def entry(site: Site, name: str) -> int:
    body = {"name": name, "runner_group_id": 1, "labels": ["x"]}
    made = site.client.rest("POST", f"{RUNNERS}/generate-jitconfig", body).body
    return int(made["runner"]["id"])


def test_a_removed_runner_is_registered_again_and_told_of(site: Site) -> None:
    site.fine()
    site.client.control("POST", "/remove_runner", {"repository": REPOSITORY, "name": "box-one"})
    until(lambda: not site.host.is_running("one"))

    document = heal(site)

    assert document["problems"] == []
    assert "one: register (its files are not those of its registration)" in document["actions"]
    assert site.registered()["box-one"]["status"] == "online"
    assert (told(site, "one").state, told(site, "one").runner_name) == ("idle", "box-one")
    assert heal(site)["actions"] == []


def test_a_busy_runner_waits_for_its_upgrade_and_is_told_busy(site: Site) -> None:
    site.fine()
    number = site.hold()
    until(lambda: site.registered()["box-one"]["busy"])
    site.publish("2.331.0")

    assert "has a job" in heal(site)["deferred"][0]
    assert told(site, "one").state == "busy"
    site.let_go()

    assert site.done(number)["log"] == "whole\n"
    until(lambda: not site.registered()["box-one"]["busy"])
    assert "one: switch to version 2.331.0" in heal(site)["actions"]


def test_the_last_job_is_read_off_the_log(site: Site) -> None:
    site.fine()
    site.host.journal = (
        "2026-01-01 10:00:00Z: Job old completed with result: Failed\n"
        "2026-01-02 10:00:00Z: Running job: new\n"
        "2026-01-02 10:00:05Z: Job new completed with result: Succeeded\n"
    )

    heal(site)

    assert told(site, "one").last_job == {
        "name": "new",
        "finished_at": "2026-01-02T10:00:05Z",
        "outcome": "Succeeded",
    }


def test_a_runner_that_is_down_or_turned_away_or_drained_is_told_as_such(site: Site) -> None:
    site.fine()
    heal(site)
    site.client.control("POST", "/faults", {"path": "*", "answer": {"status": 502}})
    assert heal(site)["problems"]
    assert told(site, "one").state == "unknown"
    site.client.control("DELETE", "/faults")

    site.places.server_drained.write_text("{}")
    heal(site)
    assert (told(site, "one").state, told(site, "one").detail) == ("stopped", "it is drained")
    assert site.registered() == {}

    site.places.server_drained.unlink()
    heal(site)
    assert told(site, "one").state == "idle"

    site.host.stop(layout.native_unit("one"))
    site.host.units[layout.native_unit("one")].exit_status = 7
    assert "no longer" in heal(site)["problems"][0]
    assert told(site, "one").state == "outdated"


def test_entries_that_never_came_to_life_are_swept_by_age_and_name_alone(site: Site) -> None:
    pool(site)
    old, now = time.time() - 3600, time.time()
    entry(site, names.runner_name_of("box", "pool-1", old, 0.1))
    young = names.runner_name_of("box", "pool-1", now, 0.2)
    current = names.runner_name_of("box", "pool-1", old, 0.3)
    # The name of another host that begins like ours.
    neighbour = names.runner_name_of("box-2", "pool-1", old, 0.4)
    for name in (young, neighbour, "other-pool-1-abcdefgh", "box-mine"):
        entry(site, name)
    known = State("pool-1", "ephemeral", "", Condition.IDLE, "", runner_id=entry(site, current))
    state.write(site.places.state, known)

    document = heal(site)

    kept = {young, current, neighbour, "other-pool-1-abcdefgh", "box-mine"}
    assert set(site.registered()) == kept
    assert len(document["actions"]) == 3  # the rules, the supervisor, and one entry


def test_the_oldest_waiting_job_is_noted_for_each_instance(site: Site) -> None:
    site.section["instances"].append({"name": "gpu", "target": REPOSITORY, "labels": ["gpu"]})
    site.fine()
    site.queue("true", labels=["self-hosted", "gpu"])
    site.queue("true", labels=["foreign"])
    site.client.control("POST", "/clock", {"seconds": 0})

    heal(site)

    github = site.github_client()
    assert github.queued_seconds("one") is None
    waited = github.queued_seconds("gpu")
    assert waited is not None and waited < 60


@pytest.mark.parametrize(
    ("condition", "image", "age_seconds", "starts"),
    [
        (Condition.OUTDATED, "sha256:old", 10, False),
        (Condition.OUTDATED, "sha256:new", 10, True),
        (Condition.OUTDATED, "sha256:old", 3700, True),
        (Condition.FAILED, "sha256:old", 10, True),
        (Condition.STOPPED, "sha256:new", 9999, False),
    ],
)
def test_a_slot_without_a_supervisor_is_spoken_for_and_started_again(
    site: Site, condition: Condition, image: str, age_seconds: float, starts: bool
) -> None:
    pool(site)
    site.host.images[COMMON] = image
    since = times.iso(time.time() - age_seconds)
    before = State("pool-1", "ephemeral", "", condition, since, image_id="sha256:old")
    state.write(site.places.state, before)

    heal(site)

    assert site.host.units.get(layout.loop_unit("pool-1"), Unit()).is_active is starts
    after = told(site, "pool-1")
    assert (after.state, after.since) == (condition, since)
    assert after.updated_at


def test_a_slot_whose_supervisor_died_is_told_as_failed(site: Site) -> None:
    pool(site)
    state.write(
        site.places.state, State("pool-1", "ephemeral", "", Condition.BUSY, "2026-01-01T00:00:00Z")
    )

    heal(site)

    assert told(site, "pool-1").state == "failed"
    assert "its supervisor does not run" in told(site, "pool-1").detail


def test_a_running_slot_speaks_for_itself(site: Site) -> None:
    pool(site)
    site.host.start(layout.loop_unit("pool-1"))
    before = State("pool-1", "ephemeral", "", Condition.BUSY, "2026-01-01T00:00:00Z")
    state.write(site.places.state, before)

    heal(site)

    assert told(site, "pool-1") == before


def test_what_nobody_declares_is_told_of_no_more(site: Site, tmp_path: Any) -> None:
    pool(site)
    site.section["metrics_path"] = str(tmp_path / "runners.prom")
    stray = State("gone-1", "ephemeral", "", Condition.IDLE, "")
    site.places.state.mkdir(parents=True, exist_ok=True)
    documents.replace(site.places.state / "gone-1.json", asdict(stray))

    heal(site)

    assert not (site.places.state / "gone-1.json").exists()
    text = (tmp_path / "runners.prom").read_text()
    assert 'factory_runners{state="failed"} 1' in text
    assert "gone-1" not in text


def test_a_target_that_became_public_loses_its_native_runner_too(site: Site) -> None:
    site.fine()
    site.client.control("POST", "/settings", {"repository": REPOSITORY, "private": False})

    assert "it is public" in heal(site)["problems"][0]

    assert site.registered() == {}
    assert told(site, "one").state == "stopped"


def test_a_github_app_logs_in_with_no_more_than_it_needs(site: Site) -> None:
    app: dict[str, Any] = {"slug": "runners"}
    needed = {"administration": "write", "actions": "read", "metadata": "read"}
    granted = {**needed, "contents": "write"}
    document = {
        "repositories": [
            {
                "name": "actions/runner",
                "private": False,
                "releases": [{"tag": "v2.330.0", "runner": True}],
            },
            {"name": REPOSITORY, "private": True},
        ],
        "apps": [{**app, "installed_on": "factory", "permissions": granted}],
    }
    shown = site.client.control("POST", "/scenario", {"document": document})["apps"][0]
    site.github["login"] = {
        "method": "github_app",
        "app_id": shown["id"],
        "app_key_file": shown["private_key_file"],
    }

    site.fine()

    assert native.read_registration(site.places.registration("one")) is not None
    minted = [t for t in site.simulator.world.tokens.values() if t.permissions is not None]
    assert {frozenset(token.permissions or {}) for token in minted} == {
        frozenset({"administration", "actions", "metadata"})
    }
    key = site.simulator.directory
    arguments = " ".join(word for call in site.host.calls for word in call)
    assert not [token for token in minted if token.value in arguments]
    assert str(key) in arguments  # the path of the key, and nothing of it


# --- what nobody watches -------------------------------------------------------------


def left_alone(site: Site, slot: str, **more: Any) -> PlayedContainer:
    """Return a running container of a slot whose supervisor is gone, known to GitHub."""
    name = names.runner_name_of("box", slot, time.time(), 0.1)
    made = PlayedContainer(name, slot, entry(site, name), **more)
    site.host.containers[name] = made
    return made


def busy(site: Site, container: PlayedContainer) -> None:
    """Have GitHub say that a runner has a job."""
    scope = site.simulator.world.scopes[f"repos/{REPOSITORY}"]
    container.worker, scope.runners[container.runner_id].job_id = True, 7


@pytest.mark.parametrize("declared", [True, False])
def test_what_nobody_watches_is_taken_over_or_ended_and_no_job_is_lost(
    site: Site, declared: bool
) -> None:
    pool(site)
    slot = "pool-1" if declared else "pool-2"
    container = left_alone(site, slot)
    busy(site, container)

    heal(site)

    assert container.runs, "a job is never cut short"
    assert site.host.units.get(layout.loop_unit(slot), Unit()).is_active is declared
    site.simulator.world.scopes[f"repos/{REPOSITORY}"].runners[container.runner_id].job_id = None
    container.worker = False
    heal(site)
    assert (container.name in site.host.containers) is declared
    assert (container.name in site.registered()) is declared


def test_what_ended_with_nobody_to_see_it_is_removed(site: Site) -> None:
    pool(site)
    left_alone(site, "pool-2", runs=False)

    assert any("ended" in action for action in heal(site)["actions"])

    assert site.host.containers == {}


def test_what_github_forgot_is_ended_after_a_quarter_of_an_hour(site: Site) -> None:
    pool(site)
    container = left_alone(site, "pool-2", worker=True)
    site.client.control(
        "POST", "/remove_runner", {"repository": REPOSITORY, "name": container.name, "ghost": True}
    )
    heal(site)
    assert container.runs
    noted = documents.read(site.places.shared("forgotten")) or {}
    assert set(noted["since"]) == {container.name}

    # What an old round has found says nothing of what was between it and this one.
    noted["since"] = {container.name: times.iso(time.time() - 90000)}
    documents.replace(
        site.places.shared("forgotten"), {**noted, "asked_at": times.iso(time.time() - 86400)}
    )
    heal(site)
    assert container.runs
    # While GitHub is silent nothing is concluded, however long that lasts.
    noted["since"] = {container.name: times.iso(time.time() - 901)}
    documents.replace(site.places.shared("forgotten"), noted)
    site.client.control("POST", "/faults", {"path": f"{RUNNERS}/*", "answer": {"status": 502}})
    heal(site)
    assert container.runs
    site.client.control("DELETE", "/faults")
    heal(site)
    assert site.host.containers == {}


def test_all_is_well_counts_and_says_who_is_not(site: Site) -> None:
    pool(site)
    site.host.start(layout.loop_unit("pool-1"))
    container = left_alone(site, "pool-1")
    now = times.iso(time.time())
    told = State("pool-1", "ephemeral", "", Condition.IDLE, now, runner_id=container.runner_id)
    state.write(site.places.state, told)

    document = heal(site)
    assert document["unwell"] == []
    assert document["counts"] == {"containers": 1, "entries": 1}

    state.write(site.places.state, told.changed(time.time(), Condition.FAILED, "GitHub refuses"))
    assert heal(site)["unwell"] == ["pool-1: failed: GitHub refuses"]

    site.host.engine_answers = False
    assert "which runners run is unknown" in heal(site)["problems"][0]
