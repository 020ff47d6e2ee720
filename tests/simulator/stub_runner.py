"""The stub of the runner application as a release's file: what the real one is to GitHub."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

TREE = Path(__file__).parent / "stub_runner"
PLATFORMS = ("linux-x64", "linux-arm64")


def asset_name(version: str, platform: str) -> str:
    """Return the name of a version's file, as the real releases have it."""
    return f"actions-runner-{platform}-{version}.tar.gz"


def tarball(version: str) -> bytes:
    """Return the distribution of a version; equal bytes for equal versions."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(TREE.rglob("*")):
            _add(tar, str(path.relative_to(TREE)), path.read_bytes() if path.is_file() else None)
        _add(tar, "bin/version", f"{version}\n".encode())
        _add(tar, "externals", None)
        _add(tar, "externals/README", b"The real application brings its Node here.\n")
    return gzip.compress(buffer.getvalue(), mtime=0)


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    entry = tarfile.TarInfo(name)
    # The owner and mode of whoever built it: nobody who unpacks it should keep them.
    entry.uid = entry.gid = 1001
    entry.mode = 0o775 if content is None or name.startswith("bin/Runner.") else 0o664
    if content is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
