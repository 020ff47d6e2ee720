"""The container engine as the builder needs it, through its client."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..base import times
from ..base.errors import FactoryError
from ..base.ports import Completed, Run

QUERY_SECONDS = 60.0
_MISSING = "no such image"
_LAST_LINES = 25


class EngineError(FactoryError):
    """The engine refused or does not answer; the message quotes it."""


@dataclass(frozen=True)
class EngineImage:
    """An image that the engine has."""

    id: str
    labels: Mapping[str, str]
    user: str
    created_at: float
    size_bytes: int


@dataclass
class ImageEngine:
    """One engine, asked and told through ``docker``."""

    run: Run
    _environment: Mapping[str, str] = field(
        default_factory=lambda: {
            "LC_ALL": "C",
            "DOCKER_BUILDKIT": "1",
            "BUILDKIT_PROGRESS": "plain",
        }
    )

    def find(self, references: Sequence[str]) -> dict[str, EngineImage]:
        """Return those of ``references`` that are there.

        Raises:
            EngineError: the engine does not answer, which is not the same as having none.

        """
        found: dict[str, EngineImage] = {}
        # One call each: an image's answer does not name the reference that it was asked by.
        for reference in references:
            done = self._call(["image", "inspect", reference], QUERY_SECONDS)
            if done.ok:
                (document,) = json.loads(done.stdout)
                found[reference] = _found(document)
            elif _MISSING not in done.stderr.decode(errors="replace").lower():
                raise EngineError(f"docker image inspect {reference}: {_words(done)}")
        return found

    def call(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_seconds: float = QUERY_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run one command of the client and return what it printed; ``environment`` is added to ours.

        Raises:
            EngineError: it failed, or took too long.

        """
        done = self._call(argv, timeout_seconds, stdin, environment)
        if not done.ok:
            raise EngineError(_words(done))
        return done.stdout.decode(errors="replace")

    def _call(
        self,
        argv: Sequence[str],
        timeout_seconds: float,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        try:
            return self.run(
                ["docker", *argv],
                stdin=stdin,
                environment={**self._environment, **(environment or {})},
                timeout_seconds=timeout_seconds,
            )
        except FileNotFoundError:
            raise EngineError(
                "there is no docker client on this host; converge the role docker_host first"
            ) from None
        except TimeoutError as error:
            raise EngineError(
                f"docker {argv[0]} was not done within {timeout_seconds:.0f} s"
            ) from error


def _found(document: Mapping[str, Any]) -> EngineImage:
    configuration = document.get("Config") or {}
    head, _dot, rest = str(document["Created"]).partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return EngineImage(
        id=str(document["Id"]),
        labels=dict(configuration.get("Labels") or {}),
        user=str(configuration.get("User") or ""),
        created_at=times.seconds((head + zone) or "1970-01-01T00:00:00Z"),
        size_bytes=int(document.get("Size") or 0),
    )


def _words(done: Completed) -> str:
    text = (done.stderr.strip() + b"\n" + done.stdout.strip()).decode(errors="replace")
    return "\n".join(text.strip().splitlines()[-_LAST_LINES:])
