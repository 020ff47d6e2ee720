"""What GraphQL can change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphql import GraphQLResolveInfo

from simulator import merge_queue
from simulator import pulls as domain
from simulator.clock import iso
from simulator.gitstore import ConflictError, GitError
from simulator.graphql.fields import ApiError, context, resolver
from simulator.graphql.queries import commit_of, ref_of, require
from simulator.model import Comment, Issue, Label, Pull, Repository, Review
from simulator.rest.issues import add_comment, add_issue, ensure_label, relabel

Info = GraphQLResolveInfo[Any]
Input = dict[str, Any]
Mutation = Callable[[Info, Input], dict[str, Any]]
EVENTS = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}


def mutation(name: str) -> Callable[[Mutation], Mutation]:
    """Register a mutation; refusals become errors, the client's id is echoed."""

    def register(function: Mutation) -> Mutation:
        def run(_source: Any, info: Info, input: Input) -> dict[str, Any]:  # noqa: A002
            try:
                payload = function(info, input)
            except domain.RefusedError as error:
                raise ApiError("UNPROCESSABLE", error.message) from error
            return {"clientMutationId": input.get("clientMutationId"), **payload}

        resolver(f"Mutation.{name}")(run)
        return function

    return register


def _find(info: Info, node_id: str, *kinds: type) -> Any:
    found = context(info).world.nodes.get(node_id)
    if not isinstance(found, kinds):
        message = f"Could not resolve to a node with the global id of '{node_id}'"
        raise ApiError("NOT_FOUND", message)
    return found


def _pull(info: Info, node_id: str, permission: str = "pull_requests") -> Pull:
    found: Pull = _find(info, node_id, Pull)
    require(info, found.repository, permission, "write")
    return found


def _issue(info: Info, node_id: str) -> Issue:
    found: Issue = _find(info, node_id, Issue)
    permission = "pull_requests" if isinstance(found, Pull) else "issues"
    require(info, found.repository, permission, "write")
    return found


@mutation("mergePullRequest")
def merge_pull_request(info: Info, given: Input) -> dict[str, Any]:
    pull = _pull(info, given["pullRequestId"], "contents")
    domain.merge(
        context(info).world,
        pull,
        context(info).token,
        method=given.get("mergeMethod", "MERGE").lower(),
        expected=given.get("expectedHeadOid"),
        title=given.get("commitHeadline"),
        message=given.get("commitBody"),
    )
    return {"pullRequest": pull, "actor": context(info).token.account}


@mutation("updatePullRequestBranch")
def update_pull_request_branch(info: Info, given: Input) -> dict[str, Any]:
    """Bring the base into the head."""
    pull = _pull(info, given["pullRequestId"])
    actor = context(info).token.account
    method = given.get("updateMethod", "MERGE")
    domain.update_branch(context(info).world, pull, actor, given.get("expectedHeadOid"), method)
    return {"pullRequest": pull}


@mutation("closePullRequest")
def close_pull_request(info: Info, given: Input) -> dict[str, Any]:
    pull = _pull(info, given["pullRequestId"])
    domain.close(context(info).world, pull)
    return {"pullRequest": pull}


@mutation("reopenPullRequest")
def reopen_pull_request(info: Info, given: Input) -> dict[str, Any]:
    pull = _pull(info, given["pullRequestId"])
    domain.reopen(context(info).world, pull)
    return {"pullRequest": pull}


@mutation("createPullRequest")
def create_pull_request(info: Info, given: Input) -> dict[str, Any]:
    repository: Repository = _find(info, given["repositoryId"], Repository)
    require(info, repository, "pull_requests", "write")
    source = repository
    if given.get("headRepositoryId"):
        source = _find(info, given["headRepositoryId"], Repository)
    pull = domain.open_pull(
        context(info).world,
        repository,
        author=context(info).token.account,
        title=given["title"],
        head=given["headRefName"].rpartition(":")[2],
        base=given["baseRefName"],
        body=given.get("body") or "",
        draft=bool(given.get("draft")),
        head_repository=source,
    )
    return {"pullRequest": pull}


@mutation("updatePullRequest")
def update_pull_request(info: Info, given: Input) -> dict[str, Any]:
    """Change title, text, base or state."""
    pull, world = _pull(info, given["pullRequestId"]), context(info).world
    pull.title = given.get("title") or pull.title
    pull.body = given["body"] if given.get("body") is not None else pull.body
    base = given.get("baseRefName")
    if base:
        oid = pull.repository.git.branch(base)
        if oid is None or pull.state != "OPEN":
            raise domain.RefusedError(422, f"Proposed base branch '{base}' was not found")
        pull.base, pull.base_oid = base, oid
    if given.get("state") == "CLOSED":
        domain.close(world, pull)
    elif given.get("state") == "OPEN":
        domain.reopen(world, pull)
    pull.updated_at = world.now()
    return {"pullRequest": pull, "actor": context(info).token.account}


