"""The real effects behind the core's ports: programs, clock, HTTP."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import IO

from factory.core.base.ports import Completed, Fetch, Request, Response, Run


def run(
    argv: Sequence[str | bytes],
    *,
    cwd: str | bytes | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Completed:
    """Run a program to its end; see ``ports.Run``."""
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            input=stdin,
            env={**os.environ, **environment} if environment else None,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{argv[0]!r} was still running after {timeout_seconds} s") from error
    return Completed(done.returncode, done.stdout, done.stderr)


def run_bounded(max_bytes: int) -> Run:
    """Return a ``Run`` for programs that print what strangers wrote: so much of it is read at most.

    Raises:
        OSError: a program printed more, and was ended.

    """

    def run(
        argv: Sequence[str | bytes],
        *,
        cwd: str | bytes | None = None,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Completed:
        # Slow to load, and few subcommands read what strangers wrote.
        from concurrent.futures import ThreadPoolExecutor, as_completed

        pipe = subprocess.PIPE
        whole = {**os.environ, **environment} if environment else None
        with (
            ThreadPoolExecutor(3) as pool,
            subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=whole,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            ) as process,
        ):
            try:
                pool.submit(_fill, process.stdin, stdin)
                streams = (process.stdout, process.stderr)
                reading = [pool.submit(_read, stream, max_bytes + 1) for stream in streams]
                for done in as_completed(reading, timeout_seconds):
                    if len(done.result()) > max_bytes:
                        raise OSError(f"{argv[0]!r} printed more than {max_bytes} bytes")
                process.wait()
            except BaseException as error:
                # With its children: they hold the pipes that the threads wait for.
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, TimeoutError):
                    words = f"{argv[0]!r} was still running after {timeout_seconds} s"
                    raise TimeoutError(words) from None
                raise
        return Completed(process.returncode, *(done.result() for done in reading))

    return run


def _fill(pipe: IO[bytes] | None, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):
        if pipe is not None:
            with pipe:
                pipe.write(content)


def _read(pipe: IO[bytes] | None, max_bytes: int) -> bytes:
    return pipe.read(max_bytes) if pipe is not None else b""


def now() -> float:
    return time.time()


def https_fetch(ca_file: str | None = None) -> Fetch:
    """Return a ``Fetch`` for ``https`` addresses; see ``ports.Fetch``.

    ``ca_file`` names certificates that are trusted beside the system's. A proxy is taken
    from the environment. A redirect is an answer like any other: whoever follows it must
    decide whether the new place may see the request's credentials.

    Raises:
        OSError: ``ca_file`` cannot be read or holds no certificate.

    """
    import http.client  # slow to load, and few subcommands speak HTTP
    import ssl
    import urllib.error
    import urllib.request

    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Stay)

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        sent = urllib.request.Request(  # noqa: S310 - the scheme is checked right below
            request.url, request.body, dict(request.headers), method=request.method
        )
        if sent.type != "https":
            raise OSError(f"{request.url} is not an https address")
        try:
            with opener.open(sent, timeout=timeout_seconds) as answer:
                return _response(answer.status, answer.headers.items(), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _response(error.code, error.headers.items(), error.read())
        except urllib.error.URLError as error:
            raise OSError(f"{sent.host}: {error.reason}") from error
        except (http.client.HTTPException, ValueError) as error:
            # A value error quotes the header that it dislikes, which may be the secret one.
            raise OSError(f"{sent.host}: {type(error).__name__}") from None

    return fetch


def _response(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
    return Response(status, {name.lower(): value for name, value in headers}, body)
