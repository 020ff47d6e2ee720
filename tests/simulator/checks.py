"""Checks and statuses: the rollup, what is required, and the CI that the simulator plays."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from zlib import crc32

from simulator.model import (
    Account,
    CheckRun,
    Ci,
    Job,
    Pull,
    Repository,
    Rule,
    Run,
    Status,
    Workflow,
)
from simulator.world import World

ACTIONS_ID = 15368
PASSING = {"success", "neutral", "skipped"}


@dataclass(frozen=True)
class Rollup:
    """All checks of one commit. ``pessimistic`` counts superseded runs too.

    GitHub's own ``state`` does so when ``contexts`` is selected beside it.
    """

    repository: Repository
    oid: str
    pessimistic: bool = False

    @property
    def contexts(self) -> list[CheckRun | Status]:
        """Everything that reported on the commit, superseded runs included."""
        repository = self.repository
        return [*repository.checks.get(self.oid, []), *repository.statuses.get(self.oid, [])]

    @property
    def state(self) -> str:
        """One word for all of them, as in GraphQL."""
        found = self.contexts if self.pessimistic else latest(self.repository, self.oid)
        states = {state_of(context) for context in found}
        for state in ("ERROR", "FAILURE", "EXPECTED", "PENDING"):
            if state in states:
                return state
        return "SUCCESS"


def latest(repository: Repository, oid: str) -> list[CheckRun | Status]:
    """Return the newest run per app, workflow and name, and the newest status per context."""
    runs: dict[tuple[str, str | None, str], CheckRun] = {}
    for run in repository.checks.get(oid, []):
        runs[run.app, run.workflow, run.name] = run
    statuses: dict[str, Status] = {}
    for status in repository.statuses.get(oid, []):
        statuses[status.context] = status
    return [*runs.values(), *statuses.values()]


def state_of(context: CheckRun | Status) -> str:
    """Return one context's part in the rollup."""
    if isinstance(context, Status):
        return context.state.upper()
    if context.status != "completed":
        return "PENDING"
    return "SUCCESS" if context.conclusion in PASSING else "FAILURE"


def name_of(context: CheckRun | Status) -> str:
    """Return the name that a rule would require."""
    return context.context if isinstance(context, Status) else context.name


def rollup(repository: Repository, oid: str) -> Rollup | None:
    """Return the rollup, or None where nothing has reported."""
    found = Rollup(repository, oid)
    return found if found.contexts else None


def rules_for(repository: Repository, branch: str) -> list[Rule]:
    """Return the rules that cover a branch."""
    return [rule for rule in repository.rules if fnmatchcase(branch, rule.branch)]


def app_id(slug: str) -> int:
    """Return an app's number; that of Actions is the real one."""
    return ACTIONS_ID if slug == "github-actions" else 100_000 + crc32(slug.encode()) % 900_000


def required_names(rules: list[Rule]) -> list[str]:
    """Return the checks that rules require."""
    return list(dict.fromkeys(name for rule in rules for name in rule.required_checks))


def bound(rules: list[Rule], name: str) -> list[str | None]:
    """Return the apps from which a required check counts; None is anybody."""
    apps = dict.fromkeys(r.check_apps[name] for r in rules if name in r.check_apps)
    return [*apps] or [None]


def unmet(repository: Repository, oid: str, rules: list[Rule]) -> list[tuple[str, str]]:
    """Return each required check that does not pass, with its state (EXPECTED: never seen)."""
    contexts, found = latest(repository, oid), []
    for name in required_names(rules):
        for app in bound(rules, name):
            states = [
                state_of(context)
                for context in contexts
                if name_of(context) == name and app in (None, _app_of(context))
            ]
            bad = [state for state in states if state != "SUCCESS"]
            if bad or not states:
                found.append((name, bad[-1] if bad else "EXPECTED"))
                break
    return found


def _app_of(context: CheckRun | Status) -> str:
    if isinstance(context, CheckRun):
        return context.app
    return context.creator.login.removesuffix("[bot]") if context.creator.kind == "Bot" else ""


def workflow_of(world: World, repository: Repository, name: str) -> Workflow:
    """Return a workflow, making it when it is new."""
    if name not in repository.workflows:
        path = f".github/workflows/{name.lower().replace(' ', '-')}.yml"
        repository.workflows[name] = Workflow(world.new_id(), name, path)
    return repository.workflows[name]


def start_run(
    world: World,
    repository: Repository,
    workflow: Workflow,
    branch: str,
    *,
    event: str = "push",
    actor: Account | None = None,
    oid: str = "",
) -> Run:
    """Begin a run of a workflow; it has no jobs yet."""
    oid, now = oid or repository.git.branch(branch) or "", world.now()
    number = sum(run.workflow is workflow for run in repository.runs) + 1
    who = actor or repository.owner
    run = Run(world.new_id(), workflow, number, branch, oid, event, now, now, who)
    run.suite_id = world.new_id()
    repository.runs.append(run)
    return run


def add_check(
    world: World,
    repository: Repository,
    oid: str,
    name: str,
    conclusion: str | None,
    *,
    status: str | None = None,
    app: str = "github-actions",
    workflow: str | None = "ci",
    run: Run | None = None,
    branch: str = "",
) -> CheckRun:
    """Report a check on a commit; without a conclusion it is still running.

    One of Actions is a job of a run: of ``run``, whose job the caller makes, or of the
    commit's own run of the workflow, with a job that no runner takes.
    """
    now = world.now()
    status = status or ("completed" if conclusion else "in_progress")
    check = CheckRun(
        id=world.new_id(),
        name=name,
        head_oid=oid,
        status=status,
        conclusion=conclusion,
        started_at=None if status == "queued" else now,
        completed_at=now if conclusion else None,
        app=app,
        workflow=workflow,
        suite_id=world.new_id(),
    )
    repository.checks.setdefault(oid, []).append(check)
    if run is None and app == "github-actions" and workflow:
        run = _run_of(world, repository, oid, workflow, branch)
        _play(world, run, check)
    if run is not None:
        check.run_id, check.suite_id = run.id, run.suite_id
    return check


