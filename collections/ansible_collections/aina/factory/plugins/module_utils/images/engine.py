"""The container engine as the builder needs it, through its client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base.docker import QUERY_SECONDS, Client, DockerError, parse_time
from ..base.ports import Completed

_MISSING = "no such image"
_LAST_LINES = 25


@dataclass(frozen=True)
class EngineImage:
    """An image that the engine has."""

    id: str
    labels: Mapping[str, str]
    user: str
    created_at: float
    size_bytes: int
    directory: str = ""
    entrypoint: tuple[str, ...] = ()


@dataclass
class ImageEngine(Client):
    """One engine, asked and told through ``docker``."""

    environment: Mapping[str, str] = field(
        default_factory=lambda: {
            "LC_ALL": "C",
            "DOCKER_BUILDKIT": "1",
            "BUILDKIT_PROGRESS": "plain",
        }
    )

    def find(self, references: Sequence[str]) -> dict[str, EngineImage]:
        """Return those of ``references`` that are there.

        Raises:
            DockerError: the engine does not answer, which is not the same as having none.

        """
        found: dict[str, EngineImage] = {}
        # One call each: an image's answer does not name the reference that it was asked by.
        for reference in references:
            done = self.call("image", "inspect", reference)
            if done.ok:
                (document,) = json.loads(done.stdout)
                found[reference] = _found(document)
            elif _MISSING not in done.stderr.decode(errors="replace").lower():
                raise DockerError(f"docker image inspect {reference}: {_words(done)}")
        return found

    def tell(
        self,
        words: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_seconds: float = QUERY_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run one command that may print much, and return that; an error quotes its end.

        Raises:
            DockerError: it failed, or took too long.

        """
        done = self.call(
            *words, stdin=stdin, timeout_seconds=timeout_seconds, environment=environment
        )
        if not done.ok:
            raise DockerError(_words(done))
        return done.stdout.decode(errors="replace")


def _found(document: Mapping[str, Any]) -> EngineImage:
    configuration = document.get("Config") or {}
    return EngineImage(
        id=str(document["Id"]),
        labels=dict(configuration.get("Labels") or {}),
        user=str(configuration.get("User") or ""),
        created_at=parse_time(str(document["Created"])) or 0.0,
        size_bytes=int(document.get("Size") or 0),
        directory=str(configuration.get("WorkingDir") or ""),
        entrypoint=tuple(configuration.get("Entrypoint") or ()),
    )


def _words(done: Completed) -> str:
    text = (done.stderr.strip() + b"\n" + done.stdout.strip()).decode(errors="replace")
    return "\n".join(text.strip().splitlines()[-_LAST_LINES:])
