"""The control port: what a test may ask and change behind GitHub's back. Plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from simulator import build, checks, contract, pulls, runners, scenario
from simulator.dispatch import settle
from simulator.faults import Fault
from simulator.http import Answer, HttpError, Incoming
from simulator.model import Json, Pull, Repository, Review
from simulator.rest.issues import ensure_label, relabel

if TYPE_CHECKING:
    from simulator.server import Simulator

COMMANDS: dict[tuple[str, str], Callable[[Simulator, Json], Any]] = {}


def command(method: str, path: str) -> Callable[..., Any]:
    """Register a command of the control port."""

    def register(function: Callable[[Simulator, Json], Any]) -> Any:
        COMMANDS[method, path] = function
        return function

    return register


def answer(simulator: Simulator, request: Incoming) -> Answer:
    found = COMMANDS.get((request.method, request.path.rstrip("/") or "/"))
    if found is None:
        known = ", ".join(f"{method} {path}" for method, path in COMMANDS)
        return Answer(404, {"message": f"no such command; known are: {known}"})
    try:
        body = {**request.query, **(request.json() if request.method != "GET" else {})}
        with simulator.world.lock:
            result = found(simulator, body)
            # What a command sets off begins now, not with the next request.
            for repository in simulator.world.repositories.values():
                settle(simulator.world, repository)
            return Answer(200, result)
    except HttpError as error:
        return error.answer()
    except (scenario.ScenarioError, pulls.RefusedError) as error:
        return Answer(422, {"message": str(error)})
    except KeyError as error:
        return Answer(422, {"message": f"{error.args[0]} is missing or unknown"})


@command("GET", "/")
def ready(simulator: Simulator, _body: Json) -> Json:
    """Return what the command printed when it was ready."""
    return simulator.addresses()


@command("GET", "/log")
def log(simulator: Simulator, body: Json) -> Json:
    """Return the request log from entry ``since`` on."""
    since = int(body.get("since", 0))
    return {"requests": simulator.dispatcher.log[since:]}


@command("GET", "/counts")
def counts(simulator: Simulator, _body: Json) -> Json:
    """Return requests and points since the start or the last reset of the log."""
    return simulator.dispatcher.counts()


@command("DELETE", "/log")
def clear_log(simulator: Simulator, _body: Json) -> Json:
    """Forget the log; the rate limits stay as they are."""
    simulator.dispatcher.log.clear()
    return {}


@command("GET", "/contract")
def violations(simulator: Simulator, _body: Json) -> Json:
    """Hold what was exchanged over REST against GitHub's published description."""
    exchanges = simulator.dispatcher.recorder.everything
    return {
        "routes": sorted({f"{found.method} {found.route}" for found in exchanges}),
        "violations": contract.violations(exchanges),
    }


@command("POST", "/scenario")
def load(simulator: Simulator, body: Json) -> Json:
    """Begin again with a scenario: ``name`` for a file, ``document`` for its content."""
    simulator.load(
        scenario.check(body["document"], "document")
        if "document" in body
        else scenario.load(body["name"])
    )
    return simulator.addresses()


@command("GET", "/faults")
def list_faults(simulator: Simulator, _body: Json) -> list[Json]:
    """Return the faults with how often each was met and fired."""
    return [{f.name: getattr(fault, f.name) for f in fields(fault)} for fault in _faults(simulator)]


def _faults(simulator: Simulator) -> list[Fault]:
    return simulator.dispatcher.faults


@command("POST", "/faults")
def add_fault(simulator: Simulator, body: Json) -> Json:
    """Add a fault, written as in a scenario."""
    scenario.check({"faults": [body]}, "fault")
    simulator.add_fault(body)
    return {"name": _faults(simulator)[-1].name}


@command("DELETE", "/faults")
def clear_faults(simulator: Simulator, body: Json) -> Json:
    """Remove one fault by ``name``, or all."""
    kept = [f for f in _faults(simulator) if body.get("name") not in {None, f.name}]
    simulator.dispatcher.faults = kept
    return {}


