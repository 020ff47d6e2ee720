"""Checks and statuses: the rollup, what is required, and the CI that the simulator plays."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from zlib import crc32

from simulator.model import CheckRun, Ci, Pull, Repository, Rule, Status
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
) -> CheckRun:
    """Report a check on a commit; without a conclusion it is still running."""
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
    return check


def conclude(check: CheckRun, conclusion: str, moment: float) -> None:
    check.status, check.conclusion = "completed", conclusion
    check.started_at = check.started_at or moment
    check.completed_at = moment
    check.ends_at = None


def settle(world: World, repository: Repository) -> None:
    """End every played check whose time has come."""
    now = world.now()
    for runs in repository.checks.values():
        for run in runs:
            if run.ends_at is not None and run.ends_at <= now:
                conclude(run, run.ends_with or "success", run.ends_at)


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
        if not ci.reports:
            continue
        check = add_check(world, repository, oid, ci.name, None, workflow=ci.workflow)
        check.ends_at = world.now() + ci.delay_seconds
        check.ends_with = _verdict(repository, ci, oid)
        if not ci.delay_seconds:
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
