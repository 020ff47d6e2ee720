"""Releases and their files, with digests."""

from __future__ import annotations

from simulator.clock import iso
from simulator.http import Answer, HttpError
from simulator.model import Asset, Json, Release
from simulator.rest import shapes
from simulator.rest.router import Call, route
from simulator.world import digest

BASE = "/repos/{owner}/{repo}/releases"


def _asset(call: Call, release: Release, asset: Asset) -> Json:
    base = shapes.repository_url(call.world, call.repository)
    web = f"{call.world.web_url}/{call.repository.full_name}/releases/download"
    return {
        "url": f"{base}/releases/assets/{asset.id}",
        "id": asset.id,
        "node_id": call.world.node_id(asset),
        "name": asset.name,
        "label": "",
        "uploader": shapes.user(call.world, release.author),
        "content_type": asset.content_type,
        "state": "uploaded",
        "size": len(asset.content),
        "digest": asset.digest,
        "download_count": 0,
        "created_at": iso(asset.created_at),
        "updated_at": iso(asset.created_at),
        "browser_download_url": f"{web}/{release.tag}/{asset.name}",
    }


def _uploads(call: Call, release: Release) -> str:
    path = f"/repos/{call.repository.full_name}/releases/{release.id}/assets"
    return f"{call.world.web_url}/api/uploads{path}"


def _release(call: Call, release: Release) -> Json:
    url = f"{shapes.repository_url(call.world, call.repository)}/releases/{release.id}"
    web = f"{call.world.web_url}/{call.repository.full_name}"
    base = shapes.repository_url(call.world, call.repository)
    return {
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{_uploads(call, release)}{{?name,label}}",
        "html_url": f"{web}/releases/tag/{release.tag}",
        "id": release.id,
        "author": shapes.user(call.world, release.author),
        "node_id": call.world.node_id(release),
        "tag_name": release.tag,
        "target_commitish": call.repository.default_branch,
        "name": release.name,
        "draft": release.draft,
        "prerelease": release.prerelease,
        "created_at": iso(release.created_at),
        "published_at": iso(release.created_at),
        "assets": [_asset(call, release, asset) for asset in release.assets],
        "tarball_url": f"{base}/tarball/{release.tag}",
        "zipball_url": f"{base}/zipball/{release.tag}",
        "body": release.body,
    }


def _published(call: Call) -> list[Release]:
    return sorted(call.repository.releases, key=lambda r: (r.created_at, r.id), reverse=True)


@route("GET", BASE, "contents:read")
def listed(call: Call) -> list[Json]:
    return [_release(call, release) for release in call.page(_published(call))]


@route("GET", f"{BASE}/latest", "contents:read")
def latest(call: Call) -> Json:
    """Show the newest release that is neither a draft nor a pre-release."""
    for release in _published(call):
        if not release.prerelease and not release.draft:
            return _release(call, release)
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/tags/{{tag}}", "contents:read")
def by_tag(call: Call) -> Json:
    """Show the release of a tag."""
    for release in call.repository.releases:
        if release.tag == call.params["tag"] and not release.draft:
            return _release(call, release)
    raise HttpError(404, "Not Found")


def _one(call: Call) -> Release:
    for release in call.repository.releases:
        if str(release.id) == call.params["id"]:
            return release
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/{{id}}", "contents:read")
def by_id(call: Call) -> Json:
    return _release(call, _one(call))


@route("POST", BASE, "contents:write", status=201)
def create(call: Call) -> Json:
    tag = call.field("tag_name", str, "Release")
    if any(release.tag == tag for release in call.repository.releases):
        errors = [{"resource": "Release", "code": "already_exists", "field": "tag_name"}]
        raise HttpError(422, "Validation Failed", errors=errors)
    release = Release(
        id=call.world.new_id(),
        tag=tag,
        name=call.body.get("name") or tag,
        body=call.body.get("body") or "",
        created_at=call.world.now(),
        author=call.viewer.account,
        prerelease=bool(call.body.get("prerelease")),
        draft=bool(call.body.get("draft")),
    )
    call.repository.releases.append(release)
    return _release(call, release)


@route("PATCH", f"{BASE}/{{id}}", "contents:write")
def change(call: Call) -> Json:
    """Change a release; a draft becomes a published one in this way."""
    release = _one(call)
    release.tag = call.body.get("tag_name") or release.tag
    release.name = call.body.get("name") or release.name
    release.body = call.body.get("body", release.body)
    release.draft = bool(call.body.get("draft", release.draft))
    release.prerelease = bool(call.body.get("prerelease", release.prerelease))
    return _release(call, release)


@route("DELETE", f"{BASE}/{{id}}", "contents:write")
def remove(call: Call) -> Answer:
    call.repository.releases.remove(_one(call))
    return Answer(204)


@route("GET", f"{BASE}/{{id}}/assets", "contents:read")
def assets(call: Call) -> list[Json]:
    """List the files of a release."""
    release = _one(call)
    return [_asset(call, release, found) for found in call.page(release.assets)]


@route("POST", f"{BASE}/{{id}}/assets", "contents:write", status=201, raw=True)
def upload(call: Call) -> Json:
    """Add a file to a release; its digest is GitHub's doing."""
    release, name = _one(call), call.query("name")
    if not name:
        errors = [{"resource": "ReleaseAsset", "code": "missing_field", "field": "name"}]
        raise HttpError(422, "Validation Failed", errors=errors)
    if any(found.name == name for found in release.assets):
        errors = [{"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}]
        raise HttpError(422, "Validation Failed", errors=errors)
    content = call.request.body
    kind = call.request.headers.get("content-type", "application/octet-stream")
    now = call.world.now()
    made = Asset(call.world.new_id(), name, content, digest(content), kind, now)
    release.assets.append(made)
    return _asset(call, release, made)


def _one_asset(call: Call) -> tuple[Release, Asset]:
    for release in call.repository.releases:
        for found in release.assets:
            if str(found.id) == call.params["id"]:
                return release, found
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/assets/{{id}}", "contents:read")
def asset(call: Call) -> Json | Answer:
    """Show a file, or return it where that is asked for."""
    release, found = _one_asset(call)
    if "octet-stream" in call.request.headers.get("accept", ""):
        return Answer(200, found.content)
    return _asset(call, release, found)


@route("DELETE", f"{BASE}/assets/{{id}}", "contents:write")
def remove_asset(call: Call) -> Answer:
    """Take a file out of its release."""
    release, found = _one_asset(call)
    release.assets.remove(found)
    return Answer(204)
