"""Records as REST shows them."""

from __future__ import annotations

from simulator import checks, pulls
from simulator.clock import iso, optional_iso
from simulator.gitstore import FileChange
from simulator.model import (
    Account,
    Activity,
    CheckRun,
    Comment,
    Issue,
    Json,
    Label,
    Pull,
    Repository,
    Review,
    Status,
    Token,
)
from simulator.world import World

USER_LINKS = (
    "followers following gists starred subscriptions organizations repos events received_events"
)
REPOSITORY_LINKS = [
    "archive",
    "assignees",
    "blobs",
    "branches",
    "collaborators",
    "comments",
    "commits",
    "compare",
    "contents",
    "contributors",
    "deployments",
    "downloads",
    "events",
    "forks",
    "git/commits",
    "git/refs",
    "git/tags",
    "hooks",
    "issues/comments",
    "issues/events",
    "issues",
    "keys",
    "labels",
    "languages",
    "merges",
    "milestones",
    "notifications",
    "pulls",
    "releases",
    "stargazers",
    "statuses",
    "subscribers",
    "subscription",
    "tags",
    "teams",
    "git/trees",
]
RENAMED_LINKS = {
    "git/commits": "git_commits",
    "git/refs": "git_refs",
    "git/tags": "git_tags",
    "git/trees": "trees",
    "issues/comments": "issue_comment",
    "issues/events": "issue_events",
}


def api(world: World, path: str) -> str:
    """Return the address of something in REST."""
    return f"{world.web_url}/api/v3{path}"


def repository_url(world: World, repository: Repository) -> str:
    """Return the REST address of a repository."""
    return api(world, f"/repos/{repository.full_name}")


def user(world: World, account: Account) -> Json:
    base = api(world, f"/users/{account.login}")
    return {
        "login": account.login,
        "id": account.id,
        "node_id": world.node_id(account),
        "avatar_url": f"{world.web_url}/avatars/u/{account.id}",
        "gravatar_id": "",
        "url": base,
        "html_url": f"{world.web_url}/{account.login}",
        "type": account.kind,
        "user_view_type": "public",
        "site_admin": False,
        **{f"{name}_url": f"{base}/{name}" for name in USER_LINKS.split()},
    }


def minimal_repository(world: World, repository: Repository) -> Json:
    """Return ``simple-repository``, which ``minimal-repository`` extends."""
    base = repository_url(world, repository)
    return {
        "id": repository.id,
        "node_id": world.node_id(repository),
        "name": repository.name,
        "full_name": repository.full_name,
        "private": repository.private,
        "owner": user(world, repository.owner),
        "html_url": f"{world.web_url}/{repository.full_name}",
        "description": repository.description,
        "fork": repository.fork_of is not None,
        "url": base,
        **{f"{RENAMED_LINKS.get(n, n)}_url": f"{base}/{n}" for n in REPOSITORY_LINKS},
    }


def repository(world: World, found: Repository, token: Token | None) -> Json:
    web = f"{world.web_url}/{found.full_name}"
    open_issues = sum(issue.state == "OPEN" for issue in found.issues.values())
    role = pulls.role_of(found, token) if token else "read"
    ranks = ["read", "triage", "write", "maintain", "admin"]
    names = ["pull", "triage", "push", "maintain", "admin"]
    rank = ranks.index(role or "read")
    return {
        **minimal_repository(world, found),
        "visibility": "private" if found.private else "public",
        "clone_url": f"{web}.git",
        "git_url": f"{web.replace('https:', 'git:')}.git",
        "ssh_url": f"git@{web.removeprefix('https://').replace('/', ':', 1)}.git",
        "svn_url": web,
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "default_branch": found.default_branch,
        "archived": found.archived,
        "disabled": False,
        "size": 0,
        "topics": [],
        "open_issues": open_issues,
        "open_issues_count": open_issues,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.created_at),
        "pushed_at": iso(found.created_at),
        "permissions": {name: index <= rank for index, name in enumerate(names)},
        "temp_clone_token": "",
        "is_template": False,
        "allow_forking": True,
        "web_commit_signoff_required": False,
        **{f"has_{name}": name == "issues" for name in FEATURES},
        **dict.fromkeys(COUNTS, 0),
        **{name: getattr(found, name) for name in SETTINGS},
    }


