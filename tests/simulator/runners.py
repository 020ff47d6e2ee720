"""Self-hosted runners and the jobs queued for them."""

from __future__ import annotations

import base64
import json
from typing import Any

from simulator import checks
from simulator.checks import start_run, workflow_of
from simulator.model import Job, Json, Repository, Run, Runner, RunnerScope
from simulator.world import World

__all__ = ["start_run", "workflow_of"]

TOKEN_SECONDS = 3600.0
SILENT_SECONDS = 60.0
DEFAULT_LABELS = ("self-hosted", "Linux", "X64")


class RunnerError(Exception):
    """A runner request that is refused; ``status`` is the answer's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def mint(world: World, scope: RunnerScope, purpose: str) -> tuple[str, float]:
    """Return a registration or removal token and when it expires."""
    value, expires = world.secret("A", 28), world.now() + TOKEN_SECONDS
    scope.tokens[value] = (purpose, expires)
    return value, expires


def redeem(world: World, scope: RunnerScope, value: str, purpose: str) -> None:
    """Take a one-hour token.

    Raises:
        RunnerError: it is unknown, for something else, or too old.

    """
    found = scope.tokens.get(value)
    if found is None or found[0] != purpose or found[1] <= world.now():
        raise RunnerError(404, f"the {purpose} token is unknown or has expired")


def label_list(names: list[str], defaults: tuple[str, ...] = ()) -> list[Json]:
    """Return labels as REST shows them; those of ``defaults`` are read-only."""
    read_only = {name.lower() for name in defaults}
    unique = {name.lower(): name for name in names}
    return [
        {"id": index, "name": name, "type": "read-only" if key in read_only else "custom"}
        for index, (key, name) in enumerate(unique.items(), 1)
    ]


def add(
    world: World,
    scope: RunnerScope,
    name: str,
    labels: list[Json],
    *,
    group_id: int = 1,
    ephemeral: bool = False,
    os: str = "linux",
    architecture: str = "X64",
    version: str | None = None,
) -> Runner:
    """Register a runner.

    Raises:
        RunnerError: 409, the name is taken; 404, no such group.

    """
    if group_id not in scope.groups:
        raise RunnerError(404, "Runner group not found")
    if any(runner.name == name for runner in scope.runners.values()):
        raise RunnerError(409, f"Already exists - A runner with the name {name} already exists.")
    runner = Runner(
        id=world.new_id(),
        name=name,
        os=os,
        architecture=architecture,
        labels=labels,
        group_id=group_id,
        ephemeral=ephemeral,
        secret=world.secret("rs_"),
        version=version,
        visible_from=world.visible_from(),
    )
    scope.runners[runner.id] = runner
    return runner


def jit_config(world: World, scope: RunnerScope, runner: Runner, work_folder: str) -> str:
    """Return the files of a just-in-time runner, packed as GitHub packs them."""
    group = scope.groups[runner.group_id]
    settings = {
        "AgentId": runner.id,
        "AgentName": runner.name,
        "DisableUpdate": True,
        "Ephemeral": True,
        "PoolId": group.id,
        "PoolName": group.name,
        "ServerUrl": f"{world.web_url}/_services/runner",
        "GitHubUrl": scope.url,
        "WorkFolder": work_folder,
    }
    files = {
        ".runner": settings,
        ".credentials": {"scheme": "OAuth", "data": {"clientId": str(runner.id)}},
        ".credentials_rsaparams": {"secret": runner.secret},
    }
    packed = {
        name: base64.b64encode(json.dumps(content).encode()).decode()
        for name, content in files.items()
    }
    return base64.b64encode(json.dumps(packed).encode()).decode()


def status_of(world: World, runner: Runner) -> str:
    """Return online or offline; a runner that stays silent is offline."""
    silent = runner.last_seen and runner.last_seen < world.now() - SILENT_SECONDS
    return "offline" if silent else runner.status


def lose_silent(world: World, scope: RunnerScope) -> None:
    """Fail the jobs of runners that have fallen silent, as GitHub does."""
    for runner in list(scope.runners.values()):
        if runner.job_id is None or status_of(world, runner) == "online":
            continue
        for _, job in all_jobs(world, scope):
            if job.id == runner.job_id and job.runner is runner:
                lost = f"The self-hosted runner {runner.name} lost communication with the server."
                complete(world, scope, runner, job, {"conclusion": "failure", "log": lost})


def visible(world: World, scope: RunnerScope) -> list[Runner]:
    """Return the runners that readers see by now."""
    return [r for r in scope.runners.values() if r.visible_from <= world.now()]


def remove(scope: RunnerScope, runner: Runner, *, force: bool = False) -> None:
    """Delete a runner.

    Raises:
        RunnerError: 422, it is running a job.

    """
    if runner.job_id is not None and not force:
        message = f"Runner {runner.name!r} is currently running a job and cannot be deleted."
        raise RunnerError(422, f"Bad request - {message}")
    scope.runners.pop(runner.id, None)


# --- Jobs -------------------------------------------------------------------


def queue_job(world: World, repository: Repository, given: Json) -> Job:
    """Queue a job in a run of its own; ``given`` as in a scenario."""
    branch = given.get("branch", repository.default_branch)
    workflow = workflow_of(world, repository, given.get("workflow", "ci"))
    return add_job(world, repository, start_run(world, repository, workflow, branch), given)


def add_job(world: World, repository: Repository, run: Run, given: Json) -> Job:
    """Queue a job of a run."""
    name = given.get("name", "build")
    steps = [
        {"name": s.get("name", s["run"].strip().splitlines()[0]), "run": s["run"]}
        for s in given["steps"]
    ]
    labels = given.get("labels", ["self-hosted"])
    job = Job(world.new_id(), run, name, labels, steps, world.now())
    job.check = checks.add_check(
        world,
        repository,
        run.head_oid,
        name,
        None,
        status="queued",
        workflow=run.workflow.name,
        run=run,
    )
    run.jobs.append(job)
    return job


def all_jobs(world: World, scope: RunnerScope) -> list[tuple[Repository, Job]]:
    """Return the jobs that runners of a scope may take, oldest first."""
    kind, _, owner = scope.name.partition("/")
    found = []
    for repository in world.repositories.values():
        mine = repository.scope is scope
        if mine or (kind == "orgs" and repository.owner.login.lower() == owner.lower()):
            jobs = (job for run in repository.runs for job in run.jobs)
            found += [(repository, job) for job in jobs if not job.is_played]
    return found


def fitting(world: World, scope: RunnerScope, runner: Runner) -> tuple[Repository, Job] | None:
    """Return the oldest queued job whose labels an idle runner has."""
    if runner.job_id is not None:
        return None
    has = {label["name"].lower() for label in runner.labels}
    for repository, job in all_jobs(world, scope):
        if job.status == "queued" and {name.lower() for name in job.labels} <= has:
            return repository, job
    return None


def acquire(world: World, scope: RunnerScope, runner: Runner) -> tuple[Repository, Job] | None:
    """Give an idle runner the job that fits."""
    runner.status, runner.last_seen = "online", world.now()
    found = fitting(world, scope, runner)
    if found:
        _, job = found
        job.status, job.started_at = "in_progress", world.now()
        job.runner, job.runner_name, runner.job_id = runner, runner.name, job.id
        job.run.updated_at = world.now()
        if job.check:
            job.check.status, job.check.started_at = "in_progress", world.now()
    return found


def complete(world: World, scope: RunnerScope, runner: Runner, job: Job, given: Json) -> None:
    """End a job with the runner's result; an ephemeral runner is gone then."""
    job.status, job.conclusion = "completed", given.get("conclusion", "success")
    job.completed_at, job.log = world.now(), given.get("log", "")
    job.run.updated_at = world.now()
    for step, result in zip(job.steps, given.get("steps", []), strict=False):
        step.update(result)
    if job.check:
        checks.conclude(job.check, job.conclusion, world.now())
    runner.job_id = None
    if runner.ephemeral:
        scope.runners.pop(runner.id, None)


def from_scenario(world: World, repository: Repository, given: Json) -> Runner:
    """Register a runner that a scenario describes."""
    names = [*DEFAULT_LABELS, *given.get("labels", [])]
    runner = add(
        world,
        repository.scope,
        given["name"],
        label_list(names, DEFAULT_LABELS),
        ephemeral=given.get("ephemeral", False),
        os=given.get("os", "linux"),
        version=given.get("version", "2.330.0"),
    )
    runner.status = given.get("status", "online")
    if given.get("busy"):
        steps: list[Any] = [{"run": "sleep 3600"}]
        job = queue_job(
            world, repository, {"steps": steps, "labels": [runner.name], "name": "busy"}
        )
        job.status, job.started_at, job.runner = "in_progress", world.now(), runner
        job.runner_name, runner.job_id = runner.name, job.id
    return runner
