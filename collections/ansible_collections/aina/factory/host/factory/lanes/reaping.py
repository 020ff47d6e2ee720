"""End what nobody watches any more, save what it holds, and forget what is old."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from factory.core.base import documents, processes, text, times
from factory.core.base.docker import DockerError
from factory.core.base.errors import FactoryError
from factory.core.lanes import identity, outcome, reaper
from factory.core.lanes.settings import LanesSettings
from factory.core.lanes.spending import day_of
from factory.lanes import (
    capacity,
    control_socket,
    delivery,
    engine,
    results,
    supervisor,
    tasks,
)

LOCK = "factory-lanes-reaper.lock"
# How often a lane was given to another supervisor, and how long that may take to say so.
_ADOPTED, _ADOPTION_SECONDS = "adopted_count", 15.0
# Among the differences that are alerts: undelivered work that is gone, told for a day.
_GIVEN_UP, _TOLD_SECONDS = "work", 86400.0
# And work that GitHub has not taken for long.
_UNDELIVERED = "delivery"
_log = logging.getLogger(__name__)


def survey(settings: LanesSettings) -> reaper.ObservedHost:
    """Return what there is of lanes on this host.

    Raises:
        DockerError: the engine does not say, and then nothing is decided.

    """
    containers = engine.lanes()
    places: dict[str, str] = {}
    for path in Path(settings.run_dir).glob("*/"):
        owner = documents.read(path / capacity.OWNER) or {}
        places[path.name] = str(owner.get("supervisor", ""))
    unfinished: dict[str, str] = {}
    adoptable = []
    projects = {project.name for project in settings.lane_projects}
    for path in Path(settings.state_dir).glob(f"*/{supervisor.STATE}"):
        state = documents.read(path) or {}
        unfinished[path.parent.name] = str(state.get("supervisor", ""))
        count = int(state.get(_ADOPTED) or 0)
        # One that was not given its task yet has nothing to go on with.
        is_begun = bool(state.get("base")) and state.get("project") in projects
        if is_begun and path.parent.name in places and count < reaper.ADOPTED_MAX_COUNT:
            adoptable.append(path.parent.name)
    named = {
        *places.values(),
        *unfinished.values(),
        *(item.labels.get("lane.supervisor", "") for item in containers),
    }
    alive = {name for name in named if processes.alive(name)}
    return reaper.ObservedHost(containers, alive, places, unfinished, adoptable)


def is_due(settings: LanesSettings) -> bool:
    """Whether somebody who watched a lane is gone; only files are looked at."""
    names = [capacity.OWNER, supervisor.STATE]
    roots = [settings.run_dir, settings.state_dir]
    for root, name in zip(roots, names, strict=True):
        for path in Path(root).glob(f"*/{name}"):
            if not processes.alive(str((documents.read(path) or {}).get("supervisor", ""))):
                return True
    return False


def reap(
    settings: LanesSettings,
    lock_directory: Path,
    *,
    dry_run: bool,
    adopt: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """Carry the plan out and return what was done, as ``--json`` prints it.

    ``adopt`` has a new supervisor take a lane over and returns what went wrong; without it each
    lane whose supervisor is gone is ended.

    Raises:
        DockerError: the engine does not answer.

    """
    seen = survey(settings)
    if adopt is None:
        seen = replace(seen, adoptable=())
    steps = reaper.plan(seen, time.time())
    failures: list[str] = []
    if not dry_run:
        for step in steps:
            try:
                if step.verb == "adopt" and adopt is not None:
                    _have_adopted(settings, step, adopt)
                else:
                    _carry_out(settings, lock_directory, step)
            except (DockerError, OSError) as error:
                failures.append(f"{step.lane}: {error}")
    delivered = [] if dry_run else _deliver_again(settings)
    kept = _kept(settings)
    expired = reaper.expired(kept, time.time(), settings.keep_seconds, settings.keep_total_bytes)
    given_up = [item.lane for item in kept if item.is_unsaved and item.lane in expired]
    if not dry_run:
        for name in expired:
            if name not in given_up:
                _forget(settings, name)
        for item in kept:
            if item.lane in given_up:
                _give_up(settings, item)
        _review_residue(settings)
        _forget_spending(settings)
    return {
        "steps": [vars(step) for step in steps],
        "expired": expired,
        "given_up": given_up,
        "delivered": delivered,
        "failures": failures,
        "changed": bool(steps or expired or delivered),
    }


def _undelivered(settings: LanesSettings) -> dict[str, dict[str, Any]]:
    """Return the results of lanes whose work GitHub is to take, and that none went on from."""
    known = results.read_all(settings)
    superseded = reaper.superseded(known)
    return {
        lane: result
        for lane, result in known.items()
        if lane not in superseded and outcome.is_undelivered(result)
    }


def _deliver_again(settings: LanesSettings) -> list[str]:
    """Deliver what GitHub did not take, until it does; return the lanes whose work it took."""
    done = []
    projects = {project.name: project for project in settings.lane_projects}
    for lane, result in _undelivered(settings).items():
        path = Path(settings.state_dir, lane, results.RESULT)
        project = projects.get(str(result.get("project")))
        with contextlib.suppress(FileNotFoundError):
            if project is None or not reaper.is_due(result, path.stat().st_mtime, time.time()):
                continue
            try:
                token, forge = delivery.github(settings, project)
                delivery.deliver(settings, project, forge, token(), result)
                done.append(lane)
            except (FactoryError, OSError) as error:
                result["delivery"] = f"failed: {error}"
                count = int(result.get("delivery_attempts_count") or 0) + 1
                result["delivery_attempts_count"] = count
                _log.warning("lane %s is not delivered in try %d: %s", lane, count, error)
                if count == reaper.TOLD_ATTEMPTS_COUNT:
                    what = (
                        f"lane {lane}: GitHub does not take its work: {text.printable(str(error))}"
                    )
                    told = {"kind": _UNDELIVERED, "name": lane, "what": what}
                    supervisor.record_residue(settings, lane, [told])
            documents.replace(path, result)
    return done


def _have_adopted(
    settings: LanesSettings, step: reaper.ReapStep, adopt: Callable[[str], str]
) -> None:
    """Have a lane watched again; one for which that fails too often is ended then.

    Raises:
        OSError: it is not watched yet.

    """
    _log.info("adopt lane %s: %s", step.lane, step.why)
    path = Path(settings.state_dir, identity.checked(step.lane), supervisor.STATE)
    state = documents.read(path) or {}
    documents.replace(path, {**state, _ADOPTED: int(state.get(_ADOPTED) or 0) + 1})
    trouble, deadline = adopt(step.lane), time.monotonic() + _ADOPTION_SECONDS
    owner = Path(settings.run_dir, step.lane, capacity.OWNER)
    while not trouble and time.monotonic() < deadline:
        if processes.alive(str((documents.read(owner) or {}).get("supervisor", ""))):
            return
        time.sleep(0.1)
    raise OSError(f"nobody watches it yet: {trouble or 'its new supervisor says nothing'}")


def _carry_out(settings: LanesSettings, lock_directory: Path, step: reaper.ReapStep) -> None:
    _log.info("%s lane %s: %s", step.verb, step.lane, step.why)
    if step.verb == "end":
        unkept = _end(settings, lock_directory, step)
    else:
        unkept = supervisor.lost_since(_handed_over_at(settings, step.lane))
    if step.verb in {"end", "finish"}:
        _finish(settings, lock_directory, step, unkept)
    with contextlib.suppress(OSError):
        control_socket.ask("close", step.lane)
    shutil.rmtree(Path(settings.run_dir, Path(step.lane).name), ignore_errors=True)


def _handed_over_at(settings: LanesSettings, name: str) -> float:
    """Return when a lane last handed something over; 0 when it never did."""
    with contextlib.suppress(OSError):
        return Path(settings.state_dir, name, supervisor.BUNDLE).stat().st_mtime
    return 0.0


def lane_of(settings: LanesSettings, lock_directory: Path, name: str) -> supervisor.Lane | None:
    """Return the lane as its state describes it; ``None`` when its project is gone."""
    state = documents.read(Path(settings.state_dir, name, supervisor.STATE)) or {}
    for project in settings.lane_projects:
        if project.name == state.get("project"):
            task = tasks.Task(
                replace(project, model=str(state.get("model") or project.model)),
                int(state.get("issue") or 0),
                resume=str(state.get("resumes") or ""),
                is_conflict=bool(state.get("is_conflict")),
                is_review=bool(state.get("is_review")),
            )
            return supervisor.Lane(settings, task, lock_directory, name=name)
    return None


def _end(settings: LanesSettings, lock_directory: Path, step: reaper.ReapStep) -> str:
    """End a lane's container; return what of its work did not come out."""
    unkept = ""
    lane = lane_of(settings, lock_directory, step.lane)
    if lane is not None and lane.directory.is_dir():
        limit = lane.project.limits.bundle_max_mib << 20
        unkept = supervisor.rescued(lane, engine.rescue(step.container, limit))
    engine.remove(step.container)
    return unkept


