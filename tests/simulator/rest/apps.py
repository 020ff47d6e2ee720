"""GitHub Apps: their installations and the tokens that these are given."""

from __future__ import annotations

from simulator import auth
from simulator.clock import iso
from simulator.http import HttpError
from simulator.model import App, Installation, Json, Token
from simulator.rest import shapes
from simulator.rest.router import Call, route

TOKEN_SECONDS = 3600.0


def _app(call: Call) -> App:
    return auth.identify_app(call.world, call.request)


def _installation(call: Call, found: Installation) -> Json:
    url = shapes.api(call.world, f"/app/installations/{found.id}")
    begun = iso(1_600_000_000)
    return {
        "id": found.id,
        "account": shapes.user(call.world, found.account),
        "repository_selection": "all" if found.repositories is None else "selected",
        "access_tokens_url": f"{url}/access_tokens",
        "repositories_url": shapes.api(call.world, "/installation/repositories"),
        "html_url": f"{call.world.web_url}/settings/installations/{found.id}",
        "app_id": found.app.id,
        "app_slug": found.app.slug,
        "client_id": found.app.client_id,
        "target_id": found.account.id,
        "target_type": found.account.kind,
        "permissions": found.app.permissions,
        "events": [],
        "created_at": begun,
        "updated_at": begun,
        "single_file_name": None,
        "has_multiple_single_files": False,
        "single_file_paths": [],
        "suspended_at": None,
        "suspended_by": None,
    }


@route("GET", "/app", authentication="app")
def current(call: Call) -> Json:
    """Show the App that is calling."""
    found = _app(call)
    shown = shapes.check_app(call.world, found.slug)
    return {
        **shown,
        "id": found.id,
        "client_id": found.client_id,
        "permissions": found.permissions,
        "installations_count": len(_mine(call, found)),
    }


def _mine(call: Call, app: App) -> list[Installation]:
    return [found for found in call.world.installations.values() if found.app is app]


@route("GET", "/app/installations", authentication="app")
def installations(call: Call) -> list[Json]:
    found = _mine(call, _app(call))
    return [_installation(call, entry) for entry in call.page(found)]


@route("GET", "/repos/{owner}/{repo}/installation", authentication="app")
def of_repository(call: Call) -> Json:
    """Show the installation that covers a repository."""
    repository = call.repository
    for found in _mine(call, _app(call)):
        covered = found.repositories is None or repository.full_name in found.repositories
        if found.account is repository.owner and covered:
            return _installation(call, found)
    raise HttpError(404, "Not Found")


@route("GET", "/orgs/{org}/installation", authentication="app")
@route("GET", "/users/{org}/installation", authentication="app")
def of_account(call: Call) -> Json:
    """Show the installation on an account."""
    for found in _mine(call, _app(call)):
        if found.account.login.lower() == call.params["org"].lower():
            return _installation(call, found)
    raise HttpError(404, "Not Found")


@route("POST", "/app/installations/{number}/access_tokens", authentication="app", status=201)
def access_token(call: Call) -> Json:
    """Mint a token of one hour, narrowed to what the body names."""
    app = _app(call)
    found = call.world.installations.get(call.number)
    if found is None or found.app is not app:
        raise HttpError(404, "Not Found")
    permissions = _narrowed(app, call.body.get("permissions"))
    names = _repositories(call, found)
    expires = call.world.now() + TOKEN_SECONDS
    bot = call.world.account(f"{app.slug}[bot]", "Bot")
    token = Token(call.world.secret("ghs_"), bot, permissions, names, found, expires)
    call.world.tokens[token.value] = token
    shown: Json = {
        "token": token.value,
        "expires_at": iso(expires),
        "permissions": permissions,
        "repository_selection": "all" if names is None else "selected",
    }
    if "repositories" in call.body or "repository_ids" in call.body:
        seen = [r for r in call.world.repositories.values() if r.full_name in (names or ())]
        shown["repositories"] = [shapes.repository(call.world, r, token) for r in seen]
    return shown


def _narrowed(app: App, wanted: dict[str, str] | None) -> dict[str, str]:
    if wanted is None:
        return dict(app.permissions)
    for name, level in wanted.items():
        if auth.LEVELS.get(level, 9) > auth.LEVELS.get(app.permissions.get(name, ""), 0):
            message = "The permissions requested are not granted to this installation."
            raise HttpError(422, message)
    return {"metadata": "read", **wanted}


def _repositories(call: Call, found: Installation) -> set[str]:
    covered = {
        repository.full_name: repository
        for repository in call.world.repositories.values()
        if repository.owner is found.account
        and (found.repositories is None or repository.full_name in found.repositories)
    }
    wanted = set(covered)
    if "repositories" in call.body:
        wanted = {f"{found.account.login}/{name}" for name in call.body["repositories"]}
    elif "repository_ids" in call.body:
        ids = call.body["repository_ids"]
        wanted = {name for name, entry in covered.items() if entry.id in ids}
    if wanted - set(covered):
        message = "There is at least one repository that does not exist or is not accessible to"
        raise HttpError(422, f"{message} the parent installation.")
    return wanted


@route("GET", "/installation/repositories")
def accessible(call: Call) -> Json:
    """List the repositories that an installation's token reaches."""
    token = call.viewer
    if token.installation is None:
        raise HttpError(403, "You must authenticate with an installation access token.")
    names = token.repositories or set()
    found = [r for r in call.world.repositories.values() if r.full_name in names]
    shown = [shapes.repository(call.world, entry, token) for entry in call.page(found)]
    return {"total_count": len(found), "repository_selection": "selected", "repositories": shown}
