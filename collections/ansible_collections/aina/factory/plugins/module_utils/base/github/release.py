"""Releases of the runner application: which one, whether it is genuine, and how old it is.

A tarball is used only when its bytes have the digest that GitHub states for them (or the
one that the operator pins). Both the cache of tarballs and the unpacked trees are complete
or absent: what is under its final name was verified and renamed into place.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from .. import files, times
from ..errors import FactoryError
from ..ports import Fetch, Request, Run

REPOSITORY = "actions/runner"
# GitHub registers nothing older.
OLDEST_VERSION = "2.329.0"
# The newest releases, in one request: enough to know how long an installed one is outdated.
RECENT_PATH = f"/repos/{REPOSITORY}/releases?per_page=15"
DOWNLOAD_SECONDS = 900.0
UNPACK_SECONDS = 600.0
_REDIRECTS = 5
_VERSION = re.compile(r"\d+\.\d+\.\d+\Z")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
_MACHINES = {
    "x86_64": "linux-x64",
    "amd64": "linux-x64",
    "aarch64": "linux-arm64",
    "armv7l": "linux-arm",
}

# Returns the JSON document at a path of GitHub's REST interface.
Ask = Callable[[str], Any]


class ReleaseError(FactoryError):
    """There is no such release, or it is not what GitHub says it is; the message says what to do."""


@dataclass(frozen=True)
class Release:
    """One version of the application for one platform; ``sha256`` is empty where GitHub states none."""

    version: str
    published_at: float
    asset: str
    url: str
    sha256: str


def platform_of(machine: str) -> str:
    """Return the platform in the names of the releases, for what ``uname -m`` says.

    Raises:
        ReleaseError: GitHub builds nothing for it.

    """
    try:
        return _MACHINES[machine.lower()]
    except KeyError:
        known = ", ".join(sorted(_MACHINES))
        raise ReleaseError(
            f"there is no runner for machine {machine!r}; there is for {known}"
        ) from None


def order(version: str) -> tuple[int, ...]:
    """Return what versions are sorted by.

    Raises:
        ReleaseError: it is not of the form 2.330.0.

    """
    if not _VERSION.match(version):
        raise ReleaseError(f"{version!r} is no version of the runner such as 2.330.0")
    return tuple(int(part) for part in version.split("."))


def parse(documents: Iterable[Any], platform: str) -> list[Release]:
    """Return the published releases for a platform, newest version first."""
    found = []
    for document in documents:
        version = str(document.get("tag_name", "")).removeprefix("v")
        if document.get("draft") or document.get("prerelease") or not _VERSION.match(version):
            continue
        name = f"actions-runner-{platform}-{version}.tar.gz"
        for asset in document.get("assets") or []:
            if asset.get("name") == name:
                digest = _DIGEST.match(str(asset.get("digest") or ""))
                published = times.seconds(str(document["published_at"]))
                url = str(asset["browser_download_url"])
                found.append(Release(version, published, name, url, digest[1] if digest else ""))
    return sorted(found, key=lambda release: order(release.version), reverse=True)


def recent(ask: Ask, platform: str) -> list[Release]:
    """Return the newest releases; one request.

    Raises:
        ReleaseError: the list is empty or unreadable.

    """
    return _some(parse_safely(ask(RECENT_PATH), platform), platform)


def parse_safely(documents: Any, platform: str) -> list[Release]:
    """Return what :func:`parse` does, whatever the answer's shape.

    Raises:
        ReleaseError: it is no list of releases.

    """
    try:
        return parse(documents, platform)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReleaseError(
            f"GitHub's list of runner releases has another shape: {error!r}"
        ) from error


def _some(releases: list[Release], platform: str) -> list[Release]:
    if not releases:
        raise ReleaseError(f"GitHub lists no release of {REPOSITORY} for {platform}")
    return releases


def choose(releases: Sequence[Release], wanted: str, ask: Ask, platform: str) -> Release:
    """Return the release ``wanted``: ``latest``, or a version, asked for when it is not a recent one.

    Raises:
        ReleaseError: there is none, or GitHub registers nothing that old.

    """
    if wanted == "latest":
        return _some(list(releases), platform)[0]
    if order(wanted) < order(OLDEST_VERSION):
        raise ReleaseError(
            f"version {wanted} of the runner is refused by GitHub, which registers {OLDEST_VERSION} and newer"
        )
    for release in releases:
        if release.version == wanted:
            return release
    found = parse_safely([ask(f"/repos/{REPOSITORY}/releases/tags/v{wanted}")], platform)
    if not found:
        raise ReleaseError(f"release v{wanted} of {REPOSITORY} has no file for {platform}")
    return found[0]


def pinned(release: Release, sha256: str, setting: str) -> Release:
    """Return the release with the digest to verify it by; ``setting`` is where a pin is set.

    Raises:
        ReleaseError: GitHub states no digest and none is pinned, or the two differ.

    """
    if not sha256 and not release.sha256:
        raise ReleaseError(
            f"GitHub states no digest for {release.asset}; look the SHA-256 up in the notes of the release"
            f" and set {setting} to it"
        )
    if sha256 and release.sha256 and sha256.lower() != release.sha256:
        raise ReleaseError(
            f"{setting} is {sha256.lower()}, but GitHub states {release.sha256} for {release.asset};"
            f" correct or remove it"
        )
    return replace(release, sha256=sha256.lower() or release.sha256)


def outdated_days(version: str, releases: Iterable[Release], now: float) -> float:
    """Return for how many days there has been a newer release than ``version``.

    GitHub gives a runner that does not update itself 30 days from any newer release on.
    """
    newer = [item.published_at for item in releases if order(item.version) > order(version)]
    return max(0.0, (now - min(newer)) / 86400) if newer else 0.0


def tarball(release: Release, cache_dir: Path, fetch: Fetch) -> Path:
    """Return the release's tarball from the cache, downloading it when it is not there.

    Its digest is checked in either case, before anything can see it under its name.

    Raises:
        ReleaseError: it cannot be had, or its bytes are not the stated ones.

    """
    if not release.sha256:
        raise ReleaseError(f"{release.asset} has no digest to verify it by")
    path = cache_dir / release.asset
    if path.is_file() and _digest(path) == release.sha256:
        return path
    try:
        content = _download(release.url, fetch)
        actual = hashlib.sha256(content).hexdigest()
        if actual != release.sha256:
            raise ReleaseError(
                f"{release.url} is refused: its SHA-256 is {actual}, GitHub states {release.sha256}; nothing was"
                " kept. Try again; if it stays, somebody sits between this host and GitHub"
            )
        files.write(path, content)
    except OSError as error:
        raise ReleaseError(f"{release.url}: {error}") from error
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, fetch: Fetch) -> bytes:
    # The files are public: no token goes along, wherever a redirect leads.
    for _hop in range(_REDIRECTS):
        if urlsplit(url).scheme != "https":
            raise ReleaseError(f"{url} is not fetched: only https is")
        answer = fetch(
            Request(
                "GET", url, {"Accept": "application/octet-stream", "User-Agent": "aina-factory"}
            ),
            timeout_seconds=DOWNLOAD_SECONDS,
        )
        if answer.status in (301, 302, 303, 307, 308) and "location" in answer.headers:
            url = urljoin(url, answer.headers["location"])
        elif answer.status == 200:
            return answer.body
        else:
            raise ReleaseError(f"{url.partition('?')[0]} answered {answer.status}")
    raise ReleaseError(f"{url.partition('?')[0]}: more than {_REDIRECTS} redirects")


def unpack(release: Release, archive: Path, versions_dir: Path, run: Run) -> Path:
    """Return the unpacked tree, owned by the caller, readable by all and writable by nobody else.

    Raises:
        ReleaseError: the archive cannot be unpacked or holds no runner.

    """
    tree = versions_dir / release.version
    if tree.is_dir():
        return tree
    partial = versions_dir / f".{release.version}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for argv in (
        [
            "tar",
            "--extract",
            "--gzip",
            "--no-same-owner",
            "--file",
            str(archive),
            "--directory",
            str(partial),
        ],
        ["chmod", "--recursive", "u=rwX,go=rX", str(partial)],
        ["sync", "--file-system", str(partial)],
    ):
        done = run(argv, timeout_seconds=UNPACK_SECONDS)
        if not done.ok:
            words = done.stderr.decode(errors="replace").strip()[-300:]
            raise ReleaseError(f"{archive}: {argv[0]} ended with {done.returncode}: {words}")
    if not (partial / "bin/Runner.Listener").is_file():
        raise ReleaseError(
            f"{archive} holds no bin/Runner.Listener; it is not a release of {REPOSITORY}"
        )
    partial.rename(tree)
    return tree