def _finish(
    settings: LanesSettings, lock_directory: Path, step: reaper.ReapStep, unkept: str = ""
) -> None:
    """Record what became of a lane whose supervisor cannot."""
    lane = lane_of(settings, lock_directory, step.lane)
    if lane is None or not lane.directory.is_dir():
        return
    state = documents.read(lane.directory / supervisor.STATE) or {}
    start = tasks.start_of(state)
    work, trouble = lane._collect(start) if start.base else (None, "")
    model = outcome.model_of(supervisor.gateway_lines(lane.directory))
    goes_on = f"{step.why}; factory lane resume {step.lane} goes on from here"
    began = times.seconds(str(state["started_at"])) if state.get("started_at") else 0.0
    result = {
        **lane._head(),
        **vars(start),
        "title": str(state.get("title") or ""),
        "conflict": state.get("conflict"),
        "outcome": outcome.INTERRUPTED,
        "detail": "; ".join(filter(None, (trouble or goes_on, unkept))),
        "started_at": state.get("started_at"),
        "finished_at": times.iso(time.time()),
        "duration_seconds": round(time.time() - began, 1) if began else None,
        "tokens": model.tokens,
        "requests_count": model.requests_count,
        **lane._outcome_of(work),
        "session": lane._session(),
        "resumes": str(state.get("resumes") or ""),
        "continues": str(state.get("continues") or ""),
        "branch": "",
        "pull_request": None,
        "delivery": "",
        "residue": [],
    }
    lane._finish(result)


