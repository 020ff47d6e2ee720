"""Starting a workflow by hand."""

from __future__ import annotations

from simulator import runners, versions
from simulator.http import Answer, HttpError
from simulator.rest import shapes
from simulator.rest.actions import BASE, one_workflow
from simulator.rest.router import Call, route


@route("POST", f"{BASE}/workflows/{{workflow}}/dispatches", "actions:write", status=204)
def dispatch(call: Call) -> Answer:
    """Queue the jobs of a workflow on a branch."""
    workflow, ref = one_workflow(call), call.field("ref", str, "WorkflowDispatch")
    branch = ref.removeprefix("refs/heads/")
    if call.repository.git.branch(branch) is None:
        raise HttpError(422, f"No ref found for: {ref}")
    if not workflow.dispatchable:
        raise HttpError(422, "Workflow does not have 'workflow_dispatch' trigger")
    unknown = set(call.body.get("inputs") or {}) - set(workflow.inputs)
    if unknown:
        raise HttpError(422, f"Unexpected inputs provided: {sorted(unknown)}")
    run = runners.start_run(
        call.world,
        call.repository,
        workflow,
        branch,
        event="workflow_dispatch",
        actor=call.viewer.account,
    )
    for given in workflow.jobs:
        runners.add_job(call.world, call.repository, run, given)
    newest = versions.of(call.request) == versions.NEWEST
    if not newest and not call.body.get("return_run_details"):
        return Answer(204)
    base = shapes.repository_url(call.world, call.repository)
    web = f"{call.world.web_url}/{call.repository.full_name}"
    shown = {
        "workflow_run_id": run.id,
        "run_url": f"{base}/actions/runs/{run.id}",
        "html_url": f"{web}/actions/runs/{run.id}",
    }
    return Answer(200, shown)