FEATURES = ("issues", "projects", "wiki", "pages", "discussions", "downloads")
COUNTS = (
    "forks",
    "forks_count",
    "stargazers_count",
    "watchers",
    "watchers_count",
    "network_count",
    "subscribers_count",
)
SETTINGS = (
    "allow_squash_merge",
    "allow_merge_commit",
    "allow_rebase_merge",
    "allow_auto_merge",
    "allow_update_branch",
    "delete_branch_on_merge",
)


def label(world: World, repository: Repository, found: Label) -> Json:
    return {
        "id": found.id,
        "node_id": world.node_id(found),
        "url": f"{repository_url(world, repository)}/labels/{found.name}",
        "name": found.name,
        "description": found.description,
        "color": found.color,
        "default": False,
    }


def comment(world: World, found: Comment) -> Json:
    base = repository_url(world, found.issue.repository)
    web = f"{world.web_url}/{found.issue.repository.full_name}/issues/{found.issue.number}"
    return {
        "id": found.id,
        "node_id": world.node_id(found),
        "url": f"{base}/issues/comments/{found.id}",
        "html_url": f"{web}#issuecomment-{found.id}",
        "issue_url": f"{base}/issues/{found.issue.number}",
        "user": user(world, found.author),
        "body": found.body,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
        "author_association": association(found.issue.repository, found.author),
    }


def association(repository: Repository, account: Account) -> str:
    """Return how an author relates to a repository."""
    if account.login == repository.owner.login:
        return "OWNER"
    return "COLLABORATOR" if account.login in repository.collaborators else "NONE"


def issue(world: World, found: Issue) -> Json:
    """Return ``issue``; for a pull request with its link, as GitHub's issue list does."""
    base = repository_url(world, found.repository)
    url = f"{base}/issues/{found.number}"
    kind = "pull" if isinstance(found, Pull) else "issues"
    web = f"{world.web_url}/{found.repository.full_name}/{kind}/{found.number}"
    shown: Json = {
        "id": found.id,
        "node_id": world.node_id(found),
        "url": url,
        "repository_url": base,
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": web,
        **_common(world, found),
        "state_reason": found.state_reason,
        "comments": len(found.comments),
        # Who closed something is not kept.
        "closed_by": None,
    }
    if isinstance(found, Pull):
        shown["draft"] = found.draft
        shown["pull_request"] = {
            "url": f"{base}/pulls/{found.number}",
            "html_url": web,
            "diff_url": f"{web}.diff",
            "patch_url": f"{web}.patch",
            "merged_at": optional_iso(found.merged_at),
        }
    return shown


def _common(world: World, found: Issue) -> Json:
    return {
        "number": found.number,
        "title": found.title,
        "body": found.body,
        "user": user(world, found.author),
        "labels": [label(world, found.repository, entry) for entry in found.labels],
        "state": "open" if found.state == "OPEN" else "closed",
        "locked": found.locked,
        "assignee": user(world, found.assignees[0]) if found.assignees else None,
        "assignees": [user(world, account) for account in found.assignees],
        "milestone": None,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.updated_at),
        "closed_at": optional_iso(found.closed_at),
        "author_association": association(found.repository, found.author),
        "active_lock_reason": None,
    }


def _side(world: World, repository: Repository | None, ref: str, oid: str, token: Token) -> Json:
    owner = repository.owner if repository else world.account("ghost")
    return {
        "label": f"{owner.login}:{ref}",
        "ref": ref,
        "sha": oid,
        "user": user(world, owner),
        "repo": None if repository is None else globals()["repository"](world, repository, token),
    }


