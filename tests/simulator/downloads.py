"""Files of releases, at the address that a browser uses."""

from __future__ import annotations

import re

from simulator import auth
from simulator.http import Answer, HttpError, Incoming
from simulator.world import World

PATH = re.compile(r"/(?P<repository>[\w.-]+/[\w.-]+)/releases/download/(?P<tag>[^/]+)/(?P<name>.+)")


def matches(path: str) -> bool:
    """Say whether a path names a release's file."""
    return PATH.fullmatch(path) is not None


def serve(world: World, request: Incoming) -> Answer:
    """Return the file.

    Raises:
        HttpError: 404, it is not there or not for this caller.

    """
    match = PATH.fullmatch(request.path)
    repository = world.repository(match["repository"]) if match else None
    if match is None or repository is None:
        raise HttpError(404, "Not Found")
    auth.require(repository, auth.identify(world, request), "contents", "read")
    for release in repository.releases:
        for asset in release.assets:
            if (release.tag, asset.name) == (match["tag"], match["name"]):
                return Answer(200, asset.content)
    raise HttpError(404, "Not Found")
