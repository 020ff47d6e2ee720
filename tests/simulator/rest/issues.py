"""Issues, labels and comments; a pull request is an issue here too."""

from __future__ import annotations

from typing import Any

from simulator import pulls
from simulator.http import Answer, HttpError
from simulator.model import Account, Comment, Issue, Json, Label, LabelEvent, Repository
from simulator.rest import shapes
from simulator.rest.router import Call, route
from simulator.world import World


def add_issue(
    world: World, repository: Repository, author: Account, title: str, body: str
) -> Issue:
    number, now = repository.next_number, world.now()
    repository.next_number += 1
    issue = Issue(world.new_id(), repository, number, title, body, author, now, now)
    issue.visible_from = world.visible_from()
    repository.issues[number] = issue
    return issue


def ensure_label(world: World, repository: Repository, name: str, color: str = "ededed") -> Label:
    """Return a label of the repository, making it when it is new."""
    key = name.lower()
    if key not in repository.labels:
        repository.labels[key] = Label(world.new_id(), name, color)
    return repository.labels[key]


def relabel(world: World, issue: Issue, labels: list[Label], actor: Account) -> None:
    """Give an issue these labels, and its timeline an event for every difference."""
    gone = [("UnlabeledEvent", label) for label in issue.labels if label not in labels]
    new = [("LabeledEvent", label) for label in labels if label not in issue.labels]
    issue.label_events += [
        LabelEvent(world.new_id(), kind, actor, label, world.now()) for kind, label in gone + new
    ]
    issue.labels = labels


def add_comment(world: World, issue: Issue, author: Account, body: str) -> Comment:
    """Comment on an issue or pull request."""
    now = world.now()
    comment = Comment(world.new_id(), author, body, now, now, issue)
    issue.comments.append(comment)
    issue.updated_at = now
    return comment


@route("GET", "/repos/{owner}/{repo}/issues", "issues:read")
def listed(call: Call) -> list[Json]:
    """List issues and pull requests; by default the newest 30 open ones."""
    state = call.query("state", "open")
    found = [i for i in call.repository.issues.values() if i.visible_from <= call.world.now()]
    if state != "all":
        found = [i for i in found if (i.state == "OPEN") == (state == "open")]
    for name in filter(None, call.query("labels").split(",")):
        found = [i for i in found if any(label.name == name for label in i.labels)]
    order = "updated_at" if call.query("sort") == "updated" else "created_at"
    descending = call.query("direction", "desc") == "desc"
    found.sort(key=lambda issue: (getattr(issue, order), issue.number), reverse=descending)
    return [shapes.issue(call.world, issue) for issue in call.page(found)]


@route("GET", "/repos/{owner}/{repo}/issues/{number}", "issues:read")
def get(call: Call) -> Json:
    return shapes.issue(call.world, call.issue())


@route("POST", "/repos/{owner}/{repo}/issues", "issues:write", status=201, content=True)
def create(call: Call) -> Json:
    title, body = call.field("title", str, "Issue"), call.body.get("body") or ""
    issue = add_issue(call.world, call.repository, call.viewer.account, title, body)
    relabel(call.world, issue, _labels(call, call.body.get("labels") or []), call.viewer.account)
    return shapes.issue(call.world, issue)


@route("PATCH", "/repos/{owner}/{repo}/issues/{number}", "issues:write")
def change(call: Call) -> Json:
    issue, body = call.issue(), call.body
    issue.title = body.get("title") or issue.title
    issue.body = body["body"] or "" if "body" in body else issue.body
    if "labels" in body:
        relabel(call.world, issue, _labels(call, body["labels"]), call.viewer.account)
    if body.get("state") == "closed":
        pulls.close(call.world, issue, reason=body.get("state_reason") or "completed")
    elif body.get("state") == "open":
        pulls.reopen(call.world, issue)
    issue.updated_at = call.world.now()
    return shapes.issue(call.world, issue)


def _labels(call: Call, wanted: list[Any]) -> list[Label]:
    names = [entry["name"] if isinstance(entry, dict) else entry for entry in wanted]
    return [ensure_label(call.world, call.repository, name) for name in names]


