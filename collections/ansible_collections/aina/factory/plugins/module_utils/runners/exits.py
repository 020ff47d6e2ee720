"""What the end of a runner means, and what happens next.

A slot is never closed, only slow: whatever goes wrong, another try follows, after five seconds
first and after five minutes at most. What a job did is the job's: its runner registered,
listened and got it, so all that carries runners works, and the next one follows at once.

========================  ==========================================================
after a job, whatever     the next one at once
0                         the next one at once. Soon after the start it counts as a
                          failure: a server that turns each runner away must not be
                          asked without pause.
1                         it cannot run: bad configuration, registration gone
2, 3, 4, 5, 6             try again: retryable, updating (twice), session conflict,
                          configuration renewed
7                         GitHub accepts this version no longer: the slot ends, its
                          image must be rebuilt
125, 126, 127             the engine could not start the container
137, 143, other           killed or crashed
========================  ==========================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .settings import Timing

OUTDATED_CODE = 7
# A runner that ends on its own sooner than this had no time for a job.
SHORT_SECONDS = 20.0
_WORDS = {
    0: "it ended before it got a job",
    1: "it cannot run: bad configuration, or its registration is gone",
    2: "it asks to be started again",
    3: "it wants to update itself",
    4: "it wants to update itself",
    5: "another session of the same runner is open",
    6: "its configuration was renewed",
    7: "GitHub accepts its version no longer",
    125: "the engine could not start the container",
    126: "the image's runner cannot be executed",
    127: "the image has no runner",
    137: "it was killed",
    139: "it crashed",
    143: "it was ended",
}


class Next(StrEnum):
    """What a slot does after a runner's end."""

    GO_ON = "go on"
    BACK_OFF = "back off"
    OUTDATED = "outdated"


@dataclass(frozen=True)
class Reaction:
    """The next step, after how long, how many failures in a row there are now, and why."""

    next: Next
    delay_seconds: float
    failures_count: int
    detail: str


def words(code: int | None) -> str:
    """Return in words how a runner ended; None when nobody saw it."""
    if code is None:
        return "it ended unseen"
    known = _WORDS.get(code, "it crashed" if code > 7 else "it ended")
    return f"{known} (status {code})"


def delay(failures: int, timing: Timing, draw: float) -> float:
    """Return how long to wait after the n-th failure in a row; ``draw`` lies in [0, 1)."""
    # The exponent is bounded: a slot may fail for weeks.
    doubled = timing.backoff_first_seconds * 2.0 ** min(max(0, failures - 1), 30)
    # Up to a third less, never more: slots that failed together do not come back together.
    return min(doubled, timing.backoff_max_seconds) * (1.0 - draw / 3)


def failure(failures: int, detail: str, timing: Timing, draw: float) -> Reaction:
    """React to one more failure in a row."""
    count = failures + 1
    return Reaction(Next.BACK_OFF, delay(count, timing, draw), count, detail)


def react(
    code: int | None,
    *,
    had_job: bool,
    was_ended: bool,
    lasted_seconds: float,
    failures: int,
    timing: Timing,
    draw: float,
) -> Reaction:
    """Return what follows a runner's end; ``was_ended``: somebody wanted it to end."""
    if code == OUTDATED_CODE and not had_job:
        return Reaction(Next.OUTDATED, 0.0, failures + 1, words(code))
    if was_ended:
        return Reaction(Next.GO_ON, 0.0, 0, "ended by its supervisor")
    if had_job:
        return Reaction(
            Next.GO_ON, 0.0, 0, f"its job is over: {words(code)}" if code else "the job is done"
        )
    if code == 0 and lasted_seconds >= SHORT_SECONDS:
        return Reaction(Next.GO_ON, 0.0, 0, words(code))
    return failure(failures, words(code), timing, draw)