def pull_simple(world: World, found: Pull, token: Token) -> Json:
    """Return ``pull-request-simple``: no mergeability in lists."""
    base = repository_url(world, found.repository)
    url = f"{base}/pulls/{found.number}"
    web = f"{world.web_url}/{found.repository.full_name}/pull/{found.number}"
    links = {
        "self": url,
        "html": web,
        "issue": f"{base}/issues/{found.number}",
        "comments": f"{base}/issues/{found.number}/comments",
        "review_comments": f"{url}/comments",
        "review_comment": f"{base}/pulls/comments{{/number}}",
        "commits": f"{url}/commits",
        "statuses": f"{base}/statuses/{found.head_oid}",
    }
    source = world.repository(found.head_repository)
    return {
        "url": url,
        "id": found.id,
        "node_id": world.node_id(found),
        "html_url": web,
        "diff_url": f"{web}.diff",
        "patch_url": f"{web}.patch",
        "issue_url": links["issue"],
        **{f"{name}_url": links[name] for name in links if name not in {"self", "html", "issue"}},
        **_common(world, found),
        "merged_at": optional_iso(found.merged_at),
        "merge_commit_sha": found.merge_commit,
        "requested_reviewers": [],
        "requested_teams": [],
        "draft": found.draft,
        "auto_merge": None,
        "head": _side(world, source, found.head, found.head_oid, token),
        "base": _side(world, found.repository, found.base, pulls.live_base(found), token),
        "_links": {name: {"href": href} for name, href in links.items()},
    }


def pull(world: World, found: Pull, token: Token) -> Json:
    """Return ``pull-request``; reading it starts the computation of mergeability."""
    answer = pulls.mergeable(world, found)
    state = "unknown" if found.state != "OPEN" else pulls.merge_state(world, found, token).lower()
    changes = found.repository.git.pull_changes(pulls.live_base(found), found.head_oid)
    commits = found.repository.git.commits_between(pulls.live_base(found), found.head_oid)
    return {
        **pull_simple(world, found, token),
        "merged": found.state == "MERGED",
        "mergeable": {"MERGEABLE": True, "CONFLICTING": False}.get(answer),
        "rebaseable": None,
        "mergeable_state": state,
        "merged_by": user(world, found.merged_by) if found.merged_by else None,
        "comments": len(found.comments),
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": len(commits),
        "additions": sum(change.additions for change in changes),
        "deletions": sum(change.deletions for change in changes),
        "changed_files": len(changes),
    }


def review(world: World, found_pull: Pull, found: Review) -> Json:
    url = f"{repository_url(world, found_pull.repository)}/pulls/{found_pull.number}"
    web = f"{world.web_url}/{found_pull.repository.full_name}/pull/{found_pull.number}"
    page = f"{web}#pullrequestreview-{found.id}"
    return {
        "id": found.id,
        "node_id": world.node_id(found),
        "user": user(world, found.author),
        "body": found.body,
        "state": found.state,
        "html_url": page,
        "pull_request_url": url,
        "author_association": association(found_pull.repository, found.author),
        "_links": {"html": {"href": page}, "pull_request": {"href": url}},
        "submitted_at": iso(found.submitted_at),
        "commit_id": found.commit_oid,
    }


STATUS_WORDS = {"A": "added", "D": "removed", "M": "modified", "T": "changed"}


def diff_entry(world: World, repository: Repository, oid: str, change: FileChange) -> Json:
    web = f"{world.web_url}/{repository.full_name}"
    contents = f"{repository_url(world, repository)}/contents/{change.path}?ref={oid}"
    return {
        "sha": change.blob,
        "filename": change.path,
        "status": STATUS_WORDS[change.status],
        "additions": change.additions,
        "deletions": change.deletions,
        "changes": change.additions + change.deletions,
        "blob_url": f"{web}/blob/{oid}/{change.path}",
        "raw_url": f"{web}/raw/{oid}/{change.path}",
        "contents_url": contents,
    }


def commit(world: World, repository: Repository, oid: str) -> Json:
    parts = repository.git.commit(oid)
    base = repository_url(world, repository)
    web = f"{world.web_url}/{repository.full_name}/commit"
    shown = git_commit(world, repository, oid)
    return {
        "sha": oid,
        "node_id": f"C_{oid}",
        "url": f"{base}/commits/{oid}",
        "html_url": f"{web}/{oid}",
        "comments_url": f"{base}/commits/{oid}/comments",
        "commit": {
            "url": f"{base}/git/commits/{oid}",
            "author": shown["author"],
            "committer": shown["committer"],
            "message": parts["message"],
            "comment_count": 0,
            "tree": shown["tree"],
            "verification": shown["verification"],
        },
        "author": account_of(world, parts["author_email"]),
        "committer": account_of(world, parts["committer_email"]),
        "parents": [
            {"sha": parent, "url": f"{base}/commits/{parent}", "html_url": f"{web}/{parent}"}
            for parent in parts["parents"].split()
        ],
    }


