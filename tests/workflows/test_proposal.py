"""One pull request of the policy's own, beside what people do with it; against a real git."""

from __future__ import annotations

import base64
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
from factory.core.base.github.errors import RefusedError
from factory.core.base.ports import Completed
from factory.core.marshal.mirror import Mirror, MirrorError
from factory.core.workflows import repository
from factory.core.workflows.repository import BRANCH, PolicyProposal, WorkflowRepository
from factory.core.workflows.settings import WorkflowPolicy
from factory.core.workflows.switch import SwitchError
from factory.core.workflows.yaml_nodes import composer

FLOWS = ".github/workflows"
CI = "name: ci\non: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: []\n"
POLICY = {"pin_actions": False}
VARIABLE = "${{ fromJSON(vars.CI_RUNS_ON || '\"ubuntu-latest\"') }}"


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
        self.required: list[str] = []
        self.rules: list[dict[str, Any]] = []
        self.elsewhere: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        # The repository variable, and the runners that are online.
        self.variable: str | None = None
        self.runners: list[dict[str, Any]] = []
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

    def upstream_text(self, name: str, branch: str) -> str:
        shown = run(["git", f"--git-dir={self.upstream}", "show", f"{branch}:{FLOWS}/{name}"])
        return shown.stdout.decode()

    def tip(self, branch: str = BRANCH) -> str:
        return (
            run(["git", f"--git-dir={self.upstream}", "rev-parse", branch]).stdout.decode().strip()
        )

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        if "/rules/branches/" in path:
            return self.rules
        if "/branches/" in path:
            protection = {"required_status_checks": {"contexts": self.required}}
            return {"commit": {"sha": self.tip("main")}, "protection": protection}
        if "/compare/" in path:
            return self.compared(*path.rpartition("/")[2].split("..."))
        if "/contents/" in path:
            name = path.partition("/repos/")[2].replace("/contents/", "/")
            return {"content": base64.b64encode(self.elsewhere[name].encode()).decode()}
        if "/actions/" in path:
            self.asked.append((method, path.partition("/actions/")[2].partition("?")[0]))
            return self.actions(method, path.partition("/actions/")[2], body)
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

    def compared(self, base: str, tip: str) -> dict[str, Any]:
        shown = "--format=%H%x00%cn%x00%ce%x00%B%x01"
        log = run(["git", f"--git-dir={self.upstream}", "log", shown, tip, f"^{base}"])
        commits = []
        for line in filter(None, log.stdout.decode().split("\1\n")):
            oid, name, email, message = line.split("\0")
            commit = {"committer": {"name": name, "email": email}, "message": message}
            commits.append({"sha": oid, "commit": commit})
        return {"total_commits": len(commits), "commits": commits}

    def actions(self, method: str, path: str, body: Any) -> Any:
        if path.startswith("runners"):
            return {"runners": self.runners}
        if method in ("POST", "PATCH"):
            self.variable = body["value"]
        elif method == "DELETE":
            self.variable = None
        elif self.variable is None:
            raise RefusedError("Not Found", 404)
        return {"value": self.variable}

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


def test_what_a_person_took_out_stays_out_and_the_rest_is_proposed(place: Place) -> None:
    """Taken out of the proposal before it was merged, or out of the default branch afterwards."""
    place.play()
    merged = place.upstream_text("ci.yml", BRANCH).replace("    timeout-minutes: 30\n", "")
    place.commit("ci.yml", merged)
    place.pulls[0].update(state="closed", merged_at="2026-01-01T00:00:00Z")

    plan = place.play()

    assert (place.states, plan.stopped) == (["closed"], "")
    assert any("#1, and not taken" in line for line in plan.reports[0].kept)
    # Other lines above it make it no other edit; another job is one.
    place.commit("ci.yml", f"# ours\n{merged}  b:\n    runs-on: ubuntu-latest\n    steps: []\n")
    place.play()
    assert place.states == ["closed", "open"]
    proposed = yaml.safe_load(place.upstream_text("ci.yml", BRANCH))["jobs"]
    assert ["timeout-minutes" in job for job in proposed.values()] == [False, True]
    # The way back: to delete what the first proposal remembers.
    place.pulls[0]["body"] = "Merged."
    place.play()
    proposed = yaml.safe_load(place.upstream_text("ci.yml", BRANCH))["jobs"]
    assert ["timeout-minutes" in job for job in proposed.values()] == [True, True]


