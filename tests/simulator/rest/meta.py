"""The service itself: its version, limits, and who is calling."""

from __future__ import annotations

from simulator.clock import iso
from simulator.http import Answer, HttpError
from simulator.limits import RESOURCES, Limits
from simulator.model import Json
from simulator.rest import shapes
from simulator.rest.router import Call, route

# What the root tells; GitHub's whole list, most of which does not exist here.
PLACES = {
    "authorizations_url": "/authorizations",
    "code_search_url": "/search/code?q={query}",
    "commit_search_url": "/search/commits?q={query}",
    "current_user_authorizations_html_url": "/settings/connections/applications{/client_id}",
    "current_user_repositories_url": "/user/repos",
    "current_user_url": "/user",
    "emails_url": "/user/emails",
    "emojis_url": "/emojis",
    "events_url": "/events",
    "feeds_url": "/feeds",
    "followers_url": "/user/followers",
    "following_url": "/user/following{/target}",
    "gists_url": "/gists{/gist_id}",
    "hub_url": "/hub",
    "issue_search_url": "/search/issues?q={query}",
    "issues_url": "/issues",
    "keys_url": "/user/keys",
    "label_search_url": "/search/labels?q={query}&repository_id={repository_id}",
    "notifications_url": "/notifications",
    "organization_repositories_url": "/orgs/{org}/repos",
    "organization_teams_url": "/orgs/{org}/teams",
    "organization_url": "/orgs/{org}",
    "public_gists_url": "/gists/public",
    "rate_limit_url": "/rate_limit",
    "topic_search_url": "/search/topics?q={query}{&page,per_page}",
    "repository_search_url": "/search/repositories?q={query}",
    "repository_url": "/repos/{owner}/{repo}",
    "starred_gists_url": "/gists/starred",
    "starred_url": "/user/starred{/owner}{/repo}",
    "user_organizations_url": "/user/orgs",
    "user_repositories_url": "/users/{user}/repos",
    "user_search_url": "/search/users?q={query}",
    "user_url": "/users/{user}",
}


@route("GET", "/meta", authentication="none")
def meta(call: Call) -> Json:
    """Say that this is a GitHub of one's own, and which."""
    return {"verifiable_password_authentication": False, "installed_version": "3.19.0"}


@route("GET", "/", authentication="none")
def root(call: Call) -> Answer:
    base = shapes.api(call.world, "")
    return Answer(200, {name: f"{base}{path}" for name, path in PLACES.items()})


@route("GET", "/rate_limit", authentication="free")
def rate_limit(call: Call) -> Json:
    """Show the buckets; asking costs nothing."""
    limits: Limits = call.extra["limits"]
    caller: str = call.extra["caller"]
    now = call.world.now()
    resources = {}
    for name in RESOURCES:
        bucket = limits.bucket(caller, name, now)
        resources[name] = {
            "limit": bucket.limit,
            "used": bucket.used,
            "remaining": bucket.remaining,
            "reset": int(bucket.reset_at),
        }
    return {"resources": resources, "rate": resources["core"]}


@route("GET", "/user")
def current_user(call: Call) -> Json:
    """Show the caller's own account."""
    if call.viewer.permissions is not None:
        raise HttpError(403, "Resource not accessible by integration")
    return account(call, call.viewer.account.login)


@route("GET", "/users/{login}")
def any_user(call: Call) -> Json:
    return account(call, call.params["login"])


def account(call: Call, login: str) -> Json:
    found = call.world.accounts.get(login.lower())
    if found is None:
        raise HttpError(404, "Not Found")
    nothing = dict.fromkeys(("bio", "company", "email", "hireable", "location"))
    zeros = dict.fromkeys(("followers", "following", "public_gists", "public_repos"), 0)
    begun = iso(1_600_000_000)
    return {
        **shapes.user(call.world, found),
        **nothing,
        **zeros,
        "name": found.name,
        "blog": "",
        "created_at": begun,
        "updated_at": begun,
    }
