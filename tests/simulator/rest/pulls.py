"""Pull requests."""

from __future__ import annotations

from simulator import pulls
from simulator.http import Answer, HttpError
from simulator.model import Json, Pull, Review
from simulator.rest import shapes
from simulator.rest.router import Call, route

ORDERS = {"created": "created_at", "updated": "updated_at", "popularity": "number"}
EVENTS = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


@route("GET", "/repos/{owner}/{repo}/pulls", "pull_requests:read")
def listed(call: Call) -> list[Json]:
    """List pull requests; by default the newest 30 open ones."""
    state, base, head = call.query("state", "open"), call.query("base"), call.query("head")
    found = [p for p in call.repository.pulls if p.visible_from <= call.world.now()]
    if state != "all":
        found = [p for p in found if (p.state == "OPEN") == (state == "open")]
    if base:
        found = [p for p in found if p.base == base]
    if head:
        owner, _, branch = head.partition(":")
        found = [p for p in found if p.head == branch and p.head_repository.startswith(f"{owner}/")]
    order = ORDERS.get(call.query("sort", "created"), "created_at")
    default = "desc" if order == "created_at" and "sort" not in call.request.query else "asc"
    descending = call.query("direction", default) == "desc"
    found.sort(key=lambda pull: (getattr(pull, order), pull.number), reverse=descending)
    viewer = call.viewer
    return [shapes.pull_simple(call.world, pull, viewer) for pull in call.page(found)]


@route("GET", "/repos/{owner}/{repo}/pulls/{number}", "pull_requests:read")
def get(call: Call) -> Json:
    return shapes.pull(call.world, call.pull(), call.viewer)


@route("POST", "/repos/{owner}/{repo}/pulls", "pull_requests:write", status=201, content=True)
def create(call: Call) -> Json:
    head, base = call.field("head", str, "PullRequest"), call.field("base", str, "PullRequest")
    owner, _, branch = head.rpartition(":")
    source = call.repository
    if owner and owner.lower() != source.owner.login.lower():
        forks = (r for r in call.world.repositories.values() if r.fork_of == source.full_name)
        source = next((r for r in forks if r.owner.login.lower() == owner.lower()), source)
    pull = pulls.open_pull(
        call.world,
        call.repository,
        author=call.viewer.account,
        title=call.field("title", str, "PullRequest"),
        head=branch,
        base=base,
        body=call.body.get("body") or "",
        draft=bool(call.body.get("draft")),
        head_repository=source,
    )
    return shapes.pull(call.world, pull, call.viewer)


@route("PATCH", "/repos/{owner}/{repo}/pulls/{number}", "pull_requests:write")
def change(call: Call) -> Json:
    """Change title, text, state or base."""
    pull = call.pull()
    change_pull(call, pull)
    return shapes.pull(call.world, pull, call.viewer)


def change_pull(call: Call, pull: Pull) -> None:
    """Apply the fields of the body."""
    body = call.body
    pull.title = body.get("title") or pull.title
    pull.body = body["body"] or "" if "body" in body else pull.body
    if body.get("base"):
        retarget(call, pull, body["base"])
    if body.get("state") == "closed":
        pulls.close(call.world, pull)
    elif body.get("state") == "open":
        pulls.reopen(call.world, pull)
    pull.updated_at = call.world.now()


def retarget(call: Call, pull: Pull, base: str) -> None:
    """Point an open pull request at another base."""
    if pull.state != "OPEN":
        raise HttpError(422, "Cannot change the base branch of a closed pull request.")
    oid = pull.repository.git.branch(base)
    if oid is None:
        raise HttpError(422, f"Proposed base branch '{base}' was not found")
    pull.base, pull.base_oid = base, oid


@route("GET", "/repos/{owner}/{repo}/pulls/{number}/commits", "pull_requests:read")
def commits(call: Call) -> list[Json]:
    """List the commits of a pull request."""
    pull = call.pull()
    found = pull.repository.git.commits_between(pulls.live_base(pull), pull.head_oid)
    return [shapes.commit(call.world, pull.repository, oid) for oid in call.page(found)]


