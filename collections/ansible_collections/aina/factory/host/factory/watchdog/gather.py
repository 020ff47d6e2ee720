"""Ask the sources of all checks side by side, none for longer than it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from factory.core.base.configuration import Section
from factory.core.base.ports import Run
from factory.core.watchdog.facts import Absent, Fact, Known, Unknown
from factory.core.watchdog.settings import WatchdogSettings
from factory.core.watchdog.sources import Facts, Host, Source, told
from factory.unix_http import fetch_through
from factory.watchdog.web import fetch

_CERTIFICATE_SECONDS = 6


def host(
    policy: WatchdogSettings,
    whole: Section,
    now: float,
    run: Run,
    last_look_at: float | None = None,
    told_failures: Mapping[str, Sequence[str]] | None = None,
) -> Host:
    """Return what sources may ask of the real host."""
    return Host(
        policy,
        whole,
        now,
        run,
        fetch_through(policy.engine_socket_path),
        fetch,
        _adjtimex,
        _server_certificate,
        last_look_at,
        told_failures,
    )


def ask(facts: Facts, sources: Iterable[Source[Any]], host: Host) -> Facts:
    """Return the facts with what the sources answer now."""

    def asks(source: Source[Any]) -> Callable[[], Any] | None:
        read = source.read
        return None if read is None else lambda: read(host)

    questions = {source: question for source in sources if (question := asks(source))}
    limit = host.policy.gather_seconds
    for source, (answer, seconds) in side_by_side(questions, limit).items():
        facts = facts.having(source, answer, seconds)
    return facts


def side_by_side(
    questions: Mapping[Source[Any], Callable[[], Any]], limit_seconds: float
) -> Mapping[Source[Any], tuple[Fact[Any], float]]:
    """Ask everything at once; what is late or fails is unknown, and the others are not."""
    answers: dict[Source[Any], tuple[Fact[Any], float]] = {}

    def answer(source: Source[Any], question: Callable[[], Any]) -> None:
        started = time.monotonic()
        found = told(lambda: _fact(question()))
        # A source that answers after its time has been given up must change nothing.
        answers.setdefault(source, (found, round(time.monotonic() - started, 3)))

    threads = [
        threading.Thread(target=answer, args=item, daemon=True) for item in questions.items()
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + limit_seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    late = (Unknown(f"no answer within {limit_seconds:g} s"), limit_seconds)
    return {source: answers.setdefault(source, late) for source in questions}


def _fact(found: Any) -> Fact[Any]:
    """Return what a source told: it may say itself as of when that is, or that it is unknown."""
    return found if isinstance(found, Known | Unknown | Absent) else Known(found)


def _adjtimex() -> tuple[int, int, int]:
    import ctypes

    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("frequency", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        )

    asked = Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    if state < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return state, asked.status, asked.maxerror


def _server_certificate(server: str) -> tuple[bytes, str]:
    import socket
    import ssl

    name, _colon, port = server.rpartition(":")
    address, name = (name.strip("[]"), int(port)), name.strip("[]")
    trusting = ssl.create_default_context()
    try:
        with (
            socket.create_connection(address, timeout=_CERTIFICATE_SECONDS) as plain,
            trusting.wrap_socket(plain, server_hostname=name) as secured,
        ):
            found = secured.getpeercert(binary_form=True) or b""
            return ssl.DER_cert_to_PEM_cert(found).encode(), ""
    except ssl.SSLCertVerificationError as error:
        pem = ssl.get_server_certificate(address, timeout=_CERTIFICATE_SECONDS).encode()
        return pem, error.verify_message
