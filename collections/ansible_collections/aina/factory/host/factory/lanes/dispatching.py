"""Give the open issues that ask for a lane one each, as far as there is room."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from factory.core.base import documents, times
from factory.core.base.configuration import ConfigurationError
from factory.core.base.github.errors import ForgeError
from factory.core.lanes import dispatch, identity, outcome
from factory.core.lanes.claims import Claim, Claims
from factory.core.lanes.collect import CollectError
from factory.core.lanes.forge import LaneForge
from factory.core.lanes.settings import LaneProject, LanesSettings
from factory.lanes import capacity, claiming, delivery, results


class Start(Protocol):
    """Starts a lane, and returns what went wrong."""

    def __call__(self, project: str, issue: int, resumed: str, *, verb: str = "run") -> str: ...


LOCK = "factory-lanes-dispatch.lock"


def run(settings: LanesSettings, start: Start, *, dry_run: bool) -> dict[str, Any]:
    """Decide about every issue and start what is to be started; return it as ``--json`` prints it.

    ``start`` gets project, issue and the lane to go on from, and returns what went wrong. A project
    that GitHub does not tell about is a failure of its own and holds up no other.
    """
    closed = capacity.draining()
    if closed:
        return {"issues": [], "reviews": [], "started": 0, "failures": [], "closed": closed.words}
    seen: list[dispatch.ObservedProject] = []
    failures: list[str] = []
    reviews: list[dict[str, Any]] = []
    known, load = results.read_all(settings), capacity.load(settings)
    for project in settings.lane_projects:
        if not project.dispatch.label:
            continue
        try:
            token, forge = delivery.github(settings, project)
            ends = results.of_project(known, project.name)
            pulls = {
                number: issue
                for number, branch in forge.open_pulls()
                if (issue := identity.issue_of_branch(branch)) is not None
            }
            if not dry_run:
                _settle(settings, ends, set(pulls))
            looked = _look(project, forge, set(pulls.values()), ends)
            seen.append(_with_claims(looked, claims_of(settings, project, token())))
        except (ForgeError, CollectError, ConfigurationError, OSError) as error:
            failures.append(f"{project.name}: {error}")
            continue
        idle = [number for number in pulls if (project.name, number) not in load.running]
        found, troubles = _reviews(project, forge, idle, ends)
        reviews += found
        failures += troubles
    rows: list[dict[str, Any]] = []
    # What is begun is brought to its end before more is.
    for review in reviews if not dry_run else ():
        number = review["pull_request"]
        trouble = start(review["project"], number, "", verb="revise")
        review["started"] = not trouble
        if trouble:
            failures.append(f"{review['project']} #{number}: {trouble}")
    for decision in dispatch.plan(settings, seen, load, time.time()):
        row = {**vars(decision), "started": False}
        if decision.verb == dispatch.START and not dry_run:
            trouble = start(decision.project, decision.issue, decision.resumed)
            row["started"] = not trouble
            if trouble:
                failures.append(f"{decision.project} #{decision.issue}: {trouble}")
        rows.append(row)
    started = sum(row["started"] for row in (*rows, *reviews))
    return {
        "issues": rows,
        "reviews": reviews,
        "started": started,
        "failures": failures,
        "closed": "",
    }


def _look(
    project: LaneProject, forge: LaneForge, proposed: set[int], ends: list[dict[str, Any]]
) -> dispatch.ObservedProject:
    wishes = [
        dispatch.LabelledIssue(
            int(item["number"]),
            str(item["title"]),
            frozenset(str(label["name"]) for label in item["labels"]),
        )
        for item in forge.open_issues(project.dispatch.label)
    ]
    return dispatch.ObservedProject(project, wishes, proposed, _past(ends))


def _settle(settings: LanesSettings, ends: list[dict[str, Any]], pulls: set[int]) -> None:
    """Write down of which lanes the pull request is open no more."""
    for result in ends:
        number = (result.get("pull_request") or {}).get("number")
        if number and number not in pulls and not result.get("is_settled"):
            result["is_settled"] = True
            path = Path(settings.state_dir, str(result["lane"]), results.RESULT)
            # When it ended is read off its file.
            ended = path.stat()
            documents.replace(path, result)
            os.utime(path, (ended.st_atime, ended.st_mtime))


def claims_of(settings: LanesSettings, project: LaneProject, token: str) -> dict[int, Claim]:
    """Return what all servers say at GitHub about the project's issues.

    Raises:
        CollectError: GitHub does not say.

    """
    return Claims(delivery.repository(settings, project, token, results=True)).all()


def _with_claims(
    seen: dispatch.ObservedProject, claims: dict[int, Claim]
) -> dispatch.ObservedProject:
    now, here = time.time(), claiming.host()
    found = {number: claim.obstacle(here, now) for number, claim in claims.items()}
    return replace(
        seen,
        elsewhere={number: words for number, words in found.items() if words},
        attempts={number: claim.attempts_count for number, claim in claims.items()},
    )


def _reviews(
    project: LaneProject, forge: LaneForge, pulls: list[int], ends: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the pull requests about which something was said, and that may have a round more.

    One of which GitHub does not tell is a failure of its own, and holds up no other.
    """
    found: list[dict[str, Any]] = []
    failures: list[str] = []
    for number in pulls:
        rounds = sum(bool(end.get("is_review")) and end.get("issue") == number for end in ends)
        try:
            is_due = rounds < project.dispatch.rounds_max_count and bool(
                forge.review(number).remarks
            )
        except (ForgeError, OSError) as error:
            failures.append(f"{project.name} #{number}: {error}")
            continue
        if is_due:
            row = {"project": project.name, "pull_request": number, "round": rounds + 1}
            found.append({**row, "started": False})
    return found, failures


def _past(ends: list[dict[str, Any]]) -> dict[int, dispatch.Past]:
    found: dict[int, list[tuple[float, dict[str, Any]]]] = {}
    for result in ends:
        if not result.get("is_conflict"):
            at = times.seconds(str(result["finished_at"]))
            found.setdefault(int(result["issue"]), []).append((at, result))
    return {issue: _of_lanes(each) for issue, each in found.items()}


def _of_lanes(ends: list[tuple[float, dict[str, Any]]]) -> dispatch.Past:
    ends.sort(key=lambda end: end[0])
    last = ends[-1][1]
    is_undelivered = outcome.is_undelivered(last)
    # What was delivered once is in its pull request, whatever became of that.
    has_work = bool(last.get("head")) and not last.get("pull_request")
    outcomes = [str(result["outcome"]) for _at, result in ends]
    return dispatch.Past(
        tuple(at for at, _result in ends),
        outcomes[-1],
        str(last.get("lane") or "") if has_work else "",
        is_undelivered,
        outcomes.count(outcome.INTERRUPTED),
        bool(last.get("is_stopped")),
    )
