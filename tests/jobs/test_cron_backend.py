"""The same job list where PID 1 is not systemd: one cron file, run by a real cron."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
HOST = "crons-without-systemd"
PAUSE = {"reason": "saving", "by": "ali", "since": "2026-06-30"}
JOBS: list[dict[str, Any]] = [
    {
        "name": "every",
        "schedule": "*:0/1",
        "command": ["sh", "-c", 'echo "100% $WORDS" >>/var/tmp/every; id -un >>/var/tmp/every'],
        "user": "daemon",
        "environment": {"WORDS": "a b"},
    },
    {"name": "rest", "state": "paused", "paused": PAUSE, "schedule": "* * * * *",
     "command": ["touch", "/var/tmp/rest"]},
    {"name": "late", "schedule": "0 0 1 1 *", "command": ["sleep", "100"], "timeout_seconds": 2},
    {"name": "first", "schedule": "0 0 1 1 *", "command": ["sleep", "5"], "locks": ["shared"]},
    {"name": "second", "schedule": "0 0 1 1 *", "command": ["true"], "locks": ["shared"]},
    {"name": "kill", "schedule": "0 0 1 1 *", "command": ["sleep", "300"], "on_overlap": "kill_old"},
]  # fmt: skip


def in_host(command: str, *, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", "exec", HOST, "sh", "-c", command], capture_output=True, text=True, check=check
    )
    return done.stdout


def converge(jobs: list[dict[str, Any]], state: str = "present") -> dict[str, Any]:
    inventory = json.dumps({"jobs": jobs, "state": state})
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections:{ROOT}/.venv/collections",
        "ANSIBLE_DIFF_ALWAYS": "false",
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    done = subprocess.run(
        ["ansible", HOST, "-i", f"{HOST},", "-c", "community.docker.docker",
         "-m", "aina.factory.systemd_jobs", "-a", inventory],
        capture_output=True, text=True, check=False, env=environment, cwd=ROOT,
    )  # fmt: skip
    result: dict[str, Any]
    result, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index(" => {") + 4 :])
    return {**result, "failed": done.returncode != 0}


@pytest.fixture(scope="module", autouse=True)
def host() -> Iterator[None]:
    subprocess.run(
        ["docker", "run", "--detach", "--rm", "--init", "--name", HOST, "--network", "none",
         "--label", f"aina-factory.run={os.environ['AINA_TEST_RUN']}", "aina-factory/sandbox:trixie", "cron", "-f"],
        check=True, capture_output=True,
    )  # fmt: skip
    try:
        first = converge(JOBS)
        assert (first["backend"], first["changed"], first["failed"]) == ("cron", True, False)
        yield
    finally:
        subprocess.run(["docker", "rm", "--force", HOST], check=False, capture_output=True)


def start(job: str) -> str:
    """Return the command line that cron would run for the job."""
    line = in_host(f"grep 'cron-run {job} ' /etc/cron.d/aina-factory").strip()
    return line.partition(" root ")[2].replace("\\%", "%")


def last(job: str) -> str:
    result = json.loads(in_host(f"cat /var/lib/aina-factory/job-runs/{job}.json"))["result"]
    return str(result)


def test_a_second_converge_changes_nothing() -> None:
    assert converge(JOBS)["changed"] is False


def test_a_timeout_is_reported() -> None:
    in_host(start("late"))

    failure = json.loads(
        in_host("cat /var/lib/aina-factory/failures/factory-job-late.service.json")
    )
    assert failure["result"] == "timeout"
    assert last("late") == "timeout"


def test_a_shared_lock_skips_the_second_job() -> None:
    in_host(f"({start('first')}) >/dev/null 2>&1 & sleep 1; {start('second')}")

    assert last("second") == "skipped"


def test_kill_old_ends_the_old_run_alone() -> None:
    command = start("kill")
    in_host(f"({command}) >/dev/null 2>&1 & sleep 1; ({command}) >/dev/null 2>&1 & sleep 3")

    assert last("kill") == "replaced"
    assert in_host("pgrep -fc '^sleep 300'").strip() == "1"


def test_a_runtime_pause_holds() -> None:
    in_host("mkdir -p /var/lib/aina-factory/paused; echo '{}' >/var/lib/aina-factory/paused/second")
    in_host("rm -f /var/lib/aina-factory/job-runs/second.json")

    in_host(start("second"))

    assert in_host("ls /var/lib/aina-factory/job-runs/second.json 2>&1 || :").startswith("ls:")
    assert converge(JOBS)["runtime_paused"][0]["name"] == "second"
    in_host("rm /var/lib/aina-factory/paused/second")


def test_what_cron_cannot_do_changes_nothing() -> None:
    before = in_host("cat /etc/cron.d/aina-factory")

    refused = converge([{**JOBS[0], "schedule": "*:0:30"}])

    assert refused["failed"]
    assert "jobs.every.schedule" in refused["msg"]
    assert in_host("cat /etc/cron.d/aina-factory") == before


# Its minute has passed meanwhile.
def test_cron_itself_runs_the_job_as_its_user_with_its_words() -> None:
    limit = time.monotonic() + 90
    while time.monotonic() < limit and not in_host("cat /var/tmp/every", check=False):
        time.sleep(2)

    assert in_host("cat /var/tmp/every").splitlines()[:2] == ["100% a b", "daemon"]
    assert in_host("ls /var/tmp") == "every\n"  # the paused job did not run


def test_absent_leaves_nothing() -> None:
    converge([], state="absent")

    left = "ls -d /etc/cron.d/aina-factory /usr/local/lib/aina-factory-jobs /etc/aina-factory/paused 2>/dev/null || :"
    assert in_host(left) == ""
