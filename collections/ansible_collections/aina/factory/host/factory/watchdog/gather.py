"""Ask the sources of all checks side by side, none for longer than it may."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.github import settings as github
from factory.core.base.ports import Run
from factory.core.watchdog.settings import WatchdogSettings
from factory.core.watchdog.sources import Facts, Host, Source, side_by_side
from factory.unix_http import fetch_through
from factory.watchdog.web import trusting

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
    try:
        ca_file = github.of(whole).ca_file
    except ConfigurationError:
        # Whoever asks GitHub says so.
        ca_file = ""
    return Host(
        policy,
        whole,
        now,
        run,
        fetch_through(policy.engine_socket_path),
        trusting(ca_file),
        _adjtimex,
        _server_certificate,
        last_look_at,
        told_failures,
        resolve=_resolve,
    )


def ask(facts: Facts, sources: Iterable[Source[Any]], host: Host) -> Facts:
    """Return the facts with what the sources answer now."""

    def asks(source: Source[Any]) -> Callable[[], Any] | None:
        read = source.read
        return None if read is None else lambda: read(host)

    questions = {source: question for source in sources if (question := asks(source))}
    limit = host.policy.gather_seconds
    started = time.monotonic()
    took: dict[str, float] = {}

    def timed(source: Source[Any], question: Callable[[], Any]) -> Callable[[], Any]:
        def ask_it() -> Any:
            try:
                return question()
            finally:
                took[source.name] = round(time.monotonic() - started, 3)

        return ask_it

    asked = {source: timed(source, question) for source, question in questions.items()}
    for source, answer in side_by_side(asked, limit).items():
        facts = facts.having(source, answer, took.get(source.name, limit))
    return facts


def _resolve(name: str) -> list[str]:
    import socket

    return sorted(
        {str(item[4][0]) for item in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)}
    )


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
