"""Workflows, runs, jobs, and the settings that decide who may start them."""

from __future__ import annotations

from simulator import checks
from simulator.clock import iso, optional_iso
from simulator.http import Answer, HttpError
from simulator.model import Job, Json, Run, Workflow
from simulator.rest import shapes
from simulator.rest.router import Call, route

BASE = "/repos/{owner}/{repo}/actions"
POLICIES = {
    "first_time_contributors_new_to_github",
    "first_time_contributors",
    "all_external_contributors",
}
FORK_SWITCHES = (
    "run_workflows_from_fork_pull_requests",
    "send_write_tokens_to_workflows",
    "send_secrets_and_variables",
    "require_approval_for_fork_pr_workflows",
)


def _workflow(call: Call, found: Workflow) -> Json:
    url = f"{shapes.repository_url(call.world, call.repository)}/actions/workflows/{found.id}"
    web = f"{call.world.web_url}/{call.repository.full_name}"
    when = iso(call.repository.created_at)
    return {
        "id": found.id,
        "node_id": call.world.node_id(found),
        "name": found.name,
        "path": found.path,
        "state": found.state,
        "created_at": when,
        "updated_at": when,
        "url": url,
        "html_url": f"{web}/blob/{call.repository.default_branch}/{found.path}",
        "badge_url": f"{web}/workflows/{found.name}/badge.svg",
    }


@route("GET", f"{BASE}/workflows", "actions:read")
def workflows(call: Call) -> Json:
    found = list(call.repository.workflows.values())
    shown = [_workflow(call, workflow) for workflow in call.page(found)]
    return {"total_count": len(found), "workflows": shown}


def one_workflow(call: Call) -> Workflow:
    """Return the workflow that the path names by id or file, or raise 404."""
    wanted = call.params["workflow"]
    for found in call.repository.workflows.values():
        if wanted in {str(found.id), found.path, found.path.rpartition("/")[2]}:
            return found
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/workflows/{{workflow}}", "actions:read")
def workflow(call: Call) -> Json:
    return _workflow(call, one_workflow(call))


def _run(call: Call, found: Run) -> Json:
    world, repository = call.world, call.repository
    url = f"{shapes.repository_url(world, repository)}/actions/runs/{found.id}"
    web = f"{world.web_url}/{repository.full_name}/actions/runs/{found.id}"
    parts = repository.git.commit(found.head_oid)
    person = {"name": parts["author_name"], "email": parts["author_email"]}
    base = shapes.repository_url(world, repository)
    return {
        "id": found.id,
        "name": found.workflow.name,
        "node_id": world.node_id(found),
        "head_branch": found.branch,
        "head_sha": found.head_oid,
        "path": found.workflow.path,
        "display_title": parts["message"].splitlines()[0],
        "run_number": found.number,
        "run_attempt": found.attempt,
        "event": found.event,
        "status": found.status,
        "conclusion": found.conclusion,
        "workflow_id": found.workflow.id,
        "check_suite_id": found.suite_id,
        "check_suite_node_id": f"CS_kwDO{found.suite_id}",
        "referenced_workflows": [],
        "url": url,
        "html_url": web,
        "pull_requests": [],
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
        "run_started_at": iso(found.created_at),
        "actor": shapes.user(world, found.actor),
        "triggering_actor": shapes.user(world, found.actor),
        "jobs_url": f"{url}/jobs",
        "logs_url": f"{url}/logs",
        "check_suite_url": f"{base}/check-suites/{found.suite_id}",
        "artifacts_url": f"{url}/artifacts",
        "cancel_url": f"{url}/cancel",
        "rerun_url": f"{url}/rerun",
        "previous_attempt_url": None,
        "workflow_url": f"{base}/actions/workflows/{found.workflow.id}",
        "head_commit": {
            "id": found.head_oid,
            "tree_id": parts["tree"],
            "message": parts["message"],
            "timestamp": iso(float(parts["committer_time"])),
            "author": person,
            "committer": person,
        },
        "repository": shapes.minimal_repository(world, repository),
        "head_repository": shapes.minimal_repository(world, repository),
    }


def _runs(call: Call, found: list[Run]) -> Json:
    found = sorted(found, key=lambda run: run.id, reverse=True)
    wanted = call.query("status")
    if wanted:
        found = [run for run in found if wanted in {run.status, run.conclusion}]
    for key, name in (("branch", "branch"), ("event", "event"), ("head_sha", "head_oid")):
        if call.query(key):
            found = [run for run in found if getattr(run, name) == call.query(key)]
    shown = [_run(call, run) for run in call.page(found)]
    return {"total_count": len(found), "workflow_runs": shown}