@mutation("convertPullRequestToDraft")
def convert_to_draft(info: Info, given: Input) -> dict[str, Any]:
    pull = _pull(info, given["pullRequestId"])
    pull.draft = True
    return {"pullRequest": pull}


@mutation("markPullRequestReadyForReview")
def mark_ready(info: Info, given: Input) -> dict[str, Any]:
    """Say that it is no draft any more."""
    pull = _pull(info, given["pullRequestId"])
    pull.draft = False
    return {"pullRequest": pull}


@mutation("enablePullRequestAutoMerge")
def enable_auto_merge(info: Info, given: Input) -> dict[str, Any]:
    """Note that GitHub shall merge by itself."""
    pull = _pull(info, given["pullRequestId"])
    if not pull.repository.allow_auto_merge:
        raise domain.RefusedError(422, "Auto merge is not allowed for this repository")
    pull.auto_merge = {
        "enabledAt": iso(context(info).world.now()),
        "enabledBy": context(info).token.account,
        "mergeMethod": given.get("mergeMethod", "MERGE"),
        "pullRequest": pull,
        "commitHeadline": given.get("commitHeadline"),
        "commitBody": given.get("commitBody"),
        "authorEmail": given.get("authorEmail"),
    }
    return {"pullRequest": pull, "actor": context(info).token.account}


@mutation("disablePullRequestAutoMerge")
def disable_auto_merge(info: Info, given: Input) -> dict[str, Any]:
    pull = _pull(info, given["pullRequestId"])
    pull.auto_merge = None
    return {"pullRequest": pull, "actor": context(info).token.account}


@mutation("enqueuePullRequest")
def enqueue(info: Info, given: Input) -> dict[str, Any]:
    """Put into the merge queue."""
    pull = _pull(info, given["pullRequestId"])
    expected = given.get("expectedHeadOid")
    if expected and expected != pull.head_oid:
        raise domain.RefusedError(409, "Head branch was modified. Review and try the merge again.")
    found = context(info)
    entry = merge_queue.enqueue(found.world, pull, found.token, jump=bool(given.get("jump")))
    return {"mergeQueueEntry": entry}


@mutation("dequeuePullRequest")
def dequeue(info: Info, given: Input) -> dict[str, Any]:
    """Take out of the merge queue."""
    pull = _pull(info, given["id"])
    entry = merge_queue.entry_of(pull)
    if entry is None:
        raise domain.RefusedError(422, "The pull request is not in the queue")
    merge_queue.leave(pull.repository, entry, "dequeued")
    return {"mergeQueueEntry": entry}


@mutation("addComment")
def comment(info: Info, given: Input) -> dict[str, Any]:
    issue = _issue(info, given["subjectId"])
    actor = context(info).token.account
    made: Comment = add_comment(context(info).world, issue, actor, given["body"])
    edge = {"node": made, "cursor": str(made.id)}
    return {"subject": issue, "commentEdge": edge, "timelineEdge": None}


@mutation("addLabelsToLabelable")
def add_labels(info: Info, given: Input) -> dict[str, Any]:
    issue = _issue(info, given["labelableId"])
    labels = [_find(info, entry, Label) for entry in given["labelIds"]]
    new = [label for label in labels if label not in issue.labels]
    relabel(context(info).world, issue, issue.labels + new, context(info).token.account)
    issue.updated_at = context(info).world.now()
    return {"labelable": issue}


@mutation("removeLabelsFromLabelable")
def remove_labels(info: Info, given: Input) -> dict[str, Any]:
    issue = _issue(info, given["labelableId"])
    labels = [_find(info, entry, Label) for entry in given["labelIds"]]
    kept = [label for label in issue.labels if label not in labels]
    relabel(context(info).world, issue, kept, context(info).token.account)
    issue.updated_at = context(info).world.now()
    return {"labelable": issue}


@mutation("createLabel")
def create_label(info: Info, given: Input) -> dict[str, Any]:
    repository: Repository = _find(info, given["repositoryId"], Repository)
    require(info, repository, "issues", "write")
    if given["name"].lower() in repository.labels:
        raise domain.RefusedError(422, "Name has already been taken")
    label = ensure_label(context(info).world, repository, given["name"], given["color"])
    label.description = given.get("description") or ""
    return {"label": label}


