"""The stub of the runner application behaves as the real one is known to."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import subprocess
import tarfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import waiting
from simulator import Simulator, stub_runner
from simulator.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.deep]
REPOSITORY = "factory/demo"
RUNNERS = f"/repos/{REPOSITORY}/actions/runners"
SECONDS = 60.0

until = partial(waiting.until, pause_seconds=0.05)


def is_running(pid: str) -> bool:
    """Whether the process still does something: one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Stub:
    """An unpacked distribution and what it prints."""

    def __init__(self, root: Path, client: Client) -> None:
        self.root, self.client = root, client
        with tarfile.open(fileobj=io.BytesIO(stub_runner.tarball("2.330.0"))) as tar:
            tar.extractall(root)  # noqa: S202 - our own
        self.environment = {**os.environ, "SSL_CERT_FILE": str(client.simulator.ca_file)}
        self.processes: list[subprocess.Popen[str]] = []

    def call(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "bin/Runner.Listener", *words],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def configure(self, *words: str, name: str = "stub") -> subprocess.CompletedProcess[str]:
        token = self.client.rest("POST", f"{RUNNERS}/registration-token").body["token"]
        url = f"{self.client.simulator.world.web_url}/{REPOSITORY}"
        argv = ["configure", "--unattended", "--url", url, "--name", name, "--labels", "demo,Extra"]
        return self.call(*argv, *words, ACTIONS_RUNNER_INPUT_TOKEN=token)

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [self.root / "bin/Runner.Listener", *words],
            env={**self.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def status(self, name: str = "stub") -> str | None:
        listed = self.client.rest("GET", f"{RUNNERS}?name={name}").body["runners"]
        return str(listed[0]["status"]) if listed else None


@pytest.fixture
def stub(tmp_path: Path, client: Client) -> Iterator[Stub]:
    made = Stub(tmp_path / "runner", client)
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def queue(client: Client, *steps: str, label: str = "demo") -> int:
    body = {"repository": REPOSITORY, "labels": [label], "steps": [{"run": s} for s in steps]}
    return int(client.control("POST", "/job", body)["id"])


def job(client: Client, number: int) -> Any:
    return client.control("GET", f"/job?repository={REPOSITORY}&id={number}")


def done(client: Client, number: int) -> Any:
    return until(lambda: (found := job(client, number))["status"] == "completed" and found)


def test_a_configured_runner_runs_the_steps_of_a_job_and_goes_when_asked(
    stub: Stub, client: Client
) -> None:
    configured = stub.configure()
    assert configured.returncode == 0, configured.stderr
    assert stat.S_IMODE((stub.root / ".credentials_rsaparams").stat().st_mode) == 0o600
    assert json.loads((stub.root / ".runner").read_text())["WorkFolder"] == "_work"

    process = stub.start("run", "--startuptype", "service")
    until(lambda: stub.status() == "online")
    number = queue(client, "echo I am $RUNNER_NAME", "echo twice >&2; false", "echo never")
    found = done(client, number)
    process.send_signal(signal.SIGINT)

    assert process.wait(SECONDS) == 0
    assert found["conclusion"] == "failure"
    assert found["log"].splitlines() == ["I am stub", "twice"]
    assert [step["conclusion"] for step in found["steps"]] == ["success", "failure", "skipped"]
    assert stub.status() == "offline"
    text = process.stdout.read() if process.stdout else ""
    words = ["Current runner version: '2.330.0'", "Listening for Jobs", "Running job: build"]
    assert all(word in text for word in [*words, "completed with result: Failed"])


def test_configuring_is_refused_as_the_application_refuses_it(stub: Stub, client: Client) -> None:
    assert stub.configure().returncode == 0
    again = stub.configure()
    assert (again.returncode, "already configured" in again.stderr) == (1, True)

    stub.call("remove", "--local")
    assert stub.status() == "offline"
    same_name = stub.configure()
    assert (same_name.returncode, "exists with the same name" in same_name.stderr) == (1, True)
    assert stub.configure("--replace").returncode == 0

    token = client.rest("POST", f"{RUNNERS}/remove-token").body["token"]
    assert stub.call("remove", ACTIONS_RUNNER_INPUT_TOKEN=token).returncode == 0
    assert stub.status() is None
    assert not (stub.root / ".runner").exists()


def test_a_just_in_time_runner_does_one_job(stub: Stub, client: Client) -> None:
    body = {"name": "jit", "runner_group_id": 1, "labels": ["once"]}
    packed = client.rest("POST", f"{RUNNERS}/generate-jitconfig", body).body["encoded_jit_config"]
    number = queue(client, "env", label="once")

    process = stub.start("run", ACTIONS_RUNNER_INPUT_JITCONFIG=packed)

    assert process.wait(SECONDS) == 0
    assert job(client, number)["conclusion"] == "success"
    assert packed not in job(client, number)["log"]
    assert client.rest("GET", RUNNERS).body["total_count"] == 0


@pytest.mark.parametrize("code", [0, 2, 3, 4, 5, 6, 7, 134])
def test_it_ends_with_the_status_that_was_ordered(stub: Stub, client: Client, code: int) -> None:
    stub.configure()
    client.control("POST", "/runner_order", {"at": "start", "exit": code})

    expected = code if code < 128 else 128 - code

    assert stub.call("run").returncode == expected


def test_a_deprecated_version_is_7_only_where_that_is_wanted(stub: Stub, client: Client) -> None:
    stub.configure()
    client.control("POST", "/runner_order", {"at": "start", "deprecated": True, "times": 2})

    assert stub.call("run").returncode == 1
    wanted = {"ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE": "1"}
    assert stub.call("run", **wanted).returncode == 7


def test_removed_while_listening_it_forgets_itself_and_removed_before_it_does_not(
    stub: Stub, client: Client
) -> None:
    assert "Not configured" in stub.call("run").stderr
    stub.configure()
    process = stub.start("run")
    until(lambda: stub.status() == "online")
    gone = {"repository": REPOSITORY, "name": "stub"}

    client.control("POST", "/remove_runner", gone)
    assert process.wait(SECONDS) == 0
    assert not (stub.root / ".runner").exists()

    stub.configure()
    client.control("POST", "/remove_runner", gone)
    assert stub.call("run").returncode == 1
    assert (stub.root / ".runner").exists()


def test_a_ghost_listens_on(stub: Stub, client: Client) -> None:
    stub.configure()
    process = stub.start("run")
    until(lambda: stub.status() == "online")

    gone = {"repository": REPOSITORY, "name": "st*", "ghost": True}
    client.control("POST", "/remove_runner", gone)
    number = queue(client, "true")
    time.sleep(1)

    assert process.poll() is None
    assert job(client, number)["status"] == "queued"


def test_a_signal_cancels_the_running_job_with_all_its_processes(
    stub: Stub, client: Client, tmp_path: Path
) -> None:
    stub.configure()
    process = stub.start("run")
    until(lambda: stub.status() == "online")
    number = queue(client, f"sh -c 'echo $$ >{tmp_path}/pid; sleep 1000'")
    pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())

    process.send_signal(signal.SIGTERM)

    assert process.wait(SECONDS) == 0
    assert job(client, number)["conclusion"] == "cancelled"
    until(lambda: not is_running(pid))


