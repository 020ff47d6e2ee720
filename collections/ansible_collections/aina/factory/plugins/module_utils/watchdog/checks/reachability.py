"""Whether names are resolved, and GitHub answers: what much else hangs on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...base.github import settings as github
from ...base.ports import Request
from ..check import Answer, BadOrGood, Check, JudgeContext, Status, each
from ..facts import Fact, Known
from ..sources import AbsentError, Host, Source, side_by_side

_FALLBACK_SECONDS = 6.0


@dataclass(frozen=True)
class Reached:
    """Whether something answered as it should, and what it said."""

    well: bool
    detail: str


def _api_url(host: Host) -> str:
    """Return where GitHub answers; "" where no project of the site is there."""
    return github.of(host.whole).api_url if host.whole.sections("projects", ()) else ""


def read_names(host: Host) -> Mapping[str, Fact[Reached]]:
    """Resolve what is declared, and the host of GitHub."""
    address = urlsplit(_api_url(host)).hostname or ""
    wanted = tuple(dict.fromkeys(filter(None, (*host.policy.resolved_names, address))))
    if not wanted:
        raise AbsentError("no name is declared (resolved_names), and no project is at GitHub")

    def one(name: str) -> Reached:
        try:
            return Reached(True, f"{name} is {', '.join(host.resolve(name)[:2])}")
        except OSError as error:
            return Reached(False, f"{name} is not resolved: {error.strerror or error}")

    questions = {name: (lambda name=name: one(name)) for name in wanted}
    return side_by_side(questions, host.policy.gather_seconds * 0.8)


def read_github(host: Host) -> Reached:
    """Ask GitHub for what it tells anybody; who asks too often is told so, and has reached it."""
    address = _api_url(host)
    if not address:
        raise AbsentError("no project is at GitHub")
    name = urlsplit(address).hostname
    try:
        answer = host.fetch(
            Request("GET", f"{address}/meta", {"User-Agent": "aina-factory"}),
            timeout_seconds=min(_FALLBACK_SECONDS, host.policy.gather_seconds / 2),
        )
    except OSError as error:
        return Reached(False, f"{name} does not answer: {error}")
    if answer.status >= 500:
        return Reached(False, f"{name} answers with status {answer.status}")
    return Reached(True, f"{name} answers")


def judge_names(names: Mapping[str, Fact[Reached]], _context: JudgeContext) -> Iterator[Answer]:
    """Report every name that is not resolved."""

    def one(name: str, found: Reached) -> Iterator[Answer]:
        yield Answer(name, Status.OK if found.well else Status.PROBLEM, found.detail)

    return each(names, one)


def judge_github(found: Reached, _context: JudgeContext) -> Iterator[Answer]:
    """Report a GitHub that does not answer."""
    yield Answer("", Status.OK if found.well else Status.PROBLEM, found.detail)


NAMES = Source("names", read_names)
GITHUB = Source("github", read_github)
CHECKS = (
    Check(
        name="dns",
        title="Names that are resolved",
        advice="resolvectl status; resolvectl query NAME; cat /etc/resolv.conf",
        source=NAMES,
        judge=judge_names,
        selftest=BadOrGood(lambda bad, _now: {"n": Known(Reached(not bad, "as told"))}),
        severity="critical",
    ),
    Check(
        name="github",
        title="GitHub answers",
        advice="https://www.githubstatus.com; factory marshal and runners go on when it is back",
        source=GITHUB,
        judge=judge_github,
        selftest=BadOrGood(lambda bad, _now: Reached(not bad, "as told")),
    ),
)
