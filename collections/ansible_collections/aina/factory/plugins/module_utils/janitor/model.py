"""The words of the janitor: candidates, limits, decisions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..base import paths
from ..base.disk import Removal
from ..base.errors import FactoryError


class SkipError(Exception):
    """A kind has nothing to do here, or must not act now; the message is a reason code."""


class KindError(FactoryError):
    """A kind could not be inspected or acted upon; the message says what, where, what to do."""


@dataclass(frozen=True)
class Candidate:
    """One thing that may go.

    ``target`` is a path or an object's name; ``bytes`` is what its going frees by itself;
    ``last_used`` is seconds since the epoch, or ``None`` when unknown, which never counts
    as old. ``held_by`` is a reason code that keeps it whatever its age; ``due`` is a reason
    code that makes it go whatever its age. ``counted`` says whether its bytes lie on the
    watched disk. ``handle`` is what its kind needs in order to act, and nobody else's.
    """

    kind: str
    target: str
    bytes: int
    last_used: float | None
    held_by: str = ""
    due: str = ""
    counted: bool = True
    handle: object = field(default=None, compare=False)


@dataclass(frozen=True)
class KindLimits:
    """One kind's limits; ``None`` switches a limit off.

    ``min_age_seconds`` protects whatever was used since then, even on a full disk.
    ``watermark`` says whether a disk above its high mark may take what is within limits.
    """

    max_age_seconds: float | None = None
    min_age_seconds: float = 0.0
    max_total_bytes: int | None = None
    max_per_run: int = 1000
    watermark: bool = True


@dataclass(frozen=True)
class Watermarks:
    """Act above ``high_percent``, stop at ``low_percent``."""

    high_percent: float
    low_percent: float


@dataclass(frozen=True)
class CandidateDecision:
    """Whether a candidate goes, and the reason code for it."""

    candidate: Candidate
    goes: bool
    reason: str


class Kind(Protocol):
    """One kind of leftovers: it can list what may go, and let one go."""

    @property
    def name(self) -> str:
        """The name in the configuration's order and in reports."""

    @property
    def limits(self) -> KindLimits:
        """The kind's limits."""

    def inventory(self) -> Sequence[Candidate]:
        """Return what may go and what holds it; changes nothing.

        Raises:
            SkipError: nothing to do here, or not now.
            KindError: the kind could not be inspected.

        """

    def remove(self, candidate: Candidate) -> Removal:
        """Check the candidate once more and let it go.

        Raises:
            SkipError: the kind must not act now.
            KindError: it could not be removed.

        """


def present(patterns: Iterable[str]) -> list[str]:
    """Return the existing paths among ``patterns``, which may hold wildcards.

    Raises:
        SkipError: none exists.

    """
    roots = paths.expand_roots(patterns)
    if not roots:
        raise SkipError("not_present")
    return roots
