"""How soon the declared certificates end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ...base import times
from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext, each
from ..facts import DAY, Fact, Known, Unknown
from ..limits import Limit
from ..places import resolve
from ..sources import AbsentError, Host, Source, answered

LEFT = Limit(
    "certificate_days",
    "Time until a certificate ends.",
    raise_at=14,
    clear_at=21,
    high_is_bad=False,
)


@dataclass(frozen=True)
class Certificate:
    """A certificate and when it ends."""

    place: str
    ends_at: float


def read(host: Host) -> Mapping[str, Fact[Certificate]]:
    """Return when the declared certificates end: files (wildcards allowed) and HOST:PORT."""
    if not host.policy.certificates:
        raise AbsentError("no certificates are declared")
    files = [item for item in host.policy.certificates if item.startswith("/")]
    servers = [item for item in host.policy.certificates if not item.startswith("/")]
    found = resolve(files)

    def ends(place: str, pem: Callable[[], bytes]) -> Fact[Certificate]:
        return answered(lambda: _certificate(host, place, pem()))

    told = {path: ends(path, Path(path).read_bytes) for path in sorted({*chain(*found.values())})}
    for server in servers:
        told[server] = ends(server, lambda server=server: host.server_certificate(server))  # type: ignore[misc]
    for pattern, paths in found.items():
        if not paths:
            told[pattern] = Unknown(f"{pattern} is declared (certificates), and no file fits it")
    return told


def _certificate(host: Host, place: str, pem: bytes) -> Certificate:
    argv = ["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"]
    done = host.run(argv, stdin=pem, timeout_seconds=host.policy.gather_seconds)
    name, _equals, date = done.stdout.decode(errors="replace").strip().partition("=")
    if not done.ok or name != "notAfter":
        raise OSError(f"{place} holds no certificate that openssl can read")
    return Certificate(place, times.seconds(date))


def judge(certificates: Mapping[str, Fact[Certificate]], context: JudgeContext) -> Iterator[Answer]:
    """Judge how soon a certificate ends."""

    def one(name: str, certificate: Certificate) -> Iterator[Answer]:
        days = (certificate.ends_at - context.now) / DAY
        status, lingers = context.by(LEFT, days)
        verb = "ends in" if days >= 0 else "ended"
        ago = "" if days >= 0 else " ago"
        detail = (
            f"{verb} {duration(abs(days) * DAY)}{ago}, {times.iso_or_none(certificate.ends_at)}"
        )
        yield Answer(name, status, detail, round(days, 1), lingers)

    return each(certificates, one)


SOURCE = Source("certificates", read)
CHECKS = (
    Check(
        name="certificate",
        title="Certificates",
        advice="renew it",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(LEFT, lambda days, now: {"c": Known(Certificate("c", now + days * DAY))}),
        raise_after=(1, 1),
    ),
)