def _kept(settings: LanesSettings) -> list[reaper.Kept]:
    known = results.read_all(settings)
    superseded = reaper.superseded(known)
    kept = []
    for lane, result in known.items():
        path = Path(settings.state_dir, lane, results.RESULT)
        with contextlib.suppress(OSError):
            has_work = bool(result.get("head")) or (path.parent / supervisor.BUNDLE).exists()
            is_taken = result.get("pull_request") or result.get("is_passed_over")
            is_unsaved = has_work and not is_taken and lane not in superseded
            size = sum(item.stat().st_blocks * 512 for item in path.parent.iterdir())
            kept.append(reaper.Kept(lane, path.stat().st_mtime, size, is_unsaved))
    return kept


def _give_up(settings: LanesSettings, item: reaper.Kept) -> None:
    """Make room where even undelivered work alone is too much; its result stays and says so."""
    name, why = item.lane, "undelivered work is over lanes.keep_total_mib"
    what = f"{text.size(item.size_bytes)} of lane {name}, given up: {why}"
    _log.warning("%s", what)
    path = Path(settings.state_dir, identity.checked(name), results.RESULT)
    result = documents.read(path) or {"lane": name, "outcome": outcome.FAILED}
    _forget(settings, name)
    path.parent.mkdir(mode=0o750)
    detail = f"{result.get('detail', '')}; its work was given up: {why}"
    documents.replace(path, {**result, "head": "", "detail": detail})
    supervisor.record_residue(settings, name, [{"kind": _GIVEN_UP, "name": name, "what": what}])


def _forget(settings: LanesSettings, name: str) -> None:
    directory = Path(settings.state_dir, identity.checked(name))
    result = documents.read(directory / results.RESULT) or {}
    for project in settings.lane_projects:
        if project.name == result.get("project") and result.get("head"):
            with contextlib.suppress(Exception):
                delivery.repository(settings, project, "", results=True).forget(name)
    shutil.rmtree(directory, ignore_errors=True)


def _forget_spending(settings: LanesSettings) -> None:
    old = time.time() - settings.keep_seconds - 86400
    for path in Path(settings.state_dir, supervisor.SPENT_DIR).glob("*.jsonl"):
        if path.stem < day_of(old):
            path.unlink(missing_ok=True)


def _review_residue(settings: LanesSettings) -> None:
    """Forget differences that are gone, so that an alert ends when its cause does, or is told."""
    path = Path(settings.state_dir, supervisor.RESIDUE)
    known = list((documents.read(path) or {}).get("differences") or [])
    if not known:
        return
    now = engine.snapshot(Path(settings.run_dir))
    undelivered = _undelivered(settings)
    told = times.iso(time.time() - _TOLD_SECONDS)
    left = [
        item
        for item in known
        # What could not be looked at then is looked at with each lane that ends.
        if (item.get("kind") in now and item.get("name") in now[str(item["kind"])])
        or (item.get("kind") == _GIVEN_UP and str(item.get("since")) > told)
        or (item.get("kind") == _UNDELIVERED and str(item.get("name")) in undelivered)
    ]
    if left != known:
        at = times.iso(time.time())
        documents.replace(path, {"differences": left, "checked_at": at})
