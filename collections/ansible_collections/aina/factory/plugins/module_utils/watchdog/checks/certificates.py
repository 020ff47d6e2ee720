"""How soon the declared certificates end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ...base import times
from ...base.text import duration
from ..check import Answer, AtLimit, Check, JudgeContext, Status, each
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
    """A certificate: from when until when it holds, and why programs do not trust its server."""

    place: str
    ends_at: float
    begins_at: float = 0.0
    distrusted: str = ""


def read(host: Host) -> Mapping[str, Fact[Certificate]]:
    """Return when the declared certificates end: files (wildcards allowed) and HOST:PORT."""
    if not host.policy.certificates:
        raise AbsentError("no certificates are declared")
    files = [item for item in host.policy.certificates if item.startswith("/")]
    servers = [item for item in host.policy.certificates if not item.startswith("/")]
    found = resolve(files)

    def of_file(path: str) -> Certificate:
        return _certificate(host, path, Path(path).read_bytes())

    def of_server(server: str) -> Certificate:
        return _certificate(host, server, *host.server_certificate(server))

    told = {
        path: answered(lambda path=path: of_file(path))  # type: ignore[misc]
        for path in sorted({*chain(*found.values())})
    }
    # Side by side: a server that says nothing holds up no other, and no file.
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(servers)))) as pool:
        asked = pool.map(lambda server: answered(lambda: of_server(server)), servers)
        told |= dict(zip(servers, asked, strict=True))
    for pattern, paths in found.items():
        if not paths:
            told[pattern] = Unknown(f"{pattern} is declared (certificates), and no file fits it")
    return told


def _certificate(host: Host, place: str, pem: bytes, distrusted: str = "") -> Certificate:
    argv = ["openssl", "x509", "-noout", "-startdate", "-enddate", "-dateopt", "iso_8601"]
    done = host.run(argv, stdin=pem, timeout_seconds=host.policy.gather_seconds)
    lines = done.stdout.decode(errors="replace").splitlines()
    dates = {name: date for name, _equals, date in (line.partition("=") for line in lines)}
    if not done.ok or not {"notBefore", "notAfter"} <= set(dates):
        raise OSError(f"{place} holds no certificate that openssl can read")
    begins_at, ends_at = times.seconds(dates["notBefore"]), times.seconds(dates["notAfter"])
    return Certificate(place, ends_at, begins_at, distrusted)


def judge(certificates: Mapping[str, Fact[Certificate]], context: JudgeContext) -> Iterator[Answer]:
    """Judge how soon a certificate ends."""

    def one(name: str, certificate: Certificate) -> Iterator[Answer]:
        days = (certificate.ends_at - context.now) / DAY
        status, lingers = context.by(LEFT, days)
        ahead = certificate.begins_at - context.now
        if ahead > 0:
            status, lingers = Status.PROBLEM, True
        verb = "ends in" if days >= 0 else "ended"
        ago = "" if days >= 0 else " ago"
        detail = (
            f"{verb} {duration(abs(days) * DAY)}{ago}, {times.iso_or_none(certificate.ends_at)}"
        )
        if ahead > 0:
            detail = f"holds only in {duration(ahead)}; {detail}"
        if certificate.distrusted:
            status, lingers = Status.PROBLEM, True
            detail = f"programs do not trust it: {certificate.distrusted}; {detail}"
        yield Answer(name, status, detail, round(days, 1), lingers)

    return each(certificates, one)


SOURCE = Source("certificates", read)
CHECKS = (
    Check(
        name="certificate",
        title="Certificates",
        advice="renew it; openssl s_client -connect HOST:PORT shows name and chain",
        source=SOURCE,
        judge=judge,
        selftest=AtLimit(LEFT, lambda days, now: {"c": Known(Certificate("c", now + days * DAY))}),
        raise_after=(1, 1),
        stages=(7, 2, 0),
    ),
)