@command("POST", "/clock")
def clock(simulator: Simulator, body: Json) -> Json:
    """Move the clock by ``seconds``."""
    simulator.world.clock.advance(float(body["seconds"]))
    return {"now": simulator.world.now()}


def repository_of(simulator: Simulator, body: Json) -> Repository:
    """Return the repository that ``repository`` names."""
    found = simulator.world.repository(body["repository"])
    if found is None:
        raise HttpError(404, f"no repository {body['repository']}")
    return found


def pull_of(simulator: Simulator, body: Json) -> Pull:
    """Return the pull request that ``number`` names."""
    found = repository_of(simulator, body).issues.get(int(body["number"]))
    if not isinstance(found, Pull):
        raise HttpError(404, f"no pull request {body['number']}")
    return found


@command("GET", "/repository")
def show(simulator: Simulator, body: Json) -> Json:
    """Return a repository's state, the counts of played CI runs among it."""
    found = repository_of(simulator, body)
    return {
        "path": str(found.git.path),
        "refs": found.git.refs,
        "ci_runs": found.ci_runs,
        "queue": [entry.pull.number for entry in found.queue],
        "left_queue": found.left_queue,
        "pull_requests": {p.number: {"state": p.state, "head": p.head_oid} for p in found.pulls},
        "runners": {
            runner.name: runners.status_of(simulator.world, runner)
            for runner in found.scope.runners.values()
        },
        "jobs": {job.id: job.status for run in found.runs for job in run.jobs},
    }


@command("POST", "/check")
def conclude(simulator: Simulator, body: Json) -> Json:
    """Report or end the check ``name`` on a ``number``'s head or a ``ref`` with ``conclusion``."""
    found = repository_of(simulator, body)
    oid = pull_of(simulator, body).head_oid if "number" in body else found.git.resolve(body["ref"])
    if oid is None:
        raise HttpError(404, f"no commit {body['ref']}")
    now, name, wanted = simulator.world.now(), body["name"], body.get("conclusion")
    running = [
        run for run in found.checks.get(oid, []) if run.name == name and run.status != "completed"
    ]
    if running and wanted:
        checks.conclude(running[-1], wanted, now)
    else:
        checks.add_check(simulator.world, found, oid, name, wanted)
    return {"oid": oid}


@command("POST", "/push")
def push(simulator: Simulator, body: Json) -> Json:
    """Commit ``files`` (and ``delete``) to a ``branch``, made from ``from`` when it is new."""
    world, found, branch = simulator.world, repository_of(simulator, body), body["branch"]
    tip = found.git.branch(branch)
    start = tip or found.git.resolve(body.get("from", found.default_branch))
    pusher = world.account(body.get("author", found.owner.login))
    date = build.moment(body.get("date"), world.now(), world.now())
    message, deleted = body.get("message", "Change"), body.get("delete", [])
    files = body.get("files", {})
    author = pulls.identity(pusher)
    oid = found.git.write_commit(start, files, deleted, message, author, date)
    pulls.move_branch(world, found, branch, oid, old=tip, pusher=pusher)
    return {"oid": oid}


@command("POST", "/label")
def label(simulator: Simulator, body: Json) -> Json:
    """Give the pull request ``number`` exactly these ``labels``, as ``actor``."""
    world, pull = simulator.world, pull_of(simulator, body)
    labels = [ensure_label(world, pull.repository, name) for name in body["labels"]]
    relabel(world, pull, labels, world.account(body["actor"]))
    return {}


@command("POST", "/review")
def review(simulator: Simulator, body: Json) -> Json:
    """Review the head of the pull request ``number`` as it is now, as ``author``."""
    world, pull, now = simulator.world, pull_of(simulator, body), simulator.world.now()
    author, state = world.account(body["author"]), body["state"]
    pull.reviews.append(Review(world.new_id(), author, state, "", pull.head_oid, now, pull))
    return {}


