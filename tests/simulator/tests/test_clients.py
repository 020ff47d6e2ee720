"""The real gh and the real git work against the simulator."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator
from simulator.runners import queue_job, workflow_of

ROOT = Path(__file__).resolve().parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.deep]


class Shell:
    def __init__(self, simulator: Simulator, home: Path) -> None:
        self.repository = f"{simulator.host}/factory/demo"
        token = simulator.token.value
        self.remote = f"https://x-access-token:{token}@{simulator.host}/factory/demo.git"
        self.home = home
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "GH_HOST": simulator.host,
            "GH_ENTERPRISE_TOKEN": token,
            "GH_CONFIG_DIR": str(home / "gh"),
            "SSL_CERT_FILE": str(simulator.ca_file),
            "SSL_CERT_DIR": "/nonexistent",
            "GIT_SSL_CAINFO": str(simulator.ca_file),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "NO_COLOR": "1",
        }

    def run(self, *argv: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            argv,
            cwd=cwd or self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def gh(self, *argv: str) -> str:
        return self.run("gh", *argv, "-R", self.repository)


@pytest.fixture
def shell(simulator: Simulator, tmp_path: Path) -> Shell:
    return Shell(simulator, tmp_path)


def test_gh_lists_and_shows_pull_requests(shell: Shell) -> None:
    fields = "number,title,mergeable,mergeStateStatus,statusCheckRollup,headRefOid,labels,isDraft"

    listed = json.loads(shell.gh("pr", "list", "--json", fields))
    shown = json.loads(shell.gh("pr", "view", "2", "--json", f"{fields},files,commits,reviews"))

    assert [pull["number"] for pull in listed] == [7, 6, 5, 4, 3, 2]
    assert shown["mergeStateStatus"] == "CLEAN"
    assert shown["statusCheckRollup"][0]["conclusion"] == "SUCCESS"
    assert "Add a file" in shell.gh("pr", "view", "2")


def test_gh_merges_with_its_guard_and_deletes_the_branch(
    shell: Shell, simulator: Simulator
) -> None:
    head = json.loads(shell.gh("pr", "view", "2", "--json", "headRefOid"))["headRefOid"]
    guard = ["--match-head-commit", head]

    shell.gh("pr", "merge", "2", "--squash", "--delete-branch", *guard)

    repository = simulator.world.repository("factory/demo")
    assert repository
    assert repository.git.branch("green") is None
    assert json.loads(shell.gh("pr", "view", "2", "--json", "state"))["state"] == "MERGED"


def test_gh_refuses_a_moved_head(shell: Shell) -> None:
    with pytest.raises(AssertionError, match="Head branch was modified"):
        shell.gh("pr", "merge", "2", "--squash", "--match-head-commit", "0" * 40)


def test_gh_reads_runs_and_mints_runner_tokens(shell: Shell, simulator: Simulator) -> None:
    repository = simulator.world.repository("factory/demo")
    assert repository
    queue_job(simulator.world, repository, {"steps": [{"run": "true"}]})

    runs: list[Any] = json.loads(shell.gh("run", "list", "--json", "status,name,headBranch"))
    path = "repos/factory/demo/actions/runners/registration-token"
    token = shell.run("gh", "api", "-X", "POST", path, "-q", ".token").strip()

    assert runs == [{"headBranch": "main", "name": "ci", "status": "queued"}]
    assert len(token) > 20
    assert shell.run("gh", "api", "repos/factory/demo", "-q", ".full_name") == "factory/demo\n"


def test_gh_filters_by_search_starts_workflows_and_uploads_files(
    shell: Shell, simulator: Simulator
) -> None:
    repository = simulator.world.repository("factory/demo")
    assert repository
    workflow = workflow_of(simulator.world, repository, "release")
    workflow.dispatchable, workflow.inputs = True, ["tag"]
    workflow.jobs = [{"name": "publish", "steps": [{"run": "true"}]}]
    (shell.home / "tool.tar").write_bytes(b"content")

    held = json.loads(shell.gh("pr", "list", "--label", "hold", "--json", "number"))
    hits = json.loads(shell.gh("pr", "list", "--search", "head:red", "--json", "number"))
    shell.gh("workflow", "run", "release.yml", "--ref", "main", "-f", "tag=v1")
    shell.gh("release", "create", "v1", "tool.tar", "--notes", "First")
    shell.gh("release", "download", "v1", "--dir", "fetched")

    assert (held, hits) == ([{"number": 7}], [{"number": 3}])
    assert [(run.event, [job.name for job in run.jobs]) for run in repository.runs] == [
        ("workflow_dispatch", ["publish"])
    ]
    assert (shell.home / "fetched/tool.tar").read_bytes() == b"content"


def test_git_clones_pushes_and_fetches(shell: Shell, simulator: Simulator) -> None:
    shell.run("git", "clone", "--quiet", shell.remote, "clone")
    clone = shell.home / "clone"
    shell.run("git", "checkout", "--quiet", "green", cwd=clone)
    # More than git's post buffer: the push comes in chunks.
    (clone / "pushed.bin").write_bytes(os.urandom(2 * 1024 * 1024))
    shell.run("git", "add", ".", cwd=clone)
    identity = ["-c", "user.name=Ali", "-c", "user.email=ali@example.com"]
    shell.run("git", *identity, "commit", "--quiet", "-m", "Push", cwd=clone)
    shell.run("git", "push", "--quiet", "origin", "HEAD:refs/heads/green", cwd=clone)

    head = shell.run("git", "rev-parse", "HEAD", cwd=clone).strip()
    shell.run("git", "fetch", "--quiet", "origin", "refs/pull/3/head", cwd=clone)

    listed = shell.run("git", "ls-remote", "origin", "refs/heads/main", cwd=clone)
    repository = simulator.world.repository("factory/demo")
    assert repository
    pull = repository.pulls[0]
    assert listed.split()[0] == repository.git.branch("main")
    assert pull.head_oid == head


def test_git_is_refused_without_a_token(shell: Shell, simulator: Simulator) -> None:
    bare = f"https://{simulator.host}/factory/demo.git"
    with pytest.raises(AssertionError, match="could not read Username"):
        shell.run("git", "ls-remote", bare)


def test_the_command_prints_its_addresses_and_ends_on_a_signal(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--scenario", "small"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        text=True,
    )
    assert process.stdout
    line = json.loads(process.stdout.readline())
    assert {"api_url", "graphql_url", "git_url", "host"} <= set(line)
    assert {"ca_file", "token_file", "control_url"} <= set(line)
    directory = Path(line["ca_file"]).parent

    process.terminate()

    assert process.wait(timeout=20) == 0
    assert not directory.exists()


def test_a_wrong_scenario_ends_the_command_with_the_key(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yml"
    path.write_text("repositories: [{name: 7}]\n")

    done = subprocess.run(
        [sys.executable, "-m", "simulator", "--scenario", str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "repositories[0].name: 7 is not of type 'string'" in done.stderr