@route("GET", f"{BASE}/runs", "actions:read")
def runs(call: Call) -> Json:
    return _runs(call, call.repository.runs)


@route("GET", f"{BASE}/workflows/{{workflow}}/runs", "actions:read")
def workflow_runs(call: Call) -> Json:
    wanted = one_workflow(call)
    return _runs(call, [run for run in call.repository.runs if run.workflow is wanted])


def _one_run(call: Call) -> Run:
    for found in call.repository.runs:
        if str(found.id) == call.params["run"]:
            return found
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/runs/{{run}}", "actions:read")
def run(call: Call) -> Json:
    return _run(call, _one_run(call))


@route("GET", f"{BASE}/runs/{{run}}/jobs", "actions:read")
def jobs(call: Call) -> Json:
    found = _one_run(call).jobs
    return {"total_count": len(found), "jobs": [_job(call, job) for job in call.page(found)]}


@route("POST", f"{BASE}/runs/{{run}}/cancel", "actions:write", status=202)
def cancel(call: Call) -> Json:
    """Cancel what is still queued."""
    for job in _one_run(call).jobs:
        if job.status == "queued":
            job.status, job.conclusion = "completed", "cancelled"
            job.completed_at = call.world.now()
    return {}


RERUN_SECONDS = 30 * 86400.0


def _rerun(call: Call, *, failed_only: bool) -> Json:
    found = _one_run(call)
    if call.world.now() - found.created_at > RERUN_SECONDS:
        words = "Unable to retry this workflow run because it was created over a month ago"
        raise HttpError(403, words)
    if not checks.rerun(call.world, call.repository, found, failed_only=failed_only):
        raise HttpError(403, "This workflow is already running")
    return {}


@route("POST", f"{BASE}/runs/{{run}}/rerun", "actions:write", status=201)
def rerun(call: Call) -> Json:
    """Run all jobs again, on the same commit."""
    return _rerun(call, failed_only=False)


@route("POST", f"{BASE}/runs/{{run}}/rerun-failed-jobs", "actions:write", status=201)
def rerun_failed_jobs(call: Call) -> Json:
    """Run those again that did not pass."""
    return _rerun(call, failed_only=True)


def _one_job(call: Call) -> Job:
    for found in call.repository.runs:
        for job in found.jobs:
            if str(job.id) == call.params["job"]:
                return job
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/jobs/{{job}}", "actions:read")
def job(call: Call) -> Json:
    return _job(call, _one_job(call))


@route("GET", f"{BASE}/jobs/{{job}}/logs", "actions:read")
def logs(call: Call) -> Answer:
    return Answer(200, _one_job(call).log.encode(), {"Content-Type": "text/plain; charset=utf-8"})


def _job(call: Call, found: Job) -> Json:
    base = shapes.repository_url(call.world, call.repository)
    url = f"{base}/actions/jobs/{found.id}"
    check = found.check.id if found.check else found.id
    # GitHub's own words for a job that no runner has.
    nobody = (0, "", 0, "") if found.is_played and not found.runner_name else (None,) * 4
    return {
        "id": found.id,
        "run_id": found.run.id,
        "run_url": f"{base}/actions/runs/{found.run.id}",
        "run_attempt": found.run.attempt,
        "node_id": f"J_{found.id}",
        "head_sha": found.run.head_oid,
        "head_branch": found.run.branch,
        "workflow_name": found.run.workflow.name,
        "url": url,
        "html_url": f"{call.world.web_url}/{call.repository.full_name}/runs/{found.id}",
        "status": found.status,
        "conclusion": found.conclusion,
        "created_at": iso(found.created_at),
        "started_at": iso(found.started_at or found.created_at),
        "completed_at": optional_iso(found.completed_at),
        "name": found.name,
        "steps": [
            {
                "name": step["name"],
                "status": found.status,
                "conclusion": step.get("conclusion"),
                "number": number,
                "started_at": optional_iso(found.started_at),
                "completed_at": optional_iso(found.completed_at),
            }
            for number, step in enumerate(found.steps, 1)
        ],
        "check_run_url": f"{base}/check-runs/{check}",
        "labels": found.labels,
        "runner_id": found.runner.id if found.runner else nobody[0],
        "runner_name": found.runner_name or nobody[1],
        "runner_group_id": found.runner.group_id if found.runner else nobody[2],
        "runner_group_name": "Default" if found.runner else nobody[3],
    }


