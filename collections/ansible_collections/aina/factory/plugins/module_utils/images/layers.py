"""Look for bytes in every layer of saved images, also in those that later layers hide."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ..base.errors import FactoryError
from ..host.trusted_certificates import certificates_in

_CHUNK_BYTES = 8 << 20
_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
# As many characters of a certificate as surely stand on its first line.
_LINE = 60
# The distribution's own certificates, as the base image has them.
DISTRIBUTION = Path("/usr/share/ca-certificates")
_SHORTEST_SECRET = 8


class LayerError(FactoryError):
    """A layer cannot be read, so nothing is proven about it."""


def site_certificates(bundle: str, distribution: Path = DISTRIBUTION) -> dict[str, bytes]:
    """Return what betrays each certificate of ``bundle`` that no distribution ships."""
    shipped = {
        body
        for path in distribution.rglob("*.crt")
        for body in certificates_in(path.read_text(encoding="ascii", errors="replace"))
    }
    own = [body for body in certificates_in(bundle) if body not in shipped]
    return {f"certificate {index}": body[:_LINE].encode() for index, body in enumerate(own, 1)}


def npm_credentials(npmrc: str) -> dict[str, bytes]:
    """Return the values of an npmrc that nobody may see."""
    found: dict[str, bytes] = {}
    for line in npmrc.splitlines():
        name, _equals, value = line.partition("=")
        key = name.strip().rpartition(":")[2] or name.strip()
        secret = value.strip().strip('"')
        if key in {"_auth", "_authToken", "_password"} and len(secret) >= _SHORTEST_SECRET:
            found[f"npmrc's {key}"] = secret.encode()
    return found


def search(archive: Path, wanted: Mapping[str, bytes]) -> list[str]:
    """Return the names of what is found in any layer of ``docker save``'s archive.

    Raises:
        LayerError: a layer is compressed in a way that cannot be looked into.

    """
    if not wanted:
        return []
    found: set[str] = set()
    with tarfile.open(archive) as tar:
        for member in tar:
            stream = tar.extractfile(member) if member.isfile() else None
            if stream is not None:
                found |= _search_stream(stream, member.name, wanted)
    return sorted(found)


def _search_stream(stream: IO[bytes], name: str, wanted: Mapping[str, bytes]) -> set[str]:
    head = stream.read(4)
    stream.seek(0)
    if head == _ZSTANDARD:
        raise LayerError(f"{name} is compressed with zstandard, which is not looked into")
    plain: Any = gzip.GzipFile(fileobj=stream) if head[:2] == _GZIP else stream
    overlap = max(map(len, wanted.values())) - 1
    found: set[str] = set()
    before = b""
    while chunk := plain.read(_CHUNK_BYTES):
        text = before + chunk
        found |= {what for what, needle in wanted.items() if needle in text}
        before = text[-overlap:] if overlap else b""
    return found
