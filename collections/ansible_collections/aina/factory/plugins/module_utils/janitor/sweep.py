"""One run of the janitor: list, decide, carry out exactly that, report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..base.disk import Disk
from . import plan
from .model import Candidate, CandidateDecision, Kind, KindError, SkipError, Watermarks

MeasureDisk = Callable[[], Disk]
Progress = Callable[[str], None]


@dataclass
class Item:
    """One thing that went, or under a dry run would go."""

    target: str
    bytes: int
    reason: str
    removed: bool


@dataclass
class KindReport:
    """How one kind ended: ``status`` is done, skipped or failed; ``detail`` says why."""

    status: str = "done"
    detail: str = ""
    items: list[Item] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def bytes_freed(self) -> int:
        """Bytes of what really went."""
        return sum(item.bytes for item in self.items if item.removed)


def measure_disk(path: str) -> Disk:
    """Return the state of the filesystem that holds ``path``.

    Raises:
        OSError: the path does not exist or cannot be asked.

    """
    answer = os.statvfs(path)
    unit = answer.f_frsize
    used = (answer.f_blocks - answer.f_bfree) * unit
    return Disk(path, answer.f_blocks * unit, used, answer.f_bavail * unit)


def sweep(
    kinds: Sequence[Kind],
    disk: MeasureDisk,
    watermarks: Watermarks,
    now: float,
    *,
    dry_run: bool,
    progress: Progress = lambda message: None,
) -> dict[str, KindReport]:
    """Run all ``kinds``; one that fails is reported and never stops the others."""
    reports = {kind.name: KindReport() for kind in kinds}
    inventory: dict[str, Sequence[Candidate]] = {}
    for kind in kinds:
        progress(f"looking at {kind.name}")
        with _reporting(reports[kind.name]):
            inventory[kind.name] = kind.inventory()
    decisions = plan.decide(
        inventory, {kind.name: kind.limits for kind in kinds}, disk(), watermarks, now
    )
    for kind in kinds:
        report = reports[kind.name]
        chosen = decisions.get(kind.name, [])
        report.kept.update(decision.reason for decision in chosen if not decision.goes)
        going = [decision for decision in chosen if decision.goes]
        if dry_run:
            report.items += [
                Item(d.candidate.target, d.candidate.bytes, d.reason, False) for d in going
            ]
        else:
            _carry_out(kind, going, report, disk, watermarks, progress)
        for failure in getattr(kind, "failures", ()):  # of a part: the rest was done
            with _reporting(report):
                raise KindError(failure)
    return reports


def _carry_out(
    kind: Kind,
    going: Sequence[CandidateDecision],
    report: KindReport,
    disk: MeasureDisk,
    watermarks: Watermarks,
    progress: Progress,
) -> None:
    prepare = getattr(kind, "prepare", None)  # of a kind that removes all at once
    if prepare is not None:
        with _reporting(report):
            prepare([decision.candidate for decision in going])
        if report.status != "done":
            return
    for number, decision in enumerate(going, start=1):
        progress(f"{kind.name} {number}/{len(going)}")
        # Things that share blocks free more together than each by itself, so the disk may
        # be at its low mark before the plan's end.
        reached = prepare is None and disk().used_percent <= watermarks.low_percent
        if decision.reason == plan.WATERMARK and reached:
            report.kept["low_mark_reached"] += 1
            continue
        with _reporting(report):
            _one(kind, decision, report)
        if report.status == "skipped":
            return


def _one(kind: Kind, decision: CandidateDecision, report: KindReport) -> None:
    removal = kind.remove(decision.candidate)
    if not removal.removed:
        report.kept[removal.reason] += 1
        return
    report.items.append(Item(decision.candidate.target, removal.bytes, decision.reason, True))


@contextmanager
def _reporting(report: KindReport) -> Iterator[None]:
    # Whatever a kind raises is that kind's failure: the others still have to run.
    try:
        yield
    except SkipError as reason:
        report.status, report.detail = "skipped", str(reason)
    except Exception as error:
        message = str(error) or type(error).__name__
        report.detail = f"{report.detail}; {message}" if report.status == "failed" else message
        report.status = "failed"
