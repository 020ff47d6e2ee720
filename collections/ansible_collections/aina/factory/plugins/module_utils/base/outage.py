"""Whether something failed only because a service elsewhere did not answer; pure.

Programs of others tell it in words alone. Such a failure is waited for: what is on the host
is as it shall be, and a later run goes on.
"""

from __future__ import annotations

import re

# The words of the resolver, the kernel, Go, Python, apt, curl and Node, and answers of a service that is overloaded.
_WORDS = (
    r"no such host",
    r"could not resolve(?: host)?",
    r"temporary failure (?:in name resolution|resolving)",
    r"name or service not known",
    r"no address associated with hostname",
    r"server misbehaving",
    r"EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH",
    r"connection (?:refused|reset by peer|timed out)",
    r"remote end closed connection",
    r"network is unreachable",
    r"no route to host",
    r"(?:i/o|tls handshake|read operation|handshake operation) time(?:d )?out",
    r"context deadline exceeded",
    r"client\.timeout exceeded",
    r"<url\w+ error timed out",
    r"too ?many ?requests|rate limit",
    r"(?:answered |: |status(?: code)?:? |HTTP Error |HTTP )(?:429|50[234])\b",
)
_OUTAGE = re.compile("|".join(_WORDS), re.IGNORECASE)
_HOST = re.compile(
    r"(?:https?://|lookup |host: |resolving '?|getaddrinfo \w+ )([a-z0-9][a-z0-9.-]*\.[a-z]{2,})",
    re.IGNORECASE,
)
# The engine on the host itself, whose words are like those of a registry.
_HERE = re.compile(r"dial unix|docker\.sock|localhost|127\.0\.0\.1|\[::1\]", re.IGNORECASE)
ELSEWHERE = "a service elsewhere"


def of(words: str) -> str:
    """Return who did not answer, as the words of a failure tell; ``""`` for any other failure."""
    host = _HOST.search(words)
    if not _OUTAGE.search(words) or (_HERE.search(words) and not host):
        return ""
    return host[1].lower() if host else ELSEWHERE


def waiting(what: str, words: str) -> dict[str, str]:
    """Return a failure that is an outage as results list what waits; empty for any other."""
    who = of(words)
    if not who:
        return {}
    match = _OUTAGE.search(words)
    said = match[0].strip(": ") if match else ""
    remedy = f"converge again when it does ({said})"
    return {"what": what, "for": f"an answer of {who}", "remedy": remedy}