@mutation("createIssue")
def create_issue(info: Info, given: Input) -> dict[str, Any]:
    repository: Repository = _find(info, given["repositoryId"], Repository)
    require(info, repository, "issues", "write")
    actor = context(info).token.account
    body = given.get("body") or ""
    issue = add_issue(context(info).world, repository, actor, given["title"], body)
    labels = [_find(info, entry, Label) for entry in given.get("labelIds") or []]
    relabel(context(info).world, issue, labels, actor)
    return {"issue": issue}


@mutation("closeIssue")
def close_issue(info: Info, given: Input) -> dict[str, Any]:
    issue = _issue(info, given["issueId"])
    reason = (given.get("stateReason") or "COMPLETED").lower()
    domain.close(context(info).world, issue, reason=reason)
    return {"issue": issue}


@mutation("addPullRequestReview")
def add_review(info: Info, given: Input) -> dict[str, Any]:
    pull, world = _pull(info, given["pullRequestId"]), context(info).world
    actor = context(info).token.account
    event = given.get("event") or "COMMENT"
    if actor is pull.author and event != "COMMENT":
        raise domain.RefusedError(422, "Can not approve your own pull request")
    body = given.get("body") or ""
    review = Review(world.new_id(), actor, EVENTS[event], body, pull.head_oid, world.now(), pull)
    pull.reviews.append(review)
    return {"pullRequestReview": review, "reviewEdge": None}


@mutation("createRef")
def create_ref(info: Info, given: Input) -> dict[str, Any]:
    """Make a branch or tag."""
    repository: Repository = _find(info, given["repositoryId"], Repository)
    require(info, repository, "contents", "write")
    if given["name"] in repository.git.refs:
        message = f'A ref named "{given["name"]}" already exists in the repository.'
        raise domain.RefusedError(422, message)
    _move(info, repository, given["name"], given["oid"])
    return {"ref": ref_of(repository, given["name"])}


def _move(info: Info, repository: Repository, ref: str, oid: str) -> None:
    try:
        if ref.startswith("refs/heads/"):
            name = ref.removeprefix("refs/heads/")
            domain.move_branch(context(info).world, repository, name, oid)
        else:
            repository.git.update_ref(ref, oid)
    except GitError as error:
        raise domain.RefusedError(422, str(error)) from error


@mutation("updateRef")
def update_ref(info: Info, given: Input) -> dict[str, Any]:
    """Move a branch or tag."""
    ref: dict[str, Any] = _find(info, given["refId"], dict)
    repository: Repository = ref["repository"]
    require(info, repository, "contents", "write")
    current = repository.git.refs.get(ref["qualified"])
    if current is None:
        raise domain.RefusedError(422, "Reference does not exist")
    if not given.get("force") and repository.git.compare(current, given["oid"])[1]:
        raise domain.RefusedError(422, "Update is not a fast forward")
    _move(info, repository, ref["qualified"], given["oid"])
    return {"ref": ref_of(repository, ref["qualified"])}


@mutation("deleteRef")
def delete_ref(info: Info, given: Input) -> dict[str, Any]:
    """Delete a branch or tag."""
    ref: dict[str, Any] = _find(info, given["refId"], dict)
    repository: Repository = ref["repository"]
    require(info, repository, "contents", "write")
    if ref["qualified"] not in repository.git.refs:
        raise domain.RefusedError(422, "Reference does not exist")
    name = ref["qualified"].removeprefix("refs/heads/")
    if name == repository.default_branch:
        raise domain.RefusedError(422, "Cannot delete the default branch")
    if ref["qualified"].startswith("refs/heads/"):
        domain.delete_branch(context(info).world, repository, name)
    else:
        repository.git.delete_ref(ref["qualified"])
    return {}


@mutation("mergeBranch")
def merge_branch(info: Info, given: Input) -> dict[str, Any]:
    """Merge a revision into a branch."""
    repository: Repository = _find(info, given["repositoryId"], Repository)
    require(info, repository, "contents", "write")
    git, world = repository.git, context(info).world
    base, head = git.branch(given["base"]), git.resolve(given["head"])
    if base is None or head is None:
        raise domain.RefusedError(404, f"No such {'base' if base is None else 'head'}")
    if git.compare(base, head)[0] == 0:
        return {"mergeCommit": None}
    try:
        tree = git.merged_tree(base, head)
    except ConflictError as error:
        raise domain.RefusedError(409, f"Failed to merge: {error}") from error
    text = given.get("commitMessage") or f"Merge {given['head']} into {given['base']}"
    author = domain.identity(context(info).token.account)
    new = git.commit_tree(tree, [base, head], text, author, world.now())
    domain.move_branch(world, repository, given["base"], new, old=base)
    return {"mergeCommit": commit_of(repository, new)}
