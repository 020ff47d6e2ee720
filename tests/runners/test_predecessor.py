"""A runner that somebody set up by hand gives way to the declared ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError
from factory.core.runners import layout, processes
from factory.core.runners.converge import Converge, ConvergeOptions
from runners.support import REPOSITORY, RUNNERS, Site, until

pytestmark = pytest.mark.slow
UNIT = "actions.runner.factory-demo.hand.service"


@pytest.fixture
def tree(site: Site, tmp_path: Path) -> Iterator[Path]:
    """The application as a hand unpacks and configures it, beside a declared runner that is online."""
    site.fine()
    found = tmp_path / "srv/actions-runner"
    found.mkdir(parents=True)
    archive = next(site.places.cache.glob("*.tar.gz"))
    with tarfile.open(archive) as opened:
        opened.extractall(found)  # noqa: S202 - our own
    (found / "run.sh").write_text('#!/bin/sh\n"$(dirname "$0")"/bin/Runner.Listener run\n')
    (found / "run.sh").chmod(0o755)
    token = site.client.rest("POST", f"{RUNNERS}/registration-token").body["token"]
    argv = ["bin/Runner.Listener", "configure", "--unattended", "--name", "hand"]
    argv += ["--url", f"{site.settings().web_url(REPOSITORY)}", "--labels", "byhand"]
    environment = {**application(site), "ACTIONS_RUNNER_INPUT_TOKEN": token}
    subprocess.run(argv, cwd=found, env=environment, check=True, capture_output=True)
    site.section["predecessors"] = [{"path": str(found), "target": REPOSITORY}]
    yield found
    for pid in processes.of_hand_made(found):
        os.kill(pid, signal.SIGKILL)


def application(site: Site) -> dict[str, str]:
    return {**os.environ, "SSL_CERT_FILE": site.host.ca_file}


@contextmanager
def by_hand(site: Site, tree: Path, *argv: str) -> Iterator[None]:
    """Start it as a hand does, from its directory."""
    process = subprocess.Popen(
        argv or ("sh", "./run.sh"),
        cwd=tree,
        env=application(site),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: site.registered()["hand"]["status"] == "online", "the hand-made runner")
        yield
    finally:
        process.kill()
        process.wait()


def old(site: Site, tree: Path, **options: Any) -> list[str]:
    """Converge; return what was done to the old runner."""
    return [a.removeprefix(f"{tree}: ") for a in site.fine(**options) if a.startswith(str(tree))]


def test_it_is_closed_and_ended_and_does_not_come_back(site: Site, tree: Path) -> None:
    with by_hand(site, tree):
        assert len(processes.of_hand_made(tree)) >= 2  # the script and what it started
        _, planned = site.plan()

        done = old(site, tree, drain_seconds=30)

        assert done == [
            "close it at GitHub",
            "end its processes",
            "rename its .runner to .runner.retired",
        ]
        assert [p for p in planned.phrases if p.startswith(str(tree))] == [
            f"{tree}: {step}" for step in done
        ]
    assert processes.of_hand_made(tree) == {}
    assert set(site.registered()) == {"box-one"}
    assert (tree / "bin/Runner.Listener").exists()
    site.forget_requests()
    assert site.fine() == []
    assert not any(request.startswith(("POST", "DELETE", "PUT")) for request in site.requests())


def test_it_is_foretold_where_github_cannot_be_asked_yet(site: Site, tree: Path) -> None:
    with by_hand(site, tree):
        site.forget_requests()
        run = Converge(site.github_client(), 0.0, ConvergeOptions())

        told = run.preview()

        assert told == [
            "one: bring it up",
            f"{tree}: close it at GitHub",
            f"{tree}: end its processes",
            f"{tree}: rename its .runner to .runner.retired",
        ]
        assert site.requests() == []


def test_its_job_ends_first(site: Site, tree: Path) -> None:
    with by_hand(site, tree):
        number = site.hold("byhand")
        until(lambda: site.registered()["hand"]["busy"])

        healed = site.converge()
        assert "GitHub says that it has a job" in healed.report.deferred[0]
        site.let_go()
        assert old(site, tree, drain_seconds=60)[0] == "close it at GitHub"

    assert site.job(number)["log"] == "whole\n"
    assert site.job(number)["conclusion"] == "success"


def test_a_job_that_github_has_forgotten_ends_first_too(site: Site, tree: Path) -> None:
    worker = tree / "bin/Runner.Worker"
    worker.unlink(missing_ok=True)
    worker.write_text("#!/bin/sh\nsleep 100\n")
    worker.chmod(0o755)
    with by_hand(site, tree), subprocess.Popen(["bin/Runner.Worker"], cwd=tree) as job:
        try:
            healed = site.converge()
            assert job.poll() is None
            assert "its job is still running" in healed.report.deferred[0]
        finally:
            job.kill()
        job.wait()
        site.fine(drain_seconds=30)
    assert processes.of_hand_made(tree) == {}


def test_it_goes_on_while_nobody_has_taken_its_place(site: Site, tree: Path) -> None:
    with by_hand(site, tree):
        site.host.stop(layout.native_unit("one"))
        until(lambda: site.registered()["box-one"]["status"] == "offline")
        site.section["instances"] = []

        run = site.converge()

        assert "no declared runner of factory/demo is online" in run.report.deferred[0]
        assert site.registered()["hand"]["status"] == "online"


def test_a_file_that_names_another_runner_costs_it_nothing(site: Site, tree: Path) -> None:
    ours = site.registered()["box-one"]["id"]
    for name in ("box-one", "hand"):
        (tree / ".runner").write_text(json.dumps({"AgentId": ours, "AgentName": name}))

        run = site.converge()

        assert "it is left alone" in run.report.failures[0]
        assert site.registered()["box-one"]["status"] == "online"


def test_the_unit_of_its_own_script_is_stopped_and_does_not_start_again(
    site: Site, tree: Path
) -> None:
    (tree / ".service").write_text(f"{UNIT}\n")
    site.host.start(UNIT)
    site.host.units[UNIT].enabled = True

    assert f"stop and disable {UNIT}" in old(site, tree, drain_seconds=30)

    assert (site.host.units[UNIT].is_active, site.host.units[UNIT].enabled) == (False, False)


def test_no_other_unit_is_stopped_whatever_its_file_says(site: Site, tree: Path) -> None:
    (tree / ".service").write_text("ssh.service\n")
    site.host.start("ssh.service")

    old(site, tree, drain_seconds=30)

    assert site.host.units["ssh.service"].is_active


def test_who_only_reads_its_files_is_no_part_of_it(tree: Path) -> None:
    with subprocess.Popen(
        ["tail", "-f", str(tree / "run.sh")], stdout=subprocess.DEVNULL
    ) as reader:
        try:
            assert processes.of_hand_made(tree) == {}
        finally:
            reader.kill()


def test_a_declared_runners_own_directory_is_no_predecessor(site: Site) -> None:
    path = "/opt/gha-runner/instances/one"
    site.section["predecessors"] = [{"path": path, "target": REPOSITORY}]

    with pytest.raises(ConfigurationError, match="declared runner's own"):
        site.settings()
