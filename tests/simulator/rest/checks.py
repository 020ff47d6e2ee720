"""Check runs and commit statuses."""

from __future__ import annotations

from simulator import checks
from simulator.clock import parse_iso
from simulator.http import HttpError
from simulator.model import CheckRun, Json, Status
from simulator.rest import shapes
from simulator.rest.repositories import resolve
from simulator.rest.router import Call, route

STATES = {"error", "failure", "pending", "success"}


@route("GET", "/repos/{owner}/{repo}/commits/{ref...}/check-runs", "checks:read")
def of_commit(call: Call) -> Json:
    """List a commit's check runs; ``filter=latest`` (the default) leaves superseded ones out."""
    repository = call.repository
    oid = resolve(call, call.params["ref"])
    if call.query("filter", "latest") == "all":
        found = repository.checks.get(oid, [])
    else:
        found = [run for run in checks.latest(repository, oid) if isinstance(run, CheckRun)]
    for key, read in (("check_name", "name"), ("status", "status")):
        if call.query(key):
            found = [run for run in found if getattr(run, read) == call.query(key)]
    shown = [shapes.check_run(call.world, repository, run) for run in call.page(found)]
    return {"total_count": len(found), "check_runs": shown}


@route("GET", "/repos/{owner}/{repo}/check-runs/{id}", "checks:read")
def get(call: Call) -> Json:
    return shapes.check_run(call.world, call.repository, _find(call))


def _find(call: Call) -> CheckRun:
    for runs in call.repository.checks.values():
        for run in runs:
            if str(run.id) == call.params["id"]:
                return run
    raise HttpError(404, "Not Found")


@route("POST", "/repos/{owner}/{repo}/check-runs", "checks:write", status=201)
def create(call: Call) -> Json:
    """Report a check; only an App may."""
    if call.viewer.installation is None:
        raise HttpError(403, "You must authenticate via a GitHub App.")
    oid = resolve(call, call.field("head_sha", str, "CheckRun"))
    conclusion = call.body.get("conclusion")
    run = checks.add_check(
        call.world,
        call.repository,
        oid,
        call.field("name", str, "CheckRun"),
        conclusion,
        status=None if conclusion else call.body.get("status", "queued"),
        app=call.viewer.installation.app.slug,
        workflow=None,
    )
    return shapes.check_run(call.world, call.repository, run)


@route("PATCH", "/repos/{owner}/{repo}/check-runs/{id}", "checks:write")
def change(call: Call) -> Json:
    run = _find(call)
    run.status = call.body.get("status", run.status)
    if call.body.get("conclusion"):
        ended = call.body.get("completed_at")
        moment = parse_iso(ended) if ended else call.world.now()
        checks.conclude(run, call.body["conclusion"], moment)
    return shapes.check_run(call.world, call.repository, run)


@route("GET", "/repos/{owner}/{repo}/commits/{ref...}/status", "statuses:read")
def combined(call: Call) -> Json:
    """Show a commit's statuses as one."""
    oid = resolve(call, call.params["ref"])
    return shapes.combined_status(call.world, call.repository, oid)


@route("GET", "/repos/{owner}/{repo}/commits/{ref...}/statuses", "statuses:read")
def statuses(call: Call) -> list[Json]:
    """List a commit's statuses, newest first."""
    oid = resolve(call, call.params["ref"])
    found = list(reversed(call.repository.statuses.get(oid, [])))
    return [shapes.status(call.world, call.repository, oid, entry) for entry in call.page(found)]


@route("POST", "/repos/{owner}/{repo}/statuses/{sha}", "statuses:write", status=201)
def add_status(call: Call) -> Json:
    oid = resolve(call, call.params["sha"])
    state = call.field("state", str, "Status")
    if state not in STATES:
        raise HttpError(422, "Validation Failed", errors=[{"code": "custom", "field": "state"}])
    entry = Status(
        id=call.world.new_id(),
        context=call.body.get("context") or "default",
        state=state,
        description=call.body.get("description"),
        target_url=call.body.get("target_url"),
        created_at=call.world.now(),
        creator=call.viewer.account,
    )
    call.repository.statuses.setdefault(oid, []).append(entry)
    return shapes.status(call.world, call.repository, oid, entry)
