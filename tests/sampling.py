"""Which points of an axis a run tries: a few that change with the commit, or all of them.

Some promises hold along an axis: a converge may be killed anywhere, a core may be an old or a new
one. Trying every point takes hours, so that a run draws a few. The draw follows from a seed, and
the seed from the commit: the axis is covered in the course of time, and a failure can be had again.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Axis -> how many of its points a run tries that does not try all.
DRAWN_COUNT = {
    "moments of a kill": 3,
    "connections that are lost": 1,
    "moments of a power loss": 1,
    "moments of a kill of a reap": 3,
    "repositories that are turned against root": 5,
    "states of the ways in": 2,
    "effects of a converge of runners": 1,
    "schedules": 40,
    "ansible-core under the sanity tests": 1,
    "differences of Ubuntu": 1,
    "ways in which a write at GitHub fails": 2,
}


def is_deep() -> bool:
    """Whether all points are tried."""
    return bool(os.environ.get("AINA_TEST_DEEP"))


def seed() -> str:
    """Return what the draws follow from: ``AINA_TEST_SEED``, or the commit where there is one."""
    given = os.environ.get("AINA_TEST_SEED")
    if given:
        return given
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "0"


def draw(axis: str, points: Sequence[T]) -> list[T]:
    """Return the points of the axis that this run tries, in their order."""
    count = DRAWN_COUNT[axis]
    if is_deep() or count >= len(points):
        return list(points)
    chosen = random.Random(f"{seed()} {axis}").sample(range(len(points)), count)  # noqa: S311 - no secret
    return [points[index] for index in sorted(chosen)]


def told() -> list[str]:
    """Return what the summary of a run says of its draws."""
    if is_deep():
        return ["every point of every axis was tried"]
    drawn = [f"{count} of the {axis}" for axis, count in DRAWN_COUNT.items()]
    return [
        "drawn: " + "; ".join(drawn),
        f"script/test --seed {seed()} draws the same again; script/test deep tries all of them",
    ]
