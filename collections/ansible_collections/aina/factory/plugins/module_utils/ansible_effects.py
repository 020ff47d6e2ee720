"""The core's ports, served by an Ansible module."""

from __future__ import annotations

import os
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils.ports import (
    Completed,
    Fetch,
    Request,
    Response,
    Run,
)


def runner(module: Any) -> Run:
    """Return the ``Run`` port over ``AnsibleModule.run_command``."""

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
    """Return the ``Fetch`` port over Ansible's own HTTP client; redirects are not followed."""

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
        return Response(answer.status, headers, answer.read())

    return fetch
