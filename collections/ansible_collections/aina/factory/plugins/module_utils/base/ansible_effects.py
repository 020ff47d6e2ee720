"""The core's ports, served by an Ansible module."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .ports import Completed, Fetch, Request, Response, Run


def runner(module: Any) -> Run:
    """Return the ``Run`` port over ``AnsibleModule.run_command``.

    From here on a module and all that it runs make files with the usual modes: what must be
    kept from others says so itself, and a host's strict umask would break what others read.
    """
    os.umask(0o022)

    def run(
        argv: Sequence[str | bytes],
        *,
        cwd: str | bytes | None = None,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Completed:
        # run_command knows no time limit: coreutils' timeout supplies it.
        limit: list[str | bytes] = (
            ["timeout", "--kill-after=10", str(timeout_seconds)] if timeout_seconds else []
        )
        returncode, stdout, stderr = module.run_command(
            [*limit, *argv],
            cwd=None if cwd is None else os.fsdecode(cwd),
            data=stdin,
            binary_data=True,
            environ_update=dict(environment or {}),
            encoding=None,
            handle_exceptions=False,
        )
        if limit and returncode in (124, 137):
            raise TimeoutError(f"{argv[0]!r} was still running after {timeout_seconds} s")
        if limit and returncode == 127:
            raise FileNotFoundError(f"{argv[0]!r} is not installed")
        return Completed(returncode, stdout, stderr)

    return run


def fetcher(open_url: Callable[..., Any], ca_path: str) -> Fetch:
    """Return the ``Fetch`` port over Ansible's ``open_url``; redirects are not followed.

    ``ca_path`` names certificate authorities that are trusted instead of the system's.
    """

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        try:
            answer = open_url(
                request.url,
                data=request.body,
                headers=dict(request.headers),
                method=request.method,
                timeout=timeout_seconds,
                ca_path=ca_path or None,
                follow_redirects="no",
            )
        except urllib.error.HTTPError as error:
            answer = error
        headers = {name.lower(): value for name, value in answer.headers.items()}
        try:
            body = answer.read()
        except Exception as error:
            # An answer that was cut off: what it is called belongs to the HTTP library.
            raise OSError(f"{request.url}: {type(error).__name__}") from error
        return Response(answer.status, headers, body)

    return fetch
