"""One pull request of the policy's own, beside what people do with it; against a real git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.base.ports import Completed
from factory.core.marshal.mirror import Mirror, MirrorError
from factory.core.workflows import repository
from factory.core.workflows.repository import BRANCH, PolicyProposal, WorkflowRepository
from factory.core.workflows.settings import WorkflowPolicy
from factory.core.workflows.yaml_nodes import composer

FLOWS = ".github/workflows"
CI = "name: ci\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: []\n"
POLICY = {"pin_actions": False}


def run(argv: Sequence[str | bytes], **options: Any) -> Completed:
    done = subprocess.run(
        argv,
        input=options.get("stdin", b""),
        env={**os.environ, **options.get("environment", {})},
        capture_output=True,
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


class Place:
    """A repository with its owner's clone, and what GitHub says of its pull requests."""

    def __init__(self, directory: Path) -> None:
        self.upstream, self.clone = directory / "upstream.git", directory / "clone"
        self.pulls: list[dict[str, Any]] = []
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.upstream], check=True)
        subprocess.run(
            ["git", "clone", "-q", self.upstream, self.clone], check=True, capture_output=True
        )
        self.commit("ci.yml", CI)

    def git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=Owner", "-c", "user.email=owner@example.com", *words],
            cwd=self.clone,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, name: str, text: str, branch: str = "main") -> str:
        """Let the owner push a workflow."""
        if branch != "main":
            self.git("fetch", "-q")
            self.git("checkout", "-q", "-B", branch, f"origin/{branch}")
        path = self.clone / FLOWS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "-qm", "Change it")
        self.git("push", "-q", "origin", f"HEAD:{branch}")
        return self.git("rev-parse", "HEAD")

    def tip(self, branch: str = BRANCH) -> str:
        return (
            run(["git", f"--git-dir={self.upstream}", "rev-parse", branch]).stdout.decode().strip()
        )

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        if "/branches/" in path:
            return {"commit": {"sha": self.tip("main")}}
        if method == "GET":
            state = "open" if "state=open" in path else "closed"
            for pull in self.pulls:
                if pull["state"] == "open":
                    pull["head"]["sha"] = self.tip()
            return [pull for pull in self.pulls if pull["state"] == state]
        if method == "POST":
            number = len(self.pulls) + 1
            pull = {"number": number, "html_url": f"u{number}", "state": "open", "merged_at": None}
            self.pulls.append({**pull, "body": body["body"], "head": {"ref": BRANCH, "sha": ""}})
        else:
            number = int(path.rsplit("/", 1)[1])
            self.pulls[number - 1].update(body)
        return self.pulls[number - 1]

    def plan(self, **values: Any) -> tuple[WorkflowRepository, PolicyProposal, Any]:
        directory = self.upstream.with_name(f"mirror-{os.urandom(4).hex()}")
        mirror = Mirror(run, directory, str(self.upstream))
        repository = WorkflowRepository("o/r", "main", self, mirror)  # type: ignore[arg-type]
        policy = settings.read(WorkflowPolicy, Section({**POLICY, **values}, "policy"))
        return repository, repository.plan(policy, composer(yaml)), policy

    def play(self, **values: Any) -> PolicyProposal:
        repository, plan, policy = self.plan(**values)
        repository.propose(plan, policy)
        return plan

    @property
    def states(self) -> list[str]:
        return [pull["state"] for pull in self.pulls]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_proposal_follows_its_base_until_somebody_else_commits_to_it(place: Place) -> None:
    place.play()
    first = place.tip()
    place.commit("other.yml", CI.replace("name: ci", "name: other"))
    place.play()

    assert place.tip() != first
    own = place.commit("ci.yml", CI + "# by hand\n", BRANCH)
    plan = place.play()

    assert place.tip() == own
    assert own[:12] in plan.stopped
    assert not plan.is_due
    assert place.states == ["open"]