def _run_of(world: World, repository: Repository, oid: str, workflow: str, branch: str) -> Run:
    for run in reversed(repository.runs):
        if run.head_oid == oid and run.workflow.name == workflow:
            return run
    return start_run(world, repository, workflow_of(world, repository, workflow), branch, oid=oid)


def _play(world: World, run: Run, check: CheckRun) -> Job:
    """Make the job behind a check; of a re-run it takes the former one's place."""
    job = Job(check.id, run, check.name, ["ubuntu-latest"], [], world.now(), is_played=True)
    job.check, check.job = check, job
    _mirror(check)
    run.jobs = [*(old for old in run.jobs if old.name != job.name), job]
    return job


def _mirror(check: CheckRun) -> None:
    """Let the played job behind a check say what the check says."""
    job = check.job
    if job is None:
        return
    job.status, job.conclusion = check.status, check.conclusion
    job.started_at, job.completed_at = check.started_at, check.completed_at
    job.run.updated_at = max(job.run.updated_at, check.completed_at or check.started_at or 0.0)
    if job.started_at is not None and not job.steps and check.takes_seconds >= 0:
        job.steps = [{"name": "Set up job", "run": "true"}]
        job.runner_name = "GitHub Actions 1"


def conclude(check: CheckRun, conclusion: str, moment: float) -> None:
    check.status, check.conclusion = "completed", conclusion
    check.started_at = check.started_at or moment
    check.completed_at = moment
    check.ends_at = None
    _mirror(check)


def rerun(world: World, repository: Repository, run: Run, *, failed_only: bool) -> bool:
    """Start a run's jobs again, on the same commit; False when one has not ended yet.

    A played job is played as CI is now; what nobody plays ends as it did before.
    """
    if run.status != "completed":
        return False
    chosen = [job for job in run.jobs if not failed_only or job.conclusion not in PASSING]
    run.attempt += 1
    run.updated_at = world.now()
    played = {ci.name: ci for ci in repository.ci if ci.workflow == run.workflow.name}
    for job in chosen:
        ci = played.get(job.name) or Ci(
            job.name, run.workflow.name, conclusion=job.conclusion or "success"
        )
        repository.ci_runs += 1
        _start(world, repository, ci, run.head_oid, run.branch)
    return True


def settle(world: World, repository: Repository) -> None:
    """End every played check whose time has come, and let the next one take its slot."""
    now = world.now()
    while True:
        due = [run for run in _all(repository) if run.ends_at is not None and run.ends_at <= now]
        if not due:
            return
        ended = min(due, key=lambda run: (run.ends_at or 0.0, run.id))
        moment = ended.ends_at or now
        conclude(ended, ended.ends_with or "success", moment)
        _take_slots(repository, moment)


def _all(repository: Repository) -> list[CheckRun]:
    return [run for runs in repository.checks.values() for run in runs]


def _take_slots(repository: Repository, moment: float) -> None:
    """Begin what waits, in its order, as long as there is a slot."""
    everything = _all(repository)
    waiting = sorted((run.queued_at, run.id, run) for run in everything if run.queued_at)
    running = sum(run.ends_at is not None for run in everything)
    for queued_at, _id, run in waiting:
        if repository.ci_slots and running >= repository.ci_slots:
            return
        running += 1
        run.status, run.started_at = "in_progress", max(moment, queued_at)
        run.queued_at, run.ends_at = 0.0, run.started_at + run.takes_seconds
        _mirror(run)


def start_ci(
    world: World, repository: Repository, branch: str, oid: str, *, event: str = "push"
) -> None:
    """Play the repository's CI on a new head, once per commit."""
    for ci in repository.ci:
        if event == "merge_group" and not ci.merge_group:
            continue
        known = any(run.name == ci.name for run in repository.checks.get(oid, []))
        if known or not any(fnmatchcase(branch, pattern) for pattern in ci.branches):
            continue
        repository.ci_runs += 1
        if ci.reports:
            _start(world, repository, ci, oid, branch)


def _start(world: World, repository: Repository, ci: Ci, oid: str, branch: str) -> None:
    check = add_check(
        world, repository, oid, ci.name, None, status="queued", workflow=ci.workflow, branch=branch
    )
    if not ci.starts:
        # No runner ever has it: GitHub shows a failure, and a job without a step.
        check.takes_seconds = -1.0
        conclude(check, "failure", world.now())
        return
    check.ends_with, check.takes_seconds = _verdict(repository, ci, oid), ci.delay_seconds
    check.queued_at = world.now()
    _take_slots(repository, world.now())
    if not ci.delay_seconds and check.ends_at is not None:
        conclude(check, check.ends_with, world.now())


def _verdict(repository: Repository, ci: Ci, oid: str) -> str:
    if not ci.fails_if_file and not ci.fails_if_together:
        return ci.conclusion
    paths = list(repository.git.files(oid))

    def present(pattern: str) -> bool:
        return any(fnmatchcase(path, pattern) for path in paths)

    if any(present(pattern) for pattern in ci.fails_if_file):
        return "failure"
    if any(all(present(pattern) for pattern in group) for group in ci.fails_if_together):
        return "failure"
    return ci.conclusion


def is_required(pull: Pull, context: CheckRun | Status) -> bool:
    """Say whether the rules of the pull request's base require this context."""
    return name_of(context) in required_names(rules_for(pull.repository, pull.base))