def account_of(world: World, email: str) -> Json | None:
    """Return the account to which a commit's address belongs, if any."""
    for account in world.accounts.values():
        if account.email == email:
            return user(world, account)
    return None


def git_commit(world: World, repository: Repository, oid: str) -> Json:
    parts = repository.git.commit(oid)
    base = repository_url(world, repository)
    web = f"{world.web_url}/{repository.full_name}/commit"

    def person(role: str) -> Json:
        moment = iso(float(parts[f"{role}_time"]))
        return {"name": parts[f"{role}_name"], "email": parts[f"{role}_email"], "date": moment}

    return {
        "sha": oid,
        "node_id": f"C_{oid}",
        "url": f"{base}/git/commits/{oid}",
        "html_url": f"{web}/{oid}",
        "author": person("author"),
        "committer": person("committer"),
        "tree": {"sha": parts["tree"], "url": f"{base}/git/trees/{parts['tree']}"},
        "message": parts["message"],
        "parents": [
            {"sha": parent, "url": f"{base}/git/commits/{parent}", "html_url": f"{web}/{parent}"}
            for parent in parts["parents"].split()
        ],
        "verification": {
            "verified": False,
            "reason": "unsigned",
            "signature": None,
            "payload": None,
            "verified_at": None,
        },
    }


def check_run(world: World, repository: Repository, found: CheckRun) -> Json:
    url = f"{repository_url(world, repository)}/check-runs/{found.id}"
    web = f"{world.web_url}/{repository.full_name}/runs/{found.id}"
    return {
        "id": found.id,
        "head_sha": found.head_oid,
        "node_id": world.node_id(found),
        "external_id": "",
        "url": url,
        "html_url": web,
        "details_url": web,
        "status": found.status,
        "conclusion": found.conclusion,
        "started_at": optional_iso(found.started_at),
        "completed_at": optional_iso(found.completed_at),
        "output": {
            "title": None,
            "summary": None,
            "text": None,
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "name": found.name,
        "check_suite": {"id": found.suite_id},
        "app": check_app(world, found.app),
        "pull_requests": [],
    }


def activity(world: World, found: Activity) -> Json:
    return {
        "id": found.id,
        "node_id": f"PSH_{found.id}",
        "before": found.before,
        "after": found.after,
        "ref": found.ref,
        "timestamp": iso(found.created_at),
        "activity_type": found.kind,
        "actor": user(world, found.actor),
    }


def check_app(world: World, slug: str) -> Json:
    """Return ``integration`` for the App that reported a check."""
    owner = world.account("github")
    begun = iso(1_530_000_000)
    return {
        "id": checks.app_id(slug),
        "slug": slug,
        "node_id": f"A_{slug}",
        "client_id": f"Iv1.{slug}",
        "owner": user(world, owner),
        "name": slug.replace("-", " ").title(),
        "description": "",
        "external_url": "https://help.github.com",
        "html_url": f"{world.web_url}/apps/{slug}",
        "created_at": begun,
        "updated_at": begun,
        "permissions": {"checks": "write", "contents": "read", "metadata": "read"},
        "events": [],
    }


def status(world: World, repository: Repository, oid: str, found: Status) -> Json:
    return {
        "url": f"{repository_url(world, repository)}/statuses/{oid}",
        "avatar_url": f"{world.web_url}/avatars/u/{found.creator.id}",
        "id": found.id,
        "node_id": world.node_id(found),
        "state": found.state,
        "description": found.description,
        "target_url": found.target_url,
        "context": found.context,
        "created_at": iso(found.created_at),
        "updated_at": iso(found.created_at),
        "creator": user(world, found.creator),
    }


def combined_status(world: World, repository: Repository, oid: str) -> Json:
    """Return ``combined-commit-status``: statuses only, checks do not count."""
    url = f"{repository_url(world, repository)}/commits/{oid}"
    found = [s for s in checks.latest(repository, oid) if isinstance(s, Status)]
    states = {entry.state for entry in found}
    state = "failure" if states & {"failure", "error"} else "pending"
    if states == {"success"}:
        state = "success"
    return {
        "state": state,
        "statuses": [status(world, repository, oid, entry) for entry in found],
        "sha": oid,
        "total_count": len(found),
        "repository": minimal_repository(world, repository),
        "commit_url": url,
        "url": f"{url}/status",
    }
