"""Self-hosted runners of a repository or an organization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator import auth, runners
from simulator.clock import iso
from simulator.http import Answer, HttpError
from simulator.model import Json, Runner, RunnerGroup, RunnerScope
from simulator.rest import shapes
from simulator.rest.actions import FORK_SWITCHES, POLICIES
from simulator.rest.router import Call, route
from simulator.world import digest

REGISTRATION = "actions_runner_registration"


def _scope(call: Call) -> RunnerScope:
    if "repo" in call.params:
        runners.lose_silent(call.world, call.repository.scope)
        return call.repository.scope
    login = call.params["org"]
    account = call.world.accounts.get(login.lower())
    if account is None or account.kind != "Organization":
        raise HttpError(404, "Not Found")
    token = call.viewer
    granted = (token.permissions or {}).get("organization_self_hosted_runners", "")
    if token.permissions is not None and auth.LEVELS.get(granted, 0) < 1:
        raise HttpError(403, "Resource not accessible by integration")
    if token.permissions is None and token.account.login != call.world.default_owner:
        raise HttpError(403, "Must have admin rights to Organization.")
    return call.world.scope(f"orgs/{account.login}", f"{call.world.web_url}/{account.login}")


def both(
    method: str, path: str, level: str, **options: Any
) -> Callable[[Callable[[Call], Any]], Callable[[Call], Any]]:
    """Register an operation for repositories and organizations."""

    def register(handler: Callable[[Call], Any]) -> Callable[[Call], Any]:
        def guarded(call: Call) -> Any:
            try:
                return handler(call)
            except runners.RunnerError as error:
                raise HttpError(error.status, error.message) from error

        repository = f"/repos/{{owner}}/{{repo}}/actions/{path}"
        route(method, repository, f"administration:{level}", **options)(guarded)
        route(method, f"/orgs/{{org}}/actions/{path}", **options)(guarded)
        return handler

    return register


def _runner(call: Call) -> Runner:
    scope = _scope(call)
    found = scope.runners.get(int(call.params["id"]))
    if found is None or found.visible_from > call.world.now():
        raise HttpError(404, "Not Found")
    return found


def shape(call: Call, runner: Runner) -> Json:
    shown: Json = {
        "id": runner.id,
        "name": runner.name,
        "os": runner.os,
        "status": runners.status_of(call.world, runner),
        "busy": runner.job_id is not None,
        "labels": runner.labels,
        "runner_group_id": runner.group_id,
        "ephemeral": runner.ephemeral,
    }
    if runner.version:
        shown["version"] = runner.version
    return shown


@both("POST", "runners/registration-token", "write", status=201, resource=REGISTRATION)
def registration_token(call: Call) -> Json:
    """Mint a token to register with."""
    token, expires = runners.mint(call.world, _scope(call), "registration")
    return {"token": token, "expires_at": iso(expires)}


@both("POST", "runners/remove-token", "write", status=201, resource=REGISTRATION)
def remove_token(call: Call) -> Json:
    """Mint a token to deregister with."""
    token, expires = runners.mint(call.world, _scope(call), "remove")
    return {"token": token, "expires_at": iso(expires)}


@both("POST", "runners/generate-jitconfig", "write", status=201, resource=REGISTRATION)
def generate_jitconfig(call: Call) -> Json:
    scope = _scope(call)
    name = call.field("name", str, "Runner")
    group = call.field("runner_group_id", int, "Runner")
    labels = call.field("labels", list, "Runner")
    if not 1 <= len(labels) <= 100:
        raise HttpError(422, "Invalid request.\n\nlabels must have between 1 and 100 items.")
    runner = runners.add(
        call.world, scope, name, runners.label_list(labels), group_id=group, ephemeral=True
    )
    work = call.body.get("work_folder", "_work")
    packed = runners.jit_config(call.world, scope, runner, work)
    return {"runner": shape(call, runner), "encoded_jit_config": packed}


@both("GET", "runners", "read")
def listed(call: Call) -> Json:
    found = runners.visible(call.world, _scope(call))
    if call.query("name"):
        found = [runner for runner in found if runner.name == call.query("name")]
    return {
        "total_count": len(found),
        "runners": [shape(call, runner) for runner in call.page(found)],
    }


@both("GET", "runners/downloads", "read")
def downloads(call: Call) -> list[Json]:
    """List the runner applications: the newest release of actions/runner, if it is there."""
    repository = call.world.repository("actions/runner")
    if repository is None or not repository.releases:
        return []
    found = []
    for asset in repository.releases[-1].assets:
        parts = asset.name.removeprefix("actions-runner-").split("-")
        if len(parts) < 3:
            continue
        found.append(
            {
                "os": parts[0],
                "architecture": parts[1],
                "download_url": f"{call.world.web_url}/actions/runner/releases/download/"
                f"{repository.releases[-1].tag}/{asset.name}",
                "filename": asset.name,
                "sha256_checksum": digest(asset.content).removeprefix("sha256:"),
            }
        )
    return found


@both("GET", "runners/{id}", "read")
def get(call: Call) -> Json:
    return shape(call, _runner(call))


@both("DELETE", "runners/{id}", "write")
def delete(call: Call) -> Answer:
    """Delete a runner: 204, or 422 while it runs a job."""
    runners.remove(_scope(call), _runner(call))
    return Answer(204)


def _labels(runner: Runner) -> Json:
    return {"total_count": len(runner.labels), "labels": runner.labels}


def _replace(runner: Runner, custom: list[str]) -> Json:
    fixed = [label["name"] for label in runner.labels if label["type"] == "read-only"]
    runner.labels = runners.label_list([*fixed, *custom], tuple(fixed))
    return _labels(runner)


def _custom(runner: Runner) -> list[str]:
    return [label["name"] for label in runner.labels if label["type"] == "custom"]


@both("GET", "runners/{id}/labels", "read")
def labels(call: Call) -> Json:
    return _labels(_runner(call))


@both("PUT", "runners/{id}/labels", "write")
def set_labels(call: Call) -> Json:
    return _replace(_runner(call), call.field("labels", list, "Runner"))


@both("POST", "runners/{id}/labels", "write")
def add_labels(call: Call) -> Json:
    runner = _runner(call)
    return _replace(runner, [*_custom(runner), *call.field("labels", list, "Runner")])


@both("DELETE", "runners/{id}/labels", "write")
def clear_labels(call: Call) -> Json:
    return _replace(_runner(call), [])


@both("DELETE", "runners/{id}/labels/{name}", "write")
def remove_label(call: Call) -> Json:
    runner, name = _runner(call), call.params["name"].lower()
    kept = [label for label in _custom(runner) if label.lower() != name]
    if len(kept) == len(_custom(runner)):
        raise HttpError(404 if name not in _names(runner) else 422, "Label cannot be removed")
    return _replace(runner, kept)


def _names(runner: Runner) -> set[str]:
    return {label["name"].lower() for label in runner.labels}


def _group(call: Call, scope: RunnerScope, group: RunnerGroup) -> Json:
    url = shapes.api(call.world, f"/orgs/{call.params['org']}/actions/runner-groups/{group.id}")
    return {
        "id": group.id,
        "name": group.name,
        "visibility": group.visibility,
        "default": group.default,
        "runners_url": f"{url}/runners",
        "inherited": False,
        "allows_public_repositories": group.allows_public_repositories,
        "workflow_restrictions_read_only": False,
        "restricted_to_workflows": False,
        "selected_workflows": [],
    }


@route("GET", "/orgs/{org}/actions/runner-groups")
def groups(call: Call) -> Json:
    """List the organization's runner groups."""
    scope = _scope(call)
    found = list(scope.groups.values())
    shown: list[Json] = [_group(call, scope, group) for group in call.page(found)]
    return {"total_count": len(found), "runner_groups": shown}