def _variable(call: Call, name: str, value: str) -> Json:
    when = iso(call.repository.created_at)
    return {"name": name, "value": value, "created_at": when, "updated_at": when}


def _variables(call: Call, held: dict[str, str]) -> Json:
    shown = [_variable(call, *item) for item in call.page(sorted(held.items()))]
    return {"total_count": len(held), "variables": shown}


@route("GET", f"{BASE}/variables", "actions_variables:read")
def variables(call: Call) -> Json:
    return _variables(call, call.repository.variables)


@route("GET", f"{BASE}/organization-variables", "actions_variables:read")
def organization_variables(call: Call) -> Json:
    return _variables(call, call.repository.organization_variables)


def _held(call: Call) -> str:
    """Return the name of a variable that is there, or raise 404. Names ignore case."""
    name = call.params["name"].upper()
    if name not in call.repository.variables:
        raise HttpError(404, "Not Found")
    return name


@route("GET", f"{BASE}/variables/{{name}}", "actions_variables:read")
def variable(call: Call) -> Json:
    name = _held(call)
    return _variable(call, name, call.repository.variables[name])


@route("POST", f"{BASE}/variables", "actions_variables:write", status=201)
def create_variable(call: Call) -> Json:
    name, value = (call.field(key, str, "ActionsVariable") for key in ("name", "value"))
    if name.upper() in call.repository.variables:
        raise HttpError(409, "Already exists - Variable already exists")
    call.repository.variables[name.upper()] = value
    return {}


@route("PATCH", f"{BASE}/variables/{{name}}", "actions_variables:write")
def change_variable(call: Call) -> Answer:
    name = _held(call)
    call.repository.variables[name] = call.field("value", str, "ActionsVariable")
    return Answer(204)


@route("DELETE", f"{BASE}/variables/{{name}}", "actions_variables:write")
def delete_variable(call: Call) -> Answer:
    del call.repository.variables[_held(call)]
    return Answer(204)


@route("GET", f"{BASE}/permissions", "administration:read")
def permissions(call: Call) -> Json:
    """Say whether workflows may run."""
    return {"enabled": True, "allowed_actions": "all", **call.repository.actions_permissions}


@route("PUT", f"{BASE}/permissions", "administration:write")
def set_permissions(call: Call) -> Answer:
    """Say whether workflows may run."""
    call.repository.actions_permissions = dict(call.body)
    return Answer(204)


@route("GET", f"{BASE}/permissions/workflow", "administration:read")
def workflow_permissions(call: Call) -> Json:
    """Show what a workflow's own token may do."""
    defaults = {
        "default_workflow_permissions": "read",
        "can_approve_pull_request_reviews": False,
    }
    return {**defaults, **call.repository.workflow_permissions}


@route("PUT", f"{BASE}/permissions/workflow", "administration:write")
def set_workflow_permissions(call: Call) -> Answer:
    """Set what a workflow's own token may do."""
    call.repository.workflow_permissions.update(call.body)
    return Answer(204)


def _only_public(call: Call) -> None:
    """Refuse as GitHub does what only a public repository has (github.com, since 2026-04)."""
    if call.repository.private:
        raise HttpError(
            422,
            "Validation Failed",
            errors="Fork PR approval is not allowed for private repositories.",
        )


@route("GET", f"{BASE}/permissions/fork-pr-contributor-approval", "administration:read")
def fork_approval(call: Call) -> Json:
    """Show whose workflows wait for an approval."""
    _only_public(call)
    return {"approval_policy": call.repository.fork_approval_policy}


@route("PUT", f"{BASE}/permissions/fork-pr-contributor-approval", "administration:write")
def set_fork_approval(call: Call) -> Answer:
    """Set whose workflows wait for an approval."""
    _only_public(call)
    policy = call.field("approval_policy", str, "Repository")
    if policy not in POLICIES:
        raise HttpError(422, f"Validation Failed: {policy} is no approval policy")
    call.repository.fork_approval_policy = policy
    return Answer(204)


@route("GET", f"{BASE}/permissions/fork-pr-workflows-private-repos", "administration:read")
def fork_workflows(call: Call) -> Json:
    """Show what a fork's pull request may do in a private repository."""
    return {**dict.fromkeys(FORK_SWITCHES, False), **call.repository.fork_workflows}


@route("PUT", f"{BASE}/permissions/fork-pr-workflows-private-repos", "administration:write")
def set_fork_workflows(call: Call) -> Answer:
    """Set what a fork's pull request may do in a private repository."""
    call.repository.fork_workflows.update(call.body)
    return Answer(204)
