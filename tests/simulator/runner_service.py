"""What a runner itself talks to: registering, taking a job, reporting its result.

GitHub does not publish this protocol, so this is the simulator's own, spoken by its
stub runner. Everything that an operator sees of it through REST is as GitHub shows it.

Bodies are JSON objects, or with ``text/plain`` lines ``key=value`` for a client without
JSON: a key that ends in ``64`` carries base64, a repeated one a list.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from fnmatch import fnmatchcase

from simulator import runners
from simulator.http import Answer, HttpError, Incoming
from simulator.model import Json, Runner, RunnerScope
from simulator.runners import RunnerError
from simulator.world import World

PREFIX = "/_services/runner"
LONGEST_WAIT_SECONDS = 50
Action = Callable[[World, Json], Json]


def serve(world: World, request: Incoming) -> Answer:
    """Answer a runner.

    Raises:
        HttpError: the request is refused.

    """
    actions = {
        "/register": _register,
        "/remove": _remove,
        "/session": _session,
        "/message": _message,
        "/goodbye": _goodbye,
        "/job": _job,
        "/result": _result,
    }
    action = actions.get(request.path.removeprefix(PREFIX))
    if action is None or request.method != "POST":
        raise HttpError(404, "Not Found")
    plain = request.headers.get("content-type", "").startswith("text/plain")
    try:
        given = _from_text(request.body) if plain else request.json()
        # A message is waited for; everything else is done under the lock at once.
        answer = action(world, given) if action is _message else _locked(world, action, given)
        kind = {"Content-Type": "text/plain"}
        return Answer(200, _to_text(answer).encode(), kind) if plain else Answer(200, answer)
    except RunnerError as error:
        raise HttpError(error.status, error.message) from error
    except KeyError as error:
        raise HttpError(422, f"{error.args[0]} is missing") from error


def _locked(world: World, action: Action, given: Json) -> Json:
    with world.lock:
        return action(world, given)


def _from_text(body: bytes) -> Json:
    given: Json = {}
    for line in body.decode(errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.endswith("64"):
            key, value = key[:-2], base64.b64decode(value).decode(errors="replace")
        if key == "step":
            conclusion, started, completed = value.split()
            step = {"conclusion": conclusion, "started_at": float(started)}
            given.setdefault("steps", []).append({**step, "completed_at": float(completed)})
        elif key == "labels":
            given.setdefault(key, []).extend([value] if value else [])
        elif key in {"id", "job_id", "wait_seconds"}:
            given[key] = int(value)
        elif key:
            given[key] = True if value == "true" else value
    return given


def _to_text(answer: Json) -> str:
    """Write lines ``key=value``; a job's values stand under ``job.``."""
    lines = []
    flat = {key: value for key, value in answer.items() if key != "job"}
    job = answer.get("job") or {}
    flat |= {f"job.{key}": value for key, value in job.items() if key not in {"name", "steps"}}
    for key, value in flat.items():
        if value is not None:
            lines.append(f"{key}={str(value).lower() if isinstance(value, bool) else value}")
    if job:
        lines.append(f"job.name64={_base64(job['name'])}")
        lines += [f"step={_base64(step['name'])} {_base64(step['run'])}" for step in job["steps"]]
    return "".join(f"{line}\n" for line in lines)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


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


def _ordered(world: World, runner: Runner, moment: str) -> Json:
    """Return what stubs are told to do at this moment in a real runner's stead."""
    for order in world.runner_orders:
        if order["at"] == moment and order["times"] and fnmatchcase(runner.name, order["name"]):
            order["times"] -= 1
            return {key: order[key] for key in ("exit", "deprecated") if key in order}
    return {}


def _session(world: World, given: Json) -> Json:
    _, runner = _known(world, given)
    runner.status, runner.last_seen, runner.is_leaving = "online", world.now(), False
    runner.version = given.get("version", runner.version)
    return _ordered(world, runner, "start")


def _message(world: World, given: Json) -> Json:
    """Wait until there is a job that fits, and say so; taking it is another request."""
    waited = min(float(given.get("wait_seconds", 0)), LONGEST_WAIT_SECONDS)
    limit = time.monotonic() + waited
    while True:
        with world.lock:
            if given["id"] in world.ghosts:
                found: Json = {}
            else:
                scope, runner = _known(world, given)
                if runner.is_leaving:
                    return {}
                runner.status, runner.last_seen = "online", world.now()
                found = _ordered(world, runner, "idle")
                if runners.fitting(world, scope, runner):
                    found["available"] = True
        if found or time.monotonic() >= limit:
            return found
        time.sleep(0.05)


def _goodbye(world: World, given: Json) -> Json:
    _, runner = _known(world, given)
    runner.status, runner.is_leaving = "offline", True
    return {}


def _job(world: World, given: Json) -> Json:
    scope, runner = _known(world, given)
    found = runners.acquire(world, scope, runner)
    if found is None:
        return {"job": None}
    repository, job = found
    return {
        **_ordered(world, runner, "job"),
        "job": {
            "id": job.id,
            "name": job.name,
            "repository": repository.full_name,
            "sha": job.run.head_oid,
            "ref": f"refs/heads/{job.run.branch}",
            "run_id": job.run.id,
            "steps": job.steps,
        },
    }


def _result(world: World, given: Json) -> Json:
    scope, runner = _known(world, given)
    for _, job in runners.all_jobs(world, scope):
        if job.id == given["job_id"] and job.runner is runner and job.status != "completed":
            runners.complete(world, scope, runner, job, given)
            return {}
    raise RunnerError(404, f"job {given['job_id']} is not this runner's")
