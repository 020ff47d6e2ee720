"""What a runner itself talks to: registering, taking a job, reporting its result.

GitHub does not publish this protocol, so this is the simulator's own, spoken by its
stub runner. Everything that an operator sees of it through REST is as GitHub shows it.
"""

from __future__ import annotations

from simulator import runners
from simulator.http import Answer, HttpError, Incoming
from simulator.model import Json, Runner, RunnerScope
from simulator.runners import RunnerError
from simulator.world import World

PREFIX = "/_services/runner"


def serve(world: World, request: Incoming) -> Answer:
    """Answer a runner.

    Raises:
        HttpError: the request is refused.

    """
    actions = {
        "/register": _register,
        "/remove": _remove,
        "/session": _session,
        "/goodbye": _goodbye,
        "/job": _job,
        "/result": _result,
    }
    action = actions.get(request.path.removeprefix(PREFIX))
    if action is None or request.method != "POST":
        raise HttpError(404, "Not Found")
    try:
        with world.lock:
            return Answer(200, action(world, request.json()))
    except RunnerError as error:
        raise HttpError(error.status, error.message) from error
    except KeyError as error:
        raise HttpError(422, f"{error.args[0]} is missing") from error


def _scope(world: World, url: str) -> RunnerScope:
    path = url.removeprefix(world.web_url).strip("/")
    repository = world.repository(path)
    if repository:
        return repository.scope
    if path and "/" not in path:
        return world.scope(f"orgs/{path}", f"{world.web_url}/{path}")
    raise RunnerError(404, f"no repository or organization at {url}")


def _register(world: World, given: Json) -> Json:
    scope = _scope(world, given["url"])
    runners.redeem(world, scope, given["token"], "registration")
    if given.get("replace"):
        for old in [r for r in scope.runners.values() if r.name == given["name"]]:
            runners.remove(scope, old)
    group = given.get("group", "Default")
    ids = [entry.id for entry in scope.groups.values() if entry.name == group]
    if not ids:
        raise RunnerError(404, f"Could not find any self-hosted runner group named {group!r}.")
    defaults = () if given.get("no_default_labels") else runners.DEFAULT_LABELS
    labels = runners.label_list([*defaults, *given.get("labels", [])], defaults)
    runner = runners.add(
        world,
        scope,
        given["name"],
        labels,
        group_id=ids[0],
        ephemeral=bool(given.get("ephemeral")),
        version=given.get("version"),
    )
    return {"id": runner.id, "secret": runner.secret, "group_id": ids[0], "group": group}


def _remove(world: World, given: Json) -> Json:
    scope = _scope(world, given["url"])
    runners.redeem(world, scope, given["token"], "remove")
    runner = scope.runners.get(given["id"])
    if runner:
        runners.remove(scope, runner)
    return {}


def _known(world: World, given: Json) -> tuple[RunnerScope, Runner]:
    for scope in world.scopes.values():
        runner = scope.runners.get(given["id"])
        if runner and runner.secret == given["secret"]:
            return scope, runner
    raise RunnerError(401, "The runner registration has been deleted from the server.")


def _session(world: World, given: Json) -> Json:
    _, runner = _known(world, given)
    runner.status, runner.last_seen = "online", world.now()
    runner.version = given.get("version", runner.version)
    return {}


def _goodbye(world: World, given: Json) -> Json:
    _, runner = _known(world, given)
    runner.status = "offline"
    return {}


def _job(world: World, given: Json) -> Json:
    scope, runner = _known(world, given)
    found = runners.acquire(world, scope, runner)
    if found is None:
        return {"job": None}
    repository, job = found
    return {
        "job": {
            "id": job.id,
            "name": job.name,
            "repository": repository.full_name,
            "sha": job.run.head_oid,
            "ref": f"refs/heads/{job.run.branch}",
            "run_id": job.run.id,
            "steps": job.steps,
        }
    }


def _result(world: World, given: Json) -> Json:
    scope, runner = _known(world, given)
    for _, job in runners.all_jobs(world, scope):
        if job.id == given["job_id"] and job.runner is runner and job.status != "completed":
            runners.complete(world, scope, runner, job, given)
            return {}
    raise RunnerError(404, f"job {given['job_id']} is not this runner's")