def test_a_commit_that_comes_between_look_and_push_stays(place: Place) -> None:
    place.play()
    place.commit("other.yml", CI.replace("name: ci", "name: other"))
    repository, plan, policy = place.plan()
    own = place.commit("ci.yml", CI + "# by hand\n", BRANCH)

    with pytest.raises(MirrorError, match="stale info"):
        repository.propose(plan, policy)

    assert place.tip() == own


def test_a_branch_of_somebody_else_without_a_pull_request_stays(place: Place) -> None:
    place.git("checkout", "-q", "-b", BRANCH)
    place.git("push", "-q", "origin", f"HEAD:{BRANCH}")
    own = place.commit("ci.yml", CI + "# by hand\n", BRANCH)

    assert BRANCH in place.play().stopped
    assert (place.tip(), place.pulls) == (own, [])


def test_what_somebody_closed_is_not_proposed_again_until_it_differs(place: Place) -> None:
    place.play()
    place.pulls[0]["state"] = "closed"

    assert "#1" in place.play().stopped
    # Neither other lines above it nor a deleted branch make it another proposal.
    place.commit("ci.yml", f"# ours\n{CI}")
    place.git("push", "-q", "origin", f":{BRANCH}")
    assert "#1" in place.play().stopped
    assert place.states == ["closed"]

    assert place.play(timeout_minutes={"default": 20}).stopped == ""
    assert place.states == ["closed", "open"]


def test_what_was_merged_may_be_proposed_again(place: Place) -> None:
    place.play()
    place.pulls[0].update(state="closed", merged_at="2026-01-01T00:00:00Z")

    place.play()

    assert place.states == ["closed", "open"]


def test_a_proposal_with_nothing_left_is_withdrawn_and_may_come_back(place: Place) -> None:
    nothing = {
        "permissions": {},
        "timeout_minutes": {"default": 0},
        "concurrency": {"group": ""},
        "runs_on": {"hosted_labels": ["none-of-these"]},
    }
    place.play()

    plan = place.play(**nothing)

    assert place.states == ["closed"]
    assert plan.pull_request is None
    place.play(**nothing)
    place.play()
    assert place.states == ["closed", "open"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"private": True}, ""),
        ({"private": False}, "o/r is public: a pull request of anybody would run"),
        ({}, "o/r does not say whether it is private"),
    ],
)
def test_only_a_repository_that_is_private_gets_a_proposal(told: Any, words: str) -> None:
    class Github:
        def rest(self, method: str, path: str, body: Any = None) -> Any:
            assert (method, path) == ("GET", "/repos/o/r")
            return told

    found = WorkflowRepository("o/r", "main", Github(), None)  # type: ignore[arg-type]
    plain, meant = (
        settings.read(WorkflowPolicy, Section(values, "policy"))
        for values in ({}, {"public_allowed_because": "it is a throwaway machine"})
    )

    found.check_visibility(meant)
    with pytest.raises(repository.WorkflowsError, match=words) if words else nullcontext():
        found.check_visibility(plain)


def test_the_repositorys_own_actions_are_read_for_what_they_need(place: Place) -> None:
    job = "  {0}:\n    runs-on: ubuntu-latest\n    steps: [{{uses: ./tools/{0}}}]\n"
    for name, step in (("build", "pnpm build"), ("ship", "docker push x")):
        directory = place.clone / "tools" / name
        directory.mkdir(parents=True)
        runs = f"{{using: composite, steps: [{{shell: bash, run: {step}}}]}}"
        (directory / "action.yml").write_text(f"name: {name}\nruns: {runs}\n")
    place.commit(
        "ci.yml", "on: push\njobs:\n" + "".join(map(job.format, ("build", "ship", "none")))
    )

    _repository, plan, _policy = place.plan()

    assert [(job.job, job.outcome) for job in plan.reports[0].jobs] == [
        ("build", "moved"),
        ("ship", "kept"),
        ("none", "kept"),
    ]


def test_a_proposal_is_not_withdrawn_where_a_workflow_could_not_be_judged(place: Place) -> None:
    place.play()
    place.commit("ci.yml", "on: [push\n")

    plan = place.play()

    assert place.states == ["open"]
    assert "not every workflow could be judged" in plan.stopped