@route("POST", "/orgs/{org}/actions/runner-groups", status=201)
def create_group(call: Call) -> Json:
    scope = _scope(call)
    group = RunnerGroup(
        id=max(scope.groups) + 1,
        name=call.field("name", str, "RunnerGroup"),
        visibility=call.body.get("visibility", "all"),
        allows_public_repositories=bool(call.body.get("allows_public_repositories")),
    )
    scope.groups[group.id] = group
    return _group(call, scope, group)


@route("GET", "/orgs/{org}/actions/runner-groups/{id}")
def get_group(call: Call) -> Json:
    scope = _scope(call)
    group = scope.groups.get(int(call.params["id"]))
    if group is None:
        raise HttpError(404, "Not Found")
    return _group(call, scope, group)


@route("GET", "/orgs/{org}/actions/permissions/fork-pr-contributor-approval")
def fork_approval(call: Call) -> Json:
    """Show whose workflows wait for an approval."""
    return {"approval_policy": _scope(call).fork_approval_policy}


@route("PUT", "/orgs/{org}/actions/permissions/fork-pr-contributor-approval")
def set_fork_approval(call: Call) -> Answer:
    """Set whose workflows wait for an approval."""
    policy = call.field("approval_policy", str, "Organization")
    if policy not in POLICIES:
        raise HttpError(422, f"Validation Failed: {policy} is no approval policy")
    _scope(call).fork_approval_policy = policy
    return Answer(204)


@route("GET", "/orgs/{org}/actions/permissions/fork-pr-workflows-private-repos")
def fork_workflows(call: Call) -> Json:
    """Show what a fork's pull request may do in private repositories."""
    return {**dict.fromkeys(FORK_SWITCHES, False), **_scope(call).fork_workflows}


@route("PUT", "/orgs/{org}/actions/permissions/fork-pr-workflows-private-repos")
def set_fork_workflows(call: Call) -> Answer:
    """Set what a fork's pull request may do in private repositories."""
    _scope(call).fork_workflows.update(call.body)
    return Answer(204)


@route("GET", "/orgs/{org}/actions/permissions/self-hosted-runners")
def repository_runners(call: Call) -> Json:
    """Say whether repositories may have runners of their own."""
    _scope(call)
    return {"enabled_repositories": "all"}
