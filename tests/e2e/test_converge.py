"""The two commands of the README, run as a newcomer runs them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jsonschema
import pytest
from e2e import sandbox
from e2e.sandbox import ROOT, Clone, Ran
from sampling import is_deep
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.engine]

KILL_POINTS_COUNT = 10
SCHEMA = json.loads((ROOT / "docs/recap.schema.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = sandbox.make_clone(tmp_path_factory.mktemp("newcomer") / "aina-factory")
    made.run("script/destroy")
    if not is_deep():
        sandbox.lend_images()
    yield made
    made.run("script/destroy")


@pytest.fixture(scope="module")
def blank(clone: Clone) -> Clone:
    """A blank host: set up, nothing converged."""
    clone.run("script/setup", "host")
    return clone


@dataclass(frozen=True)
class Converged:
    """What the plan for a blank host said, whether it changed the host, and the converge after it."""

    planned: Ran
    plan_changed: bool
    done: Ran


@pytest.fixture(scope="module")
def converged(blank: Clone) -> Converged:
    before = sandbox.fingerprint_of_blank()
    planned = blank.run("script/plan")
    changed = sandbox.fingerprint_of_blank() != before
    done = blank.run("script/converge")
    # What took minutes is kept for the tests of hosts that are not about building.
    subprocess.run([ROOT / "molecule/shared/foundation.sh", "save", sandbox.HOST], check=True)
    return Converged(planned, changed, done)


def screen_of(ran: Ran) -> str:
    """Return what the converge itself printed, without the set-up before and the status after it."""
    return ran.output.partition("Converging inventory/sandbox")[2].partition("\nStatus\n")[0]


def test_check_mode_on_a_blank_host_announces_what_converge_does(converged: Converged) -> None:
    planned, done = converged.planned, converged.done
    assert planned.recap["check_mode"]
    assert planned.changes, "a blank host needs changes"
    assert not converged.plan_changed, "check mode changed the host"
    token = sandbox.docker("exec", sandbox.GITHUB, "cat", "/var/lib/simulator/token")
    written = [Path(ran.recap["details"]).read_text(encoding="utf-8") for ran in (planned, done)]
    assert token not in "".join([planned.output, done.output, *written])
    assert planned.changes == done.changes
    assert planned.changed_paths == done.changed_paths
    jsonschema.validate(planned.recap, SCHEMA)
    jsonschema.validate(done.recap, SCHEMA)


def test_plan_and_converge_of_a_blank_host_fit_on_a_screen(converged: Converged) -> None:
    for ran, screen in (
        (converged.planned, converged.planned.output),
        (converged.done, screen_of(converged.done)),
    ):
        assert len(screen.splitlines()) <= 80, screen
        assert ran.recap["details"] in screen
    said = converged.planned.output.partition("KNOW THIS FIRST")[2].partition("WOULD CHANGE")[0]
    assert "can become root" in said


def test_a_second_converge_changes_nothing_and_is_fast(blank: Clone, converged: Converged) -> None:
    before = sandbox.fingerprint()

    again = blank.run("script/converge")

    assert again.changes == []
    assert len(screen_of(again).splitlines()) <= 25, screen_of(again)
    assert sandbox.fingerprint() == before
    assert again.seconds < 90


def test_the_demo_shows_108_worktrees_and_a_verdict_for_each(converged: Converged) -> None:
    document = json.loads(sandbox.on_host("factory", "reap", "--dry-run", "--json"))

    (repository,) = document["repositories"]
    judged = {item["path"]: item["verdict"] for item in repository["worktrees"]}
    labels = json.loads(sandbox.on_host("cat", "/srv/demo/labels.json"))["labels"]
    assert len(labels) == 108
    # What only shows while somebody works in it is the business of the reaper's own tests.
    wrong = [
        label["path"]
        for label in labels
        if label["listed"]
        and not label["live"]
        and label["expected"] != "either"
        and judged.get(label["path"]) != label["expected"]
    ]
    assert wrong == []
    assert not any(item["reaped"] for item in repository["worktrees"])


def test_the_demo_says_why_each_pull_request_waits_and_who_must_act(converged: Converged) -> None:
    # The scheduled job may have landed some already: begin again, and keep it away.
    job = "factory-job-release-marshal"
    sandbox.on_host("systemctl", "stop", f"{job}.timer", f"{job}.service")
    sandbox.ask_github("POST", "/scenario", {"name": "demo"})

    document = json.loads(sandbox.on_host("factory", "marshal", "--dry-run", "--json"))
    table = sandbox.on_host("factory", "marshal", "--dry-run")
    state = sandbox.ask_github("GET", "/repository?repository=ainative-academy/aina-academy")
    # As the timer runs it; the command returns when the job has ended well.
    sandbox.on_host("systemctl", "start", f"{job}.service")
    sandbox.on_host("systemctl", "start", f"{job}.timer")
    report = sandbox.on_host("cat", "/var/lib/aina-factory/marshal/aina-academy/report.json")
    (project,) = document["projects"]
    rows = {item["number"]: item for item in project["pull_requests"]}
    open_now = {int(n) for n, pull in state["pull_requests"].items() if pull["state"] == "OPEN"}
    assert set(rows) == open_now
    assert all(f"#{number} " in table for number in rows)
    owners = {item["reason"]["owner"] for item in rows.values()}
    assert owners == {"author", "reviewer", "ci", "marshal", "admin"}
    planned = {number for number, item in rows.items() if item["decision"] == "merge"}
    assert set(json.loads(report)["merged"]) == planned
    assert sandbox.ask_github("GET", "/contract")["violations"] == []


def test_a_queued_ci_job_runs_in_a_fresh_container_and_leaves_nothing(converged: Converged) -> None:
    repository = "ainative-academy/aina-academy"
    script = "id --user --name; node --version; ls /home/runner; touch /home/runner/left"
    body = {"repository": repository, "labels": ["self-hosted", "vds"], "steps": [{"run": script}]}
    before = sandbox.on_host("docker", "ps", "--all", "--quiet").splitlines()

    jobs = [sandbox.ask_github("POST", "/job", body)["id"] for _ in range(2)]
    found = [until(partial(sandbox.finished_job, repository, job), f"job {job}") for job in jobs]

    assert [job["conclusion"] for job in found] == ["success", "success"]
    for job in found:
        user, version, *entries = job["log"].splitlines()
        assert (user, version[0]) == ("runner", "v")
        assert entries == ["actions-runner"]
    assert len({job["runner"] for job in found}) == 2

    def settled() -> bool:
        return len(sandbox.on_host("docker", "ps", "--all", "--quiet").splitlines()) == len(before)

    until(settled, "as many containers as before")


@pytest.mark.deep
def test_a_drained_server_leaves_ci_jobs_waiting_until_it_works_again(converged: Converged) -> None:
    repository = "ainative-academy/aina-academy"
    body = {"repository": repository, "labels": ["vds"], "steps": [{"run": "true"}]}

    sandbox.on_host("factory", "drain", "--reason", "a new kernel", "--wait-seconds", "300")
    number = sandbox.ask_github("POST", "/job", body)["id"]

    assert sandbox.ask_github("GET", f"/repository?repository={repository}")["runners"] == {}
    assert (
        sandbox.ask_github("GET", f"/job?repository={repository}&id={number}")["status"] == "queued"
    )
    sandbox.on_host("factory", "drain", "--end")
    job = until(partial(sandbox.finished_job, repository, number), f"job {number}")
    assert job["conclusion"] == "success"


@pytest.mark.deep
def test_a_converge_that_is_killed_again_and_again_ends_in_the_same_state(
    blank: Clone, converged: Converged
) -> None:
    wanted = sandbox.fingerprint()
    total = blank.run("script/converge").recap["tasks"]
    sandbox.docker("rm", "--force", "--volumes", sandbox.HOST)
    steps = range(KILL_POINTS_COUNT)
    points = [max(1, round(total * (step + 0.5) / KILL_POINTS_COUNT)) for step in steps]

    killed = [blank.kill_after_tasks(point) for point in points]

    assert all(killed), f"the run was over before task {points[killed.index(False)]}"
    blank.run("script/converge")
    assert blank.run("script/converge").changes == []
    assert sandbox.fingerprint() == wanted


def test_destroy_leaves_nothing(blank: Clone) -> None:
    blank.run("script/destroy")

    assert sandbox.traces() == []
    leftovers = [path.name for path in Path(blank.path).iterdir() if path.name.startswith(".venv")]
    assert leftovers == []