def test_a_job_whose_move_somebody_took_out_is_kept(place: Place) -> None:
    place.play()
    place.commit("ci.yml", place.upstream_text("ci.yml", BRANCH).replace(VARIABLE, "ubuntu-latest"))
    place.pulls[0].update(state="closed", merged_at="2026-01-01T00:00:00Z")

    (report,) = place.play().reports

    assert [(job.outcome, job.reason) for job in report.jobs] == [
        ("kept", "stays where it runs: it was proposed in #1, and not taken")
    ]


def test_the_checks_that_github_requires_count(place: Place) -> None:
    place.commit("ci.yml", CI.replace("on: push", "on: [pull_request]"))
    ignore = {"triggers": {"paths_ignore": ["*.md"]}}
    rule = {
        "type": "required_status_checks",
        "parameters": {"required_status_checks": [{"context": "a"}, {"context": "nobody"}]},
    }

    for required, rules in (([], [rule]), (["a", "nobody"], [])):
        place.required, place.rules = required, rules
        _repository, plan, _policy = place.plan(**ignore)
        assert "paths-ignore" not in plan.reports[0].after
        (note,) = plan.notes
        assert "No workflow reports the required check 'nobody'" in note
    place.required, place.rules = [], []
    assert "paths-ignore" in place.plan(**ignore)[1].reports[0].after


def test_workflows_elsewhere_are_read_at_their_commit(place: Place) -> None:
    oid, tag = "1" * 40, "v1"
    callee = "on: workflow_call\njobs:\n  x: {uses: ./.github/workflows/y.yml}\n"
    place.elsewhere = {
        f"o/shared/{FLOWS}/x.yml?ref={oid}": callee,
        f"o/shared/{FLOWS}/y.yml?ref={oid}": CI.replace("push", "workflow_call"),
    }
    calls = {"a": f"o/shared/{FLOWS}/x.yml@{oid}", "b": f"o/shared/{FLOWS}/x.yml@{tag}"}
    for name, call in (*calls.items(), ("c", f"o/gone/{FLOWS}/x.yml@{oid}")):
        place.commit(f"{name}.yml", f"name: {name}\non: [push]\njobs:\n  j:\n    uses: {call}\n")

    _repository, plan, _policy = place.plan()

    found = {report.name: report for report in plan.reports}
    assert "permissions" in found["a.yml"].after
    for name, words in (("b.yml", "may come to mean another file"), ("c.yml", "could not be read")):
        assert "permissions" not in found[name].after
        assert any(words in line for line in found[name].kept)


ONLINE = {"name": "vds-1", "status": "online", "labels": [{"name": "Self-Hosted"}, {"name": "VDS"}]}
MINE = {"runs_on": {"labels": ["self-hosted", "vds"]}}


def test_the_variable_is_set_only_while_somebody_takes_the_jobs(place: Place) -> None:
    repository, plan, _policy = place.plan(**MINE)
    with pytest.raises(SwitchError, match="no runner with the labels"):
        repository.turn(plan, declared=True, pretend=False)
    assert place.variable is None
    place.runners = [ONLINE]

    repository, plan, _policy = place.plan(**MINE)
    assert repository.turn(plan, declared=True, pretend=True)
    assert place.variable is None
    assert repository.turn(plan, declared=True, pretend=False)

    assert place.variable == '["self-hosted", "vds"]'
    assert plan.switch is not None and plan.switch.position == "declared"
    assert not repository.turn(plan, declared=True, pretend=False)
    repository, plan, _policy = place.plan(**MINE)
    assert plan.problems == []
    assert plan.switch is not None
    assert "asks for the declared runner" in " ".join(plan.switch.lines)
    assert repository.turn(plan, declared=False, pretend=False)
    assert place.variable is None