@route("GET", "/repos/{owner}/{repo}/labels", "issues:read")
def labels(call: Call) -> list[Json]:
    found = list(call.repository.labels.values())
    return [shapes.label(call.world, call.repository, label) for label in call.page(found)]


@route("POST", "/repos/{owner}/{repo}/labels", "issues:write", status=201)
def create_label(call: Call) -> Json:
    name = call.field("name", str, "Label")
    if name.lower() in call.repository.labels:
        errors = [{"resource": "Label", "code": "already_exists", "field": "name"}]
        raise HttpError(422, "Validation Failed", errors=errors)
    label = ensure_label(call.world, call.repository, name, call.body.get("color") or "ededed")
    label.description = call.body.get("description") or ""
    return shapes.label(call.world, call.repository, label)


@route("GET", "/repos/{owner}/{repo}/labels/{name}", "issues:read")
def get_label(call: Call) -> Json:
    label = call.repository.labels.get(call.params["name"].lower())
    if label is None:
        raise HttpError(404, "Not Found")
    return shapes.label(call.world, call.repository, label)


def _shown(call: Call, issue: Issue) -> list[Json]:
    return [shapes.label(call.world, issue.repository, label) for label in issue.labels]


@route("GET", "/repos/{owner}/{repo}/issues/{number}/labels", "issues:read")
def issue_labels(call: Call) -> list[Json]:
    return _shown(call, call.issue())


@route("POST", "/repos/{owner}/{repo}/issues/{number}/labels", "issues:write")
def add_labels(call: Call) -> list[Json]:
    """Add labels, making those that are new."""
    issue = call.issue()
    wanted: Any = call.body
    names = wanted if isinstance(wanted, list) else wanted.get("labels", [])
    new = [label for label in _labels(call, names) if label not in issue.labels]
    relabel(call.world, issue, issue.labels + new, call.viewer.account)
    issue.updated_at = call.world.now()
    return _shown(call, issue)


@route("PUT", "/repos/{owner}/{repo}/issues/{number}/labels", "issues:write")
def set_labels(call: Call) -> list[Json]:
    issue = call.issue()
    relabel(call.world, issue, _labels(call, call.body.get("labels", [])), call.viewer.account)
    issue.updated_at = call.world.now()
    return _shown(call, issue)


@route("DELETE", "/repos/{owner}/{repo}/issues/{number}/labels/{name}", "issues:write")
def remove_label(call: Call) -> list[Json]:
    issue, name = call.issue(), call.params["name"].lower()
    if all(label.name.lower() != name for label in issue.labels):
        raise HttpError(404, "Label does not exist")
    kept = [label for label in issue.labels if label.name.lower() != name]
    relabel(call.world, issue, kept, call.viewer.account)
    issue.updated_at = call.world.now()
    return _shown(call, issue)


@route("GET", "/repos/{owner}/{repo}/issues/{number}/comments", "issues:read")
def comments(call: Call) -> list[Json]:
    return [shapes.comment(call.world, entry) for entry in call.page(call.issue().comments)]


@route(
    "POST",
    "/repos/{owner}/{repo}/issues/{number}/comments",
    "issues:write",
    status=201,
    content=True,
)
def comment(call: Call) -> Json:
    body = call.field("body", str, "IssueComment")
    return shapes.comment(
        call.world, add_comment(call.world, call.issue(), call.viewer.account, body)
    )


def _comment(call: Call) -> Comment:
    for issue in call.repository.issues.values():
        for entry in issue.comments:
            if str(entry.id) == call.params["id"]:
                return entry
    raise HttpError(404, "Not Found")


@route("PATCH", "/repos/{owner}/{repo}/issues/comments/{id}", "issues:write", content=True)
def change_comment(call: Call) -> Json:
    found = _comment(call)
    found.body, found.updated_at = call.field("body", str, "IssueComment"), call.world.now()
    return shapes.comment(call.world, found)


@route("DELETE", "/repos/{owner}/{repo}/issues/comments/{id}", "issues:write")
def delete_comment(call: Call) -> Answer:
    found = _comment(call)
    found.issue.comments.remove(found)
    return Answer(204)