@command("POST", "/pull_request")
def open_pull(simulator: Simulator, body: Json) -> Json:
    """Open a pull request as ``author`` from ``head`` to ``base``."""
    world, found = simulator.world, repository_of(simulator, body)
    pull = pulls.open_pull(
        world,
        found,
        author=world.account(body.get("author", found.owner.login)),
        title=str(body.get("title", body["head"])),
        head=body["head"],
        base=body.get("base", found.default_branch),
        body=body.get("body", ""),
    )
    return {"number": pull.number, "oid": pull.head_oid}


@command("POST", "/settings")
def settings(simulator: Simulator, body: Json) -> Json:
    """Change a repository's settings, named as in a scenario."""
    found = repository_of(simulator, body)
    for name, value in body.items():
        if name in build.SETTINGS:
            setattr(found, name, value)
        elif name != "repository":
            raise HttpError(422, f"{name} is no setting; known are: {', '.join(build.SETTINGS)}")
    return {}


@command("POST", "/job")
def queue(simulator: Simulator, body: Json) -> Json:
    """Queue a job in ``repository``, written as in a scenario."""
    found = repository_of(simulator, body)
    given = {name: value for name, value in body.items() if name != "repository"}
    scenario.check({"repositories": [{"name": found.full_name, "jobs": [given]}]}, "job")
    job = runners.queue_job(simulator.world, found, given)
    return {"id": job.id, "run_id": job.run.id}


@command("GET", "/job")
def show_job(simulator: Simulator, body: Json) -> Json:
    """Return the state, times, runner and log of job ``id``."""
    for run in repository_of(simulator, body).runs:
        for job in run.jobs:
            if str(job.id) == str(body["id"]):
                return {
                    "status": job.status,
                    "conclusion": job.conclusion,
                    "created_at": job.created_at,
                    "started_at": job.started_at,
                    "completed_at": job.completed_at,
                    "runner": job.runner_name,
                    "steps": job.steps,
                    "log": job.log,
                }
    raise HttpError(404, f"no job {body['id']}")


@command("POST", "/remove_runner")
def remove_runner(simulator: Simulator, body: Json) -> Json:
    """Remove the runners ``name`` (a pattern) at the server, busy or not, as GitHub does with idle ones.

    With ``ghost`` they are not told: they listen on, for ever and for nothing.
    """
    scope = repository_of(simulator, body).scope
    found = [r for r in scope.runners.values() if fnmatchcase(r.name, body["name"])]
    for runner in found:
        runners.remove(scope, runner, force=True)
        if body.get("ghost"):
            simulator.world.ghosts.add(runner.id)
    return {"removed": len(found)}


@command("POST", "/runner_order")
def order(simulator: Simulator, body: Json) -> Json:
    """Tell stub runners ``name`` (a pattern) to end with status ``exit``, or as a ``deprecated`` version.

    ``at``: ``start``, ``idle`` (while waiting for a job) or ``job`` (once one was taken);
    ``times``: how often, once unless given. 128 and more are signals. Without ``at`` every
    order is withdrawn.
    """
    if "at" not in body:
        simulator.world.runner_orders.clear()
        return {}
    if body["at"] not in {"start", "idle", "job"}:
        raise HttpError(422, f"at is {body['at']!r}; it must be start, idle or job")
    simulator.world.runner_orders.append({"times": 1, "name": "*", **body})
    return {}


@command("POST", "/release")
def publish(simulator: Simulator, body: Json) -> Json:
    """Publish a release of ``repository``, written as in a scenario, in place of one of the same tag."""
    found = repository_of(simulator, body)
    given = {name: value for name, value in body.items() if name != "repository"}
    scenario.check({"repositories": [{"name": found.full_name, "releases": [given]}]}, "release")
    found.releases = [release for release in found.releases if release.tag != given["tag"]]
    build.add_release(simulator.world, found, given)
    return {}
