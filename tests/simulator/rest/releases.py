"""Releases and their files, with digests."""

from __future__ import annotations

from simulator.clock import iso
from simulator.http import Answer, HttpError
from simulator.model import Asset, Json, Release
from simulator.rest import shapes
from simulator.rest.router import Call, route

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


def _release(call: Call, release: Release) -> Json:
    url = f"{shapes.repository_url(call.world, call.repository)}/releases/{release.id}"
    web = f"{call.world.web_url}/{call.repository.full_name}"
    base = shapes.repository_url(call.world, call.repository)
    return {
        "url": url,
        "assets_url": f"{url}/assets",
        "upload_url": f"{url}/assets{{?name,label}}",
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
    """List releases, newest first."""
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
        if release.tag == call.params["tag"]:
            return _release(call, release)
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/{{id}}", "contents:read")
def by_id(call: Call) -> Json:
    """Show a release."""
    for release in call.repository.releases:
        if str(release.id) == call.params["id"]:
            return _release(call, release)
    raise HttpError(404, "Not Found")


@route("GET", f"{BASE}/assets/{{id}}", "contents:read")
def asset(call: Call) -> Json | Answer:
    """Show a file, or return it where that is asked for."""
    for release in call.repository.releases:
        for found in release.assets:
            if str(found.id) == call.params["id"]:
                if "octet-stream" in call.request.headers.get("accept", ""):
                    return Answer(200, found.content)
                return _asset(call, release, found)
    raise HttpError(404, "Not Found")
