"""Give the open issues that ask for a lane one each, as far as there is room."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from factory.core.base import documents, times
from factory.core.base.configuration import ConfigurationError
from factory.core.base.github.errors import ForgeError
from factory.core.lanes import dispatch, identity, outcome
from factory.core.lanes.settings import LaneProject, LanesSettings
from factory.lanes import capacity, delivery


class Start(Protocol):
    """Starts a lane, and returns what went wrong."""

    def __call__(self, project: str, issue: int, resumed: str, *, verb: str = "run") -> str: ...


LOCK = "factory-lanes-dispatch.lock"
RESULT = "result.json"


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
    for project in settings.lane_projects:
        if not project.dispatch.label:
            continue
        try:
            seen.append(_look(settings, project))
            reviews += _reviews(settings, project)
        except (ForgeError, ConfigurationError, OSError) as error:
            failures.append(f"{project.name}: {error}")
    rows: list[dict[str, Any]] = []
    # What is begun is brought to its end before more is.
    for review in reviews if not dry_run else ():
        number = review["pull_request"]
        trouble = start(review["project"], number, "", verb="revise")
        review["started"] = not trouble
        if trouble:
            failures.append(f"{review['project']} #{number}: {trouble}")
    for decision in dispatch.plan(settings, seen, capacity.load(settings), time.time()):
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


def _look(settings: LanesSettings, project: LaneProject) -> dispatch.ObservedProject:
    _token, forge = delivery.github(settings, project)
    wishes = [
        dispatch.LabelledIssue(
            int(item["number"]),
            str(item["title"]),
            frozenset(str(label["name"]) for label in item["labels"]),
        )
        for item in forge.open_issues(project.dispatch.label)
    ]
    numbers = (identity.issue_of_branch(name) for name in forge.open_branches())
    proposed = {number for number in numbers if number is not None}
    return dispatch.ObservedProject(project, wishes, proposed, _past(settings, project))


def _reviews(settings: LanesSettings, project: LaneProject) -> list[dict[str, Any]]:
    """Return the lanes' pull requests about which something was said, and that may have a round more."""
    most = project.dispatch.rounds_max_count
    if not most:
        return []
    _token, forge = delivery.github(settings, project)
    running = capacity.load(settings).running
    found = []
    for number, branch in forge.open_pulls():
        is_busy = (project.name, number) in running
        if identity.issue_of_branch(branch) is None or is_busy:
            continue
        rounds = sum(
            bool((documents.read(path) or {}).get("is_review"))
            for path in Path(settings.state_dir).glob(f"{project.name}-{number}-*/{RESULT}")
        )
        if rounds < most and forge.review(number).remarks:
            row = {"project": project.name, "pull_request": number, "round": rounds + 1}
            found.append({**row, "started": False})
    return found


def _past(settings: LanesSettings, project: LaneProject) -> dict[int, dispatch.Past]:
    found: dict[int, list[tuple[float, dict[str, Any]]]] = {}
    for path in Path(settings.state_dir).glob(f"{project.name}-*/{RESULT}"):
        result = documents.read(path) or {}
        if result.get("project") == project.name and not result.get("is_conflict"):
            at = times.seconds(str(result["finished_at"]))
            found.setdefault(int(result["issue"]), []).append((at, result))
    return {issue: _of_lanes(ends) for issue, ends in found.items()}


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
    )