@route("GET", "/repos/{owner}/{repo}/pulls/{number}/files", "pull_requests:read")
def files(call: Call) -> list[Json]:
    """List the files of a pull request."""
    pull = call.pull()
    found = pull.repository.git.pull_changes(pulls.live_base(pull), pull.head_oid)
    return [
        shapes.diff_entry(call.world, pull.repository, pull.head_oid, change)
        for change in call.page(found)
    ]


@route("GET", "/repos/{owner}/{repo}/pulls/{number}/merge", "pull_requests:read")
def is_merged(call: Call) -> Answer:
    """Answer 204 when it was merged, 404 otherwise."""
    if call.pull().state != "MERGED":
        raise HttpError(404, "Not Found")
    return Answer(204)


@route("PUT", "/repos/{owner}/{repo}/pulls/{number}/merge", "contents:write", content=True)
def merge(call: Call) -> Json:
    """Merge, guarded by ``sha`` when it is given."""
    method = call.body.get("merge_method", "merge")
    if method not in pulls.METHODS:
        raise HttpError(422, f"Invalid request.\n\n{method} is not a possible merge method.")
    sha = pulls.merge(
        call.world,
        call.pull(),
        call.viewer,
        method=method,
        expected=call.body.get("sha"),
        title=call.body.get("commit_title"),
        message=call.body.get("commit_message"),
    )
    return {"sha": sha, "merged": True, "message": "Pull Request successfully merged"}


@route(
    "PUT", "/repos/{owner}/{repo}/pulls/{number}/update-branch", "pull_requests:write", status=202
)
def update_branch(call: Call) -> Json:
    """Merge the base into the head, later."""
    pull = call.pull()
    pulls.update_branch(call.world, pull, call.viewer.account, call.body.get("expected_head_sha"))
    url = f"{shapes.repository_url(call.world, pull.repository)}/pulls/{pull.number}"
    return {"message": "Updating pull request branch.", "url": url}


@route("GET", "/repos/{owner}/{repo}/pulls/{number}/reviews", "pull_requests:read")
def reviews(call: Call) -> list[Json]:
    pull = call.pull()
    return [shapes.review(call.world, pull, found) for found in call.page(pull.reviews)]


@route("GET", "/repos/{owner}/{repo}/pulls/{number}/comments", "pull_requests:read")
def review_comments(call: Call) -> list[Json]:
    """Nobody comments on single lines here: whoever asks is told so."""
    call.pull()
    return []


@route("POST", "/repos/{owner}/{repo}/pulls/{number}/reviews", "pull_requests:write", content=True)
def add_review(call: Call) -> Json:
    pull, event = call.pull(), call.body.get("event", "COMMENT")
    if event not in EVENTS:
        raise HttpError(422, f"Unprocessable Entity: {event} is not a possible event.")
    if event != "COMMENT" and call.viewer.account is pull.author:
        raise HttpError(422, "Unprocessable Entity: Can not approve your own pull request")
    review = Review(
        id=call.world.new_id(),
        author=call.viewer.account,
        state=EVENTS[event],
        body=call.body.get("body") or "",
        commit_oid=pull.head_oid,
        submitted_at=call.world.now(),
        pull=pull,
    )
    pull.reviews.append(review)
    return shapes.review(call.world, pull, review)


@route("GET", "/repos/{owner}/{repo}/commits/{sha}/pulls", "pull_requests:read")
def of_commit(call: Call) -> list[Json]:
    """List the pull requests that brought a commit or whose head it is."""
    sha = call.params["sha"]
    found = [p for p in call.repository.pulls if sha in {p.head_oid, p.merge_commit}]
    return [shapes.pull_simple(call.world, pull, call.viewer) for pull in call.page(found)]