@pytest.mark.parametrize(
    ("value", "runners", "words"),
    [
        ('["self-hosted", "vds"]', [], "no runner with these labels is online"),
        (
            '["self-hosted", "vds"]',
            [{**ONLINE, "status": "offline"}],
            "no runner with these labels",
        ),
        ('["self-hosted", "gpu"]', [ONLINE], "no runner with these labels is online"),
        ("self-hosted, vds", [ONLINE], "every job that reads it fails"),
        ("[]", [ONLINE], "every job that reads it fails"),
        ('["SELF-HOSTED", "vds"]', [ONLINE], ""),
        ('"ubuntu-24.04"', [], ""),
        ('{"group": "large"}', [], ""),
    ],
)
def test_a_variable_that_stops_jobs_is_a_problem(
    place: Place, value: str, runners: list[Any], words: str
) -> None:
    place.variable, place.runners = value, runners

    _repository, plan, _policy = place.plan(**MINE)

    assert [words in problem for problem in plan.problems] == [True] * bool(words)


def test_the_variable_moves_no_job_that_strangers_start(place: Place) -> None:
    place.runners = [ONLINE]
    reads = CI.replace("on: push", "on: issue_comment").replace("ubuntu-latest", VARIABLE)
    place.commit("ci.yml", reads)

    repository, plan, _policy = place.plan(**MINE)

    assert [job.outcome for job in plan.reports[0].jobs] == ["problem"]
    with pytest.raises(SwitchError, match=r"ci\.yml, job a.*move_anyway"):
        repository.turn(plan, declared=True, pretend=False)
    assert place.variable is None
    anyway = [{"workflow": "ci.yml", "reason": "only we comment"}]
    repository, plan, _policy = place.plan(runs_on={**MINE["runs_on"], "move_anyway": anyway})
    assert repository.turn(plan, declared=True, pretend=False)


def test_what_nobody_could_say_of_the_variable_is_not_taken_for_unset(place: Place) -> None:
    def refuse(method: str, path: str, body: Any) -> Any:
        raise RefusedError("Resource not accessible", 403)

    place.actions = refuse  # type: ignore[method-assign]
    repository, plan, _policy = place.plan(**MINE)

    assert plan.switch is not None and plan.switch.position == "unknown"
    assert "Nobody could say whether the variable" in plan.switch.lines[0]
    for declared in (True, False):
        with pytest.raises(SwitchError, match="actions_variables"):
            repository.turn(plan, declared=declared, pretend=False)


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


def test_no_history_is_fetched_and_each_action_is_asked_for_once(place: Place) -> None:
    for number in range(5):
        place.commit("ci.yml", f"{CI}# {number}\n")
    step = "[{uses: actions/checkout@v4}, {uses: actions/checkout@v4}, {uses: actions/cache@v4}]"
    for name in ("ci", "other"):
        place.commit(f"{name}.yml", CI.replace("steps: []", f"steps: {step}"))
    asked: list[str] = []
    rest = place.rest

    def count(method: str, path: str, body: Any = None) -> Any:
        if "/commits/" not in path:
            return rest(method, path, body)
        asked.append(path)
        return {"sha": "1" * 40}

    place.rest = count  # type: ignore[method-assign]
    repository, plan, policy = place.plan(pin_actions=True)
    repository.propose(plan, policy)

    assert asked == ["/repos/actions/checkout/commits/v4", "/repos/actions/cache/commits/v4"]
    assert repository.git.text("rev-list", "--count", plan.base_oid) == "1"
    assert place.git("rev-parse", "HEAD") == plan.base_oid
    place.git("fetch", "-q", "origin", BRANCH)
    assert place.git("rev-parse", "FETCH_HEAD~1") == plan.base_oid


def test_a_description_has_an_end_and_its_marks_survive(place: Place) -> None:
    jobs = "".join(
        f"  {'j' * 80}{n}:\n    runs-on: ubuntu-latest\n    steps: []\n" for n in range(300)
    )
    place.commit("ci.yml", f"on: push\njobs:\n{jobs}")

    plan = place.play()

    body = place.pulls[0]["body"]
    assert len(body) < 65_536
    assert "The run itself tells the rest." in body
    place.pulls[0]["state"] = "closed"
    assert place.play().changed_files == {} != plan.changed_files
