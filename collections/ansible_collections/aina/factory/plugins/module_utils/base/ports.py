"""The effects that decisions receive from their caller.

Nothing under ``module_utils`` starts a process, opens a socket or reads the
clock. An Ansible module passes ``AnsibleModule.run_command``, the ``factory``
command passes ``subprocess``, a test passes a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Completed:
    """A program that ran to its end: exit status and raw output."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether the program reported success."""
        return self.returncode == 0

    @property
    def said(self) -> str:
        """The end of what it said: its errors, else its output, else how it ended."""
        text = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")
        return "\n".join(text.splitlines()[-15:])[-2000:] or f"exit status {self.returncode}"


class Run(Protocol):
    """Run a program to its end.

    Raises:
        OSError: the program could not be started.
        TimeoutError: it was still running after ``timeout_seconds`` and was ended.

    """

    def __call__(
        self,
        argv: Sequence[str | bytes],
        *,
        cwd: str | bytes | None = None,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Completed:
        """Return how ``argv`` ended; ``environment`` is added to the caller's own."""


@dataclass(frozen=True)
class Request:
    """An HTTP request; ``url`` is absolute."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True)
class Response:
    """An HTTP answer of any status; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetch(Protocol):
    """Send one request and return the answer, whatever its status.

    Raises:
        OSError: no answer arrived (refused, reset, timed out, TLS failure).

    """

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        """Return the answer to ``request``."""


# Seconds since the epoch.
Now = Callable[[], float]


@dataclass(frozen=True)
class Effects:
    """What a caller supplies to work with GitHub over some time."""

    run: Run
    fetch: Fetch
    now: Now
    sleep: Callable[[float], None]
