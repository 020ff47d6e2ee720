"""Native runners against the simulated GitHub: from blank to gone, and what lies between."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from factory import __main__
from factory.commands import runner
from factory.core.runners import layout, native
from factory.outcome import Exit
from runners.support import REPOSITORY, RUNNERS, Site, until

pytestmark = pytest.mark.slow
WRITES = ("POST", "PUT", "DELETE", "PATCH")


def instance(site: Site, **changes: Any) -> None:
    site.section["instances"][0].update(changes)


def writes(site: Site) -> list[str]:
    return [request for request in site.requests() if request.startswith(WRITES)]


def reads(site: Site) -> list[str]:
    return [request for request in site.requests() if request.startswith("GET")]


def test_a_blank_host_gets_a_runner_that_is_online(site: Site) -> None:
    done = site.fine()

    assert site.registered()["box-one"]["status"] == "online"
    assert [label["name"] for label in site.registered()["box-one"]["labels"]][3:] == [
        "Vds",
        "demo",
    ]
    assert done[0] == "one: make its user"
    assert done[-1] == "one: wait until it is online"
    tree = site.places.tree("one")
    assert stat.S_IMODE(tree.stat().st_mode) == 0o1770
    assert (tree / "bin/Runner.Listener").stat().st_nlink == 2
    assert json.loads((tree / ".runner").read_text())["DisableUpdate"] is True
    assert site.host.units[layout.native_unit("one")].enabled


def test_a_second_converge_reads_twice_and_writes_nothing(site: Site) -> None:
    site.fine()
    site.forget_requests()

    assert site.fine(believed_seconds=600) == []

    assert writes(site) == []
    identifier = site.registered()["box-one"]["id"]
    assert reads(site)[:-1] == [f"GET /repos/{REPOSITORY}", f"GET {RUNNERS}/{identifier}"]


def test_check_mode_on_a_blank_host_plans_and_posts_nothing(site: Site) -> None:
    run, planned = site.plan()

    assert writes(site) == []
    assert run.report.failures == []
    assert "one: fetch version 2.330.0" in planned.phrases
    assert any("register" in phrase for phrase in planned.phrases)
    assert not site.places.root.exists() and not site.places.state.exists()


def test_changed_labels_are_one_put_and_no_restart(site: Site) -> None:
    site.fine()
    process = site.host.units[layout.native_unit("one")].process
    site.forget_requests()
    instance(site, labels=["demo", "gpu"])

    assert site.fine() == ["one: set labels demo, gpu"]

    identifier = site.registered()["box-one"]["id"]
    assert writes(site) == [f"PUT {RUNNERS}/{identifier}/labels"]
    assert site.host.units[layout.native_unit("one")].process is process
    assert site.fine() == []


def test_labels_that_differ_in_case_and_order_alone_are_equal(site: Site) -> None:
    site.fine()
    instance(site, labels=["vds", "DEMO", "self-hosted", "linux"])

    assert site.fine() == []


def test_an_upgrade_waits_for_the_job_and_keeps_it(site: Site) -> None:
    site.fine()
    number = site.hold()
    until(lambda: site.registered()["box-one"]["busy"])
    site.publish("2.331.0")

    healed = site.converge()
    assert "GitHub says that it has a job" in healed.report.deferred[0]
    assert site.job(number)["status"] == "in_progress"
    site.let_go()
    done = site.fine(drain_seconds=60)

    assert site.job(number)["log"] == "whole\n"
    assert site.job(number)["conclusion"] == "success"
    assert "one: switch to version 2.331.0" in done
    assert site.registered()["box-one"]["version"] == "2.331.0"
    assert len(site.registered()) == 1
    assert site.fine() == []


def test_a_removal_at_the_server_is_healed_and_leaves_no_second_entry(site: Site) -> None:
    site.fine()
    old = native.read_registration(site.places.registration("one"))
    assert old is not None
    native.write_registration(
        site.places.registration("one"),
        native.Registration(**{**vars(old), "registered_at": time.time() - 600}),
    )
    body = {"repository": REPOSITORY, "name": "box-one"}
    site.client.control("POST", "/remove_runner", body)
    until(lambda: not site.host.is_running("one"))

    assert "one: register (its files are not those of its registration)" in site.fine()

    assert list(site.registered()) == ["box-one"]
    assert site.registered()["box-one"]["status"] == "online"
    assert site.registered()["box-one"]["id"] != old.id


def test_a_runner_that_was_just_made_may_be_unseen_for_a_while(site: Site) -> None:
    site.fine()
    site.client.control("POST", "/faults", {"path": f"{RUNNERS}/*", "answer": {"status": 404}})

    assert site.fine() == []


def test_a_registration_elsewhere_is_closed_there_and_made_here(site: Site) -> None:
    site.fine()
    instance(site, target="factory/other")

    done = site.fine(drain_seconds=10)

    assert "url was" in done[0]
    assert site.registered() == {}
    assert site.registered("factory/other")["box-one"]["status"] == "online"


def test_a_name_that_is_online_elsewhere_is_never_stolen(site: Site) -> None:
    site.fine()
    site.section["instances"][0]["name"] = "two"
    token = site.client.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    url = f"{site.simulator.world.web_url}/{REPOSITORY}"
    service = "/_services/runner"
    given = {"url": url, "token": token, "name": "box-two"}
    made = site.client.post(f"{service}/register", given).body
    site.client.post(f"{service}/session", {"id": made["id"], "secret": made["secret"]})

    refused = site.converge()
    assert "is online elsewhere" in refused.report.failures[0]
    assert site.registered()["box-two"]["id"] == made["id"]

    instance(site, replace=True)
    site.fine()
    assert site.registered()["box-two"]["id"] != made["id"]


def test_an_instance_that_nobody_declares_any_more_goes_on_both_sides(site: Site) -> None:
    site.fine()
    site.section["instances"] = []

    site.fine(drain_seconds=10)

    assert site.registered() == {}
    assert site.host.users == set()
    assert not site.places.tree("one").exists()
    assert not site.places.home("one").exists()
    assert not site.places.unit("one").exists()
    assert not site.host.is_running("one")


def test_all_that_was_made_goes_on_both_sides(site: Site) -> None:
    site.fine()
    instance(site, state="absent")

    site.fine(drain_seconds=10, leaves=True)

    assert site.registered() == {}
    assert site.host.users == set()
    assert not [p for p in (site.places.root, site.places.homes, site.places.state) if p.exists()]
    assert [name for name, unit in site.host.units.items() if unit.is_active] == []


def test_the_command_that_drains_closes_a_native_runner_at_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fine()
    (tmp_path / "factory.json").write_text(
        json.dumps({"runners": site.section, "github": site.github})
    )
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(runner, "_github", lambda _settings: site.github_client())
    monkeypatch.setattr(runner, "Places", lambda: site.places)
    monkeypatch.setattr(layout, "LOCK_PATH", tmp_path / "lock")
    config = ["--config", str(tmp_path / "factory.json")]

    words = ["drain", "one", "--reason", "new kernel", "--wait-seconds", "20"]
    assert __main__.main(["runner", *config, *words]) == Exit.DONE

    assert site.registered() == {}
    assert not site.host.is_running("one")


def test_a_busy_runner_is_not_removed_before_its_job_ends(site: Site) -> None:
    site.fine()
    number = site.hold()
    until(lambda: site.registered()["box-one"]["busy"])
    instance(site, state="absent")

    assert "it has a job" in site.converge().report.deferred[0]
    site.let_go()
    site.fine(drain_seconds=60)

    assert site.job(number)["log"] == "whole\n"
    assert site.registered() == {}


def test_the_runner_that_runs_the_play_is_left_alone(site: Site) -> None:
    site.fine()
    number = site.hold()
    until(lambda: site.registered()["box-one"]["busy"])
    process = site.host.units[layout.native_unit("one")].process
    site.publish("2.331.0")

    run = site.converge(play_runner_name="box-one", drain_seconds=60)
    assert "it runs this very play" in run.report.deferred[0]

    instance(site, state="absent")
    run = site.converge(play_runner_name="box-one", drain_seconds=60)
    assert "converge from another machine" in run.report.failures[0]
    assert site.host.units[layout.native_unit("one")].process is process
    site.let_go()
    assert site.done(number)["conclusion"] == "success"


def test_a_changed_unit_closes_the_runner_before_it_restarts_it(site: Site) -> None:
    site.fine()
    instance(site, memory_mib=512)

    done = site.fine(drain_seconds=10)

    assert done[:2] == ["one: close at GitHub (its unit changed)", "one: stop"]
    assert "MemoryMax=512M" in site.places.unit("one").read_text()
    assert site.registered()["box-one"]["status"] == "online"
    assert site.fine() == []


def test_a_restart_that_a_killed_run_owes_is_made_up_for(site: Site) -> None:
    site.fine()
    os.utime(site.places.unit("one"))  # the unit file is newer than the process

    assert "one: close at GitHub (its unit changed)" in site.fine(drain_seconds=10)


def test_a_drained_runner_takes_nothing_and_stays_so_until_it_may_again(site: Site) -> None:
    site.fine()
    mark = site.places.drained("one")
    mark.parent.mkdir(parents=True)
    mark.write_text("{}")

    assert site.fine() == ["one: close at GitHub (it is drained)", "one: stop"]
    assert site.registered() == {}
    assert site.fine() == []

    mark.unlink()
    site.fine()
    assert site.registered()["box-one"]["status"] == "online"


def test_a_runner_whose_target_became_public_is_closed(site: Site) -> None:
    site.fine()
    site.client.control("POST", "/settings", {"repository": REPOSITORY, "private": False})

    run = site.converge(drain_seconds=10)

    assert "it is public" in run.report.failures[0]
    assert run.report.actions[:2] == [
        "one: close at GitHub (its target may not be served)",
        "one: stop",
    ]
    assert site.registered() == {}
    assert site.converge().report.actions == []


def test_a_version_that_github_turns_away_is_not_started_again_and_again(site: Site) -> None:
    site.section["version"] = "2.330.0"
    site.fine()
    unit = site.host.units[layout.native_unit("one")]
    site.host.stop(layout.native_unit("one"))
    unit.exit_status = 7

    assert "no longer, so it is not started again" in site.converge().report.failures[0]
    assert not unit.is_active

    site.publish("2.331.0")
    site.section["version"] = "latest"
    site.fine(drain_seconds=10)
    assert site.registered()["box-one"]["version"] == "2.331.0"


def test_releases_are_looked_up_where_they_are_declared(site: Site) -> None:
    answering = site.github["api_url"]
    site.github |= {"api_url": "https://127.0.0.1:1", "release_api_url": answering}

    assert site.github_client().releases()[0].version == "2.330.0"


def test_a_damaged_tarball_is_refused_and_the_old_version_goes_on(site: Site) -> None:
    site.fine()
    site.publish("2.331.0", damaged=True)

    run = site.converge(drain_seconds=10)

    assert "is refused: its SHA-256" in run.report.failures[0]
    assert site.registered()["box-one"]["status"] == "online"
    assert site.registered()["box-one"]["version"] == "2.330.0"


def test_a_release_without_a_digest_says_what_to_set(site: Site) -> None:
    site.publish("2.331.0", digests=False)

    assert "set gh_actions_runner_version_sha256" in site.converge().report.failures[0]


def test_a_downgrade_is_refused(site: Site) -> None:
    site.fine()
    site.publish("2.329.0", created_at="-40d")
    site.section["version"] = "2.329.0"

    run = site.converge(drain_seconds=10)

    assert any("is refused, since GitHub soon turns older" in text for text in run.report.failures)
    assert site.registered()["box-one"]["version"] == "2.330.0"


def test_a_version_that_github_withdrew_is_kept(site: Site) -> None:
    site.publish("2.331.0")
    site.fine()
    site.publish("2.331.0", prerelease=True)

    assert site.fine() == []


@pytest.mark.parametrize(("age", "told"), [("-19d", ""), ("-21d", "warning"), ("-31d", "failure")])
def test_a_pin_is_warned_of_at_20_days_and_fails_at_30(site: Site, age: str, told: str) -> None:
    site.section["version"] = "2.330.0"
    site.fine()
    site.publish("2.331.0", created_at=age)

    report = site.converge().report

    words = "has been outdated for"
    assert any(words in text for text in report.warnings) is (told == "warning")
    assert any(words in text for text in report.failures) is (told == "failure")


def test_nothing_is_done_while_github_does_not_answer(site: Site) -> None:
    site.fine()
    before = len(site.host.calls)
    site.client.control("POST", "/faults", {"path": "*", "answer": {"status": 502}})

    run = site.converge()

    assert run.report.failures
    assert run.report.actions == []
    assert {tuple(call[:2]) for call in site.host.calls[before:]} <= {
        ("systemctl", "show"),
        ("systemctl", "list-units"),
    }
    assert site.host.is_running("one")


def test_what_a_job_wrote_into_the_runners_file_is_not_believed(site: Site) -> None:
    site.fine()
    other = site.client.rest(
        "POST",
        f"{RUNNERS}/generate-jitconfig",
        {"name": "v", "runner_group_id": 1, "labels": ["x"]},
    ).body["runner"]["id"]
    path = site.places.tree("one") / ".runner"
    path.write_text(path.read_text().replace('"AgentId": ', f'"AgentId": {other}, "Was": '))

    site.fine(drain_seconds=10)

    assert set(site.registered()) == {"v", "box-one"}
    assert site.registered()["box-one"]["status"] == "online"


def test_the_token_is_in_no_argument_and_in_no_file(site: Site) -> None:
    site.fine()

    tokens = list(site.simulator.world.scopes[f"repos/{REPOSITORY}"].tokens)
    admin = site.client.token
    assert tokens
    arguments = "\n".join(word for call in site.host.calls for word in call)
    assert not [secret for secret in [*tokens, admin] if secret in arguments]
    holders = [env for env in site.host.environments if any(t in env.values() for t in tokens)]
    assert [sorted(env) for env in holders] == [
        ["ACTIONS_RUNNER_INPUT_TOKEN", "HOME", "SSL_CERT_FILE"]
    ]
    files = [path for path in site.host.root.rglob("*") if path.is_file()]
    contents = "\n".join(path.read_text(errors="replace") for path in files)
    assert not [secret for secret in [*tokens, admin] if secret in contents]


def test_a_bare_registration_token_registers_only_where_the_operator_vouches(
    site: Site, tmp_path: Any
) -> None:
    token = site.client.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    path = tmp_path / "registration-token"
    path.write_text(token)
    path.chmod(0o600)
    login = {"method": "registration_token", "token_file": str(path)}
    site.github["logins"] = {"runners": login}
    assert "GitHub cannot be asked whether it is private" in site.converge().report.failures[0]

    instance(site, public_repository_reason="we know", open_fork_policy_reason="we know")
    site.fine()
    until(lambda: site.registered()["box-one"]["status"] == "online")
    assert site.fine() == []


def test_a_crashed_runner_is_not_taken_for_a_job(site: Site) -> None:
    site.fine()
    process = site.host.units[layout.native_unit("one")].process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()

    assert site.fine()[-2:] == ["one: start", "one: wait until it is online"]
