"""What a lane hands out on its standard output: framed archives, and nothing that is believed.

A frame is a line ``LANE1 <kind> <bytes>`` and that many bytes, a tar archive. Whatever the
agent writes in between breaks the stream; then the lane has no result. What is in an archive
is only ever data, and never more of it than was sent: git judges the bundle.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..base.errors import FactoryError

_HEADER = re.compile(rb"LANE1 (checkpoint|result) ([0-9]{1,12})\Z")
_HEADER_MAX_BYTES = 64
RESULT, BUNDLE, SESSIONS = "result.json", "lane.bundle", "sessions.tar.gz"
_RESULT_MAX_BYTES = 65536


class FrameError(FactoryError):
    """The stream is not one that the lane's own program writes."""


class TooLargeError(FrameError):
    """There is more in it than may be handed over."""


class CutOffError(FrameError):
    """It ends in the middle of a frame."""


@dataclass(frozen=True)
class Frame:
    """The contents of one frame; what is missing is empty."""

    is_final: bool
    result: dict[str, Any]
    bundle: bytes
    sessions: bytes


@dataclass
class Reader:
    """Cuts the stream into frames; ``max_bytes`` bounds a frame, and so the memory used here."""

    max_bytes: int
    _buffer: bytearray = field(default_factory=bytearray)
    _kind: bytes = b""
    _size: int = -1

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """Take more bytes and return the frames that are complete now.

        Raises:
            FrameError: see there.

        """
        self._buffer += chunk
        while self._advance():
            content = bytes(self._buffer[: self._size])
            del self._buffer[: self._size]
            self._size = -1
            yield _unpack(content, is_final=self._kind == b"result")

    def _advance(self) -> bool:
        if self._size < 0:
            end = self._buffer.find(b"\n", 0, _HEADER_MAX_BYTES)
            if end < 0:
                if len(self._buffer) >= _HEADER_MAX_BYTES:
                    raise FrameError("something else than a result was written to standard output")
                return False
            header = _HEADER.match(bytes(self._buffer[:end]))
            if header is None:
                raise FrameError("something else than a result was written to standard output")
            self._kind, self._size = header[1], int(header[2])
            del self._buffer[: end + 1]
            if self._size > self.max_bytes:
                raise TooLargeError(
                    f"a result of {self._size} bytes is over the limit of {self.max_bytes}"
                )
        return len(self._buffer) >= self._size

    def end(self) -> None:
        """Say that no more comes.

        Raises:
            CutOffError: there should be more.

        """
        if self._buffer or self._size >= 0:
            raise CutOffError("the result was cut off")


def _unpack(content: bytes, *, is_final: bool) -> Frame:
    try:
        parts = _members(memoryview(content))
        text = parts.get(RESULT, b"{}")
        result = json.loads(text) if len(text) <= _RESULT_MAX_BYTES else None
    except (tarfile.TarError, ValueError, RecursionError) as error:
        raise FrameError(f"the result cannot be read: {error}") from None
    if not isinstance(result, dict):
        raise FrameError("result.json is no JSON object of a reasonable size")
    return Frame(is_final, result, parts.get(BUNDLE, b""), parts.get(SESSIONS, b""))


def _members(archive: memoryview) -> dict[str, bytes]:
    """Return the members of an archive of plain files, each at most once.

    :class:`tarfile.TarFile` would follow whatever else a header can say: a file with holes is as
    large as it claims to be, one header may send for the next without end, or back to the first.
    """
    parts: dict[str, bytes] = {}
    while len(archive) >= tarfile.BLOCKSIZE and any(archive[: tarfile.BLOCKSIZE]):
        header = archive[: tarfile.BLOCKSIZE].tobytes()
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        is_plain = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)
        if not is_plain or member.name not in {RESULT, BUNDLE, SESSIONS} - parts.keys():
            raise FrameError(f"the result holds {member.name!r}, which has no place in it")
        start, end = tarfile.BLOCKSIZE, tarfile.BLOCKSIZE + member.size
        if not start <= end <= len(archive):
            raise FrameError(f"the result cannot be read: {member.name} is cut off")
        parts[member.name] = archive[start:end].tobytes()
        archive = archive[end + -member.size % tarfile.BLOCKSIZE :]
    if any(archive[: tarfile.BLOCKSIZE]):
        raise FrameError("the result cannot be read: it is cut off")
    return parts
