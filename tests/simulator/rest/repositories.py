"""Repositories, their commits and contents."""

from __future__ import annotations

import base64

from simulator.gitstore import ConflictError
from simulator.http import Answer, HttpError
from simulator.model import Json
from simulator.pulls import identity, move_branch, role_of
from simulator.rest import shapes
from simulator.rest.router import Call, route

CHANGEABLE = {*shapes.SETTINGS, "description", "archived", "default_branch"}


@route("GET", "/repos/{owner}/{repo}", "metadata:read")
def get(call: Call) -> Json:
    return shapes.repository(call.world, call.repository, call.token)


@route("PATCH", "/repos/{owner}/{repo}", "administration:write")
def change(call: Call) -> Json:
    repository = call.repository
    for name, value in call.body.items():
        if name in CHANGEABLE:
            setattr(repository, name, value)
        elif name == "private":
            repository.private = bool(value)
        elif name == "visibility":
            repository.private = value != "public"
    return shapes.repository(call.world, repository, call.token)


@route("GET", "/user/repos")
def mine(call: Call) -> list[Json]:
    """List the repositories that the caller sees."""
    world, token = call.world, call.viewer
    seen = [r for r in world.repositories.values() if role_of(r, token)]
    return [shapes.repository(world, found, token) for found in call.page(seen)]


@route("GET", "/orgs/{owner}/repos")
@route("GET", "/users/{owner}/repos")
def of_owner(call: Call) -> list[Json]:
    world, token, owner = call.world, call.viewer, call.params["owner"].lower()
    seen = [
        r
        for r in world.repositories.values()
        if r.owner.login.lower() == owner and role_of(r, token)
    ]
    return [shapes.repository(world, found, token) for found in call.page(seen)]


def resolve(call: Call, revision: str) -> str:
    """Return the commit that a path names, or raise as GitHub does."""
    oid = call.repository.git.resolve(revision)
    if oid is None:
        raise HttpError(422, f"No commit found for SHA: {revision}")
    return oid


@route("GET", "/repos/{owner}/{repo}/commits", "contents:read")
def commits(call: Call) -> list[Json]:
    """List the newest commits of a branch."""
    oid = resolve(call, call.query("sha", call.repository.default_branch))
    found = call.page(call.repository.git.log(oid, 1000))
    return [shapes.commit(call.world, call.repository, entry) for entry in found]


@route("GET", "/repos/{owner}/{repo}/commits/{ref...}", "contents:read")
def commit(call: Call) -> Json:
    """Show one commit with its files."""
    repository = call.repository
    oid = resolve(call, call.params["ref"])
    parents = repository.git.parents(oid)
    changes = repository.git.changes(parents[0], oid) if parents else []
    added = sum(change.additions for change in changes)
    removed = sum(change.deletions for change in changes)
    return {
        **shapes.commit(call.world, repository, oid),
        "stats": {"additions": added, "deletions": removed, "total": added + removed},
        "files": [shapes.diff_entry(call.world, repository, oid, change) for change in changes],
    }


@route("GET", "/repos/{owner}/{repo}/git/commits/{sha}", "contents:read")
def git_commit(call: Call) -> Json:
    return shapes.git_commit(call.world, call.repository, resolve(call, call.params["sha"]))


@route("GET", "/repos/{owner}/{repo}/compare/{basehead...}", "contents:read")
def compare(call: Call) -> Json:
    world, repository, git = call.world, call.repository, call.repository.git
    base, _, head = call.params["basehead"].partition("...")
    oids = [git.resolve(name.rpartition(":")[2]) for name in (base, head)]
    if None in oids:
        raise HttpError(404, "Not Found")
    base_oid, head_oid = str(oids[0]), str(oids[1])
    ahead, behind = git.compare(base_oid, head_oid)
    status = {(False, False): "identical", (True, False): "ahead", (False, True): "behind"}
    common = git.merge_base(base_oid, head_oid) or base_oid
    web = f"{world.web_url}/{repository.full_name}/compare/{base}...{head}"
    listed = git.commits_between(base_oid, head_oid)
    return {
        "url": f"{shapes.repository_url(world, repository)}/compare/{base}...{head}",
        "html_url": web,
        "permalink_url": web,
        "diff_url": f"{web}.diff",
        "patch_url": f"{web}.patch",
        "base_commit": shapes.commit(world, repository, base_oid),
        "merge_base_commit": shapes.commit(world, repository, common),
        "status": status.get((ahead > 0, behind > 0), "diverged"),
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": len(listed),
        "commits": [shapes.commit(world, repository, oid) for oid in call.page(listed)],
        "files": [
            shapes.diff_entry(world, repository, head_oid, change)
            for change in git.changes(common, head_oid)[:300]
        ],
    }


@route("POST", "/repos/{owner}/{repo}/merges", "contents:write", status=201, content=True)
def merge(call: Call) -> Answer:
    """Merge one branch into another without a pull request."""
    world, repository, git = call.world, call.repository, call.repository.git
    base = call.field("base", str, "Merge")
    head = call.field("head", str, "Merge")
    base_oid, head_oid = git.branch(base), git.resolve(head)
    if base_oid is None or head_oid is None:
        raise HttpError(404, f"{'Base' if base_oid is None else 'Head'} does not exist")
    if git.compare(base_oid, head_oid)[0] == 0:
        return Answer(204)
    try:
        tree = git.merged_tree(base_oid, head_oid)
    except ConflictError as error:
        raise HttpError(409, "Merge conflict") from error
    message = call.body.get("commit_message") or f"Merge {head} into {base}"
    actor = identity(call.viewer.account)
    new = git.commit_tree(tree, [base_oid, head_oid], message, actor, world.now())
    move_branch(world, repository, base, new, old=base_oid)
    return Answer(201, shapes.commit(world, repository, new))


@route("GET", "/repos/{owner}/{repo}/contents/{path...}", "contents:read")
def contents(call: Call) -> Json:
    world, repository, path = call.world, call.repository, call.params["path"]
    ref = call.query("ref", repository.default_branch)
    blob = repository.git.files(resolve(call, ref)).get(path)
    if blob is None:
        raise HttpError(404, "Not Found")
    content = repository.git.blob(blob)
    base = shapes.repository_url(world, repository)
    url, web = f"{base}/contents/{path}?ref={ref}", f"{world.web_url}/{repository.full_name}"
    git_url, page = f"{base}/git/blobs/{blob}", f"{web}/blob/{ref}/{path}"
    return {
        "type": "file",
        "encoding": "base64",
        "size": len(content),
        "name": path.rpartition("/")[2],
        "path": path,
        "content": base64.b64encode(content).decode(),
        "sha": blob,
        "url": url,
        "git_url": git_url,
        "html_url": page,
        "download_url": f"{web}/raw/{ref}/{path}",
        "_links": {"self": url, "git": git_url, "html": page},
    }