def test_a_job_of_a_runner_that_fell_silent_fails(stub: Stub, client: Client) -> None:
    stub.configure()
    client.control("POST", "/runner_order", {"at": "job", "exit": 137})
    number = queue(client, "true")
    assert stub.start("run").wait(SECONDS) == -signal.SIGKILL
    assert job(client, number)["status"] == "in_progress"

    client.control("POST", "/clock", {"seconds": 61})

    shown = client.rest("GET", f"{RUNNERS}?name=stub").body["runners"][0]
    assert (shown["status"], shown["busy"]) == ("offline", False)
    assert job(client, number)["conclusion"] == "failure"


def test_what_the_environment_file_says_outranks_the_environment(
    stub: Stub, client: Client
) -> None:
    stub.configure()
    (stub.root / ".env").write_text("GREETING=from the file\n")
    process = stub.start("run", GREETING="from the unit")

    found = done(client, queue(client, 'echo "$GREETING"'))
    process.terminate()

    assert found["log"] == "from the file\n"


def test_its_release_has_a_digest_unless_told_otherwise(simulator: Simulator) -> None:
    client = Client(simulator)
    made = {
        "name": "actions/runner",
        "private": False,
        "releases": [{"tag": "v2.330.0", "runner": True}],
    }
    document = {"repositories": [made, {"name": REPOSITORY}]}
    client.control("POST", "/scenario", {"document": document})
    latest = "/repos/actions/runner/releases/latest"
    first = client.rest("GET", latest).body["assets"][0]

    newer = {"repository": "actions/runner", "tag": "v2.331.0", "runner": True, "digests": False}
    client.control("POST", "/release", newer)
    second = client.rest("GET", latest).body["assets"][0]

    assert first["name"] == "actions-runner-linux-x64-2.330.0.tar.gz"
    assert first["digest"].startswith("sha256:")
    assert second["name"] == "actions-runner-linux-x64-2.331.0.tar.gz"
    assert second["digest"] is None
