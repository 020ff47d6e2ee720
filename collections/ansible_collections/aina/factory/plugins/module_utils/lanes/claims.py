"""Who works on an issue, said at GitHub: one claim per number, taken by compare-and-set.

A claim is a ref of the repository, below :data:`REFS`, whose commit says who has it. It is made,
moved and taken away by pushes that name the commit which they replace, so that of several servers
one succeeds. Such a ref is no branch: nothing is built for it and nobody sees it in a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..base.github.errors import RefusedError
from ..base.text import printable
from .collect import CollectError, LaneMirror

REFS = "refs/factory/lanes/"
RUNNING, UNDELIVERED, ENDED = "running", "undelivered", "ended"
# Of a claim, which anybody who may push can have written.
_TEXT_MAX_BYTES, _WORD_MAX_LENGTH, _CLAIMS_MAX_COUNT = 4096, 120, 2000
_LINE = re.compile(rf"([0-9a-f]{{40}})\t{REFS}([1-9][0-9]{{0,8}})\Z")
_IDENTITY = ("-c", "user.name=aina-factory", "-c", "user.email=aina-factory@localhost")


class ClaimedError(RefusedError):
    """Another server works on it."""


@dataclass(frozen=True)
class Claim:
    """Who works on an issue or a pull request, or what became of the last who did.

    ``until`` is when nobody believes it any more, in seconds since the epoch; ``commit`` is what
    the ref stands at, empty for one that is not at GitHub.
    """

    host: str
    lane: str
    state: str = RUNNING
    until: float = 0.0
    at: float = 0.0
    outcome: str = ""
    # How many lanes of all servers have ended without solving it.
    attempts_count: int = 0
    commit: str = ""

    def is_held(self, now: float) -> bool:
        """Whether somebody has it at ``now``, in seconds since the epoch."""
        return self.state != ENDED and now < self.until

    def obstacle(self, host: str, now: float) -> str:
        """Say why a lane of ``host`` may not have it; empty when it may."""
        if self.host == host or not self.is_held(now):
            return ""
        return f"lane {self.lane} of the server {self.host} works on it ({self.state})"


@dataclass(frozen=True)
class Claims:
    """The claims of one repository; ``mirror`` is the bare one in which they are read and written."""

    mirror: LaneMirror

    def of(self, number: int) -> Claim | None:
        """Return who has an issue or a pull request; ``None`` when nobody ever had.

        Raises:
            CollectError: GitHub does not say.

        """
        return self._read(str(number)).get(number)

    def all(self) -> dict[int, Claim]:
        """Return all claims, by number.

        Raises:
            CollectError: GitHub does not say.

        """
        return self._read("*")

    def take(self, number: int, wanted: Claim, now: float) -> Claim:
        """Have it as ``wanted`` says, unless another server has; return it as it stands at GitHub.

        Raises:
            ClaimedError: another server has it, or was faster.
            CollectError: GitHub does not say, or refuses.

        """
        found = self.of(number)
        words = found.obstacle(wanted.host, now) if found else ""
        if words:
            raise ClaimedError(f"#{number}: {words}")
        wanted = replace(
            wanted, at=now, attempts_count=found.attempts_count if found else wanted.attempts_count
        )
        return self._put(number, wanted, found.commit if found else "", now)

    def record(self, number: int, claim: Claim, now: float, **changes: Any) -> Claim:
        """Say what became of a claim that this server has; return it as it stands at GitHub.

        Raises:
            ClaimedError: another server has taken it meanwhile.
            CollectError: GitHub does not say, or refuses.

        """
        return self._put(number, replace(claim, at=now, **changes), claim.commit, now)

    def release(self, number: int, claim: Claim) -> None:
        """Take a claim of this server away; one that was taken meanwhile stays.

        Raises:
            CollectError: GitHub does not say, or refuses.

        """
        done = self.mirror.git(
            "push", "--quiet", *self._lease(number, claim.commit), f":{REFS}{number}"
        )
        if not done.ok and (found := self.of(number)) is not None and found.commit == claim.commit:
            raise CollectError(f"git push of the claim on #{number}: {done.said}")

    def _put(self, number: int, claim: Claim, replaced: str, now: float) -> Claim:
        said = asdict(claim)
        del said["commit"]
        tree = self.mirror.text("mktree")
        commit = self.mirror.text(
            *(*_IDENTITY, "commit-tree", "-m", json.dumps(said, sort_keys=True), tree)
        )
        done = self.mirror.git(
            "push", "--quiet", *self._lease(number, replaced), f"{commit}:{REFS}{number}"
        )
        if not done.ok:
            found = self.of(number)
            # A push that was not answered may have been carried out.
            if found is None or found.commit != commit:
                words = found.obstacle(claim.host, now) if found else ""
                if words:
                    raise ClaimedError(f"#{number}: {words}")
                raise CollectError(f"git push of the claim on #{number}: {done.said}")
        return replace(claim, commit=commit)

    def _lease(self, number: int, expected: str) -> tuple[str, ...]:
        return f"--force-with-lease={REFS}{number}:{expected}", self.mirror.url

    def _read(self, pattern: str) -> dict[int, Claim]:
        listed = self.mirror.text("ls-remote", self.mirror.url, f"{REFS}{pattern}")
        lines = [_LINE.match(line) for line in listed.splitlines()[:_CLAIMS_MAX_COUNT]]
        commits = {int(line[2]): line[1] for line in lines if line}
        missing = sorted({commit for commit in commits.values() if not self.mirror.has(commit)})
        if missing:
            words = ("--quiet", "--no-tags", "--no-write-fetch-head")
            self.mirror.out("fetch", *words, self.mirror.url, *missing)
        return {number: self._claim(commit) for number, commit in commits.items()}

    def _claim(self, commit: str) -> Claim:
        """Return what a claim's commit says; one that says nothing holds nobody up."""
        text = self.mirror.out("log", "-1", "--format=%B", commit)[:_TEXT_MAX_BYTES]
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            said = {}
        said = said if isinstance(said, dict) else {}
        return Claim(
            host=_word(said, "host"),
            lane=_word(said, "lane"),
            state=_word(said, "state") or ENDED,
            until=_number(said, "until"),
            at=_number(said, "at"),
            outcome=_word(said, "outcome"),
            attempts_count=int(_number(said, "attempts_count")),
            commit=commit,
        )


def _word(said: Mapping[str, Any], name: str) -> str:
    return printable(str(said.get(name) or ""))[:_WORD_MAX_LENGTH]


def _number(said: Mapping[str, Any], name: str) -> float:
    value = said.get(name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Neither without end nor no number at all.
    return float(value) if is_number and 0 <= value < 1e12 else 0.0  # type: ignore[operator, arg-type]
