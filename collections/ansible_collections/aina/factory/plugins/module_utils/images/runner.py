"""The runner's release that the CI image holds: chosen once, and again at each refresh."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..base import documents
from ..base.configuration import ConfigurationError
from ..base.github import release
from ..base.github.login import secret_from_file
from ..base.github.release import Release, ReleaseError
from ..base.github.settings import GitHub
from ..base.ports import Fetch, Request, Response
from .settings import RunnerWish

_SETTING = "images.runner.sha256"
_REFUSED = (401, 403, 404, 429)


@dataclass(frozen=True)
class RunnerArchive:
    """The release as a file on this host, and what its bytes must be."""

    path: str
    sha256: str
    version: str


@dataclass
class Releases:
    """The wish, and what was chosen for it; ``note`` is where that is remembered."""

    wish: RunnerWish
    github: GitHub
    note: Path
    fetch: Fetch
    machine: str
    _chosen: Release | None = None

    def archive(self, *, refresh: bool) -> RunnerArchive:
        """Return which archive it is, whether or not it is there yet.

        Raises:
            ReleaseError: GitHub does not say, or says something unusable.

        """
        wish = self.wish
        if wish.archive_path:
            return RunnerArchive(wish.archive_path, wish.sha256, wish.version)
        kept = None if refresh else self._kept()
        self._chosen = kept or self._choose()
        path = Path(wish.cache_dir, self._chosen.asset)
        return RunnerArchive(str(path), self._chosen.sha256, self._chosen.version)

    def obtain(self) -> None:
        """Have the archive on this host, verified, and remember the choice.

        Raises:
            ReleaseError: it cannot be had, or its bytes are not the stated ones.

        """
        if self._chosen is not None:
            release.tarball(self._chosen, Path(self.wish.cache_dir), self.fetch)
            wanted = {"wanted": self.wish.version, "pin": self.wish.sha256}
            documents.replace(self.note, {**wanted, **vars(self._chosen)})

    def _kept(self) -> Release | None:
        document = documents.read(self.note) or {}
        if (document.get("wanted"), document.get("pin")) != (self.wish.version, self.wish.sha256):
            return None
        return _release(document)

    def _choose(self) -> Release:
        platform = release.platform_of(self.machine)
        found = release.choose(
            release.recent(self._ask, platform), self.wish.version, self._ask, platform
        )
        return release.pinned(found, self.wish.sha256, _SETTING)

    def _ask(self, path: str) -> Any:
        url = f"{self.github.releases_url}{path}"
        # They are public. Behind an address that asks too often, and on a mirror, a token helps.
        answer = self._get(url, "")
        if answer.status in _REFUSED and (token := self._token()):
            answer = self._get(url, token)
        if answer.status != 200:
            raise ReleaseError(f"{url} answered {answer.status}")
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise ReleaseError(f"{url}: {error}") from error

    def _get(self, url: str, token: str) -> Response:
        headers = {"Accept": "application/vnd.github+json", "User-Agent": "aina-factory"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            return self.fetch(Request("GET", url, headers))
        except OSError as error:
            raise ReleaseError(f"{url}: {error}") from error

    def _token(self) -> str:
        """Return the token of the server that is asked, where a file holds one."""
        login = self.github.login_of("images")
        if login.method != "token_file" or self.github.releases_url != self.github.api_url:
            return ""
        try:
            return secret_from_file(Path(login.token_file), f"{login.path}.token_file")
        except ConfigurationError as error:
            raise ReleaseError(str(error)) from error


def _release(document: Mapping[str, Any]) -> Release | None:
    try:
        return Release(
            version=str(document["version"]),
            published_at=float(document["published_at"]),
            asset=str(document["asset"]),
            url=str(document["url"]),
            sha256=str(document["sha256"]),
        )
    except (KeyError, TypeError, ValueError):
        return None
