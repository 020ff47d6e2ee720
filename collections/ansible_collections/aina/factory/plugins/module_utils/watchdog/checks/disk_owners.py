"""Who holds the disks: bytes of no measured place, and of files that are deleted but open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ...base.configuration import Section
from ...base.text import size
from .. import attribution
from ..attribution import Attribution
from ..check import Answer, AtLimit, Check, JudgeContext, each, some
from ..facts import Fact, Known, Unknown
from ..filesystems import hidden
from ..limits import Limit
from ..sources import AbsentError, Host, Source, parsed, told

UNATTRIBUTED = Limit(
    "unattributed_percent",
    "Share of a disk's used bytes that lie in no measured place.",
    raise_at=30,
    clear_at=20,
    maximum=100,
)
DELETED_OPEN = Limit(
    "deleted_open_mib",
    "Bytes of files that are deleted and still open.",
    raise_at=5120,
    clear_at=2048,
)
MEASURE_AGE = Limit(
    "measure_age_hours", "Age of the last measurement of the disks.", raise_at=6, clear_at=6
)
_MIB = 1 << 20

# By disk.
Owners = Mapping[str, Fact[Attribution]]


def read(host: Host) -> Owners:
    """Return the newest measurement of who holds the disks."""
    if not host.policy.measure.places:
        raise AbsentError("no places to measure are declared (measure.roots)")
    path = Path(host.policy.state_dir, "owners.json")
    if not path.exists():
        if host.is_new(MEASURE_AGE):
            raise AbsentError("not measured yet")
        raise OSError(f"{path} does not exist; did the job that measures the disk ever run?")
    section = Section(parsed(path), "owners")
    found = {
        item.text("path"): told(lambda item=item: _dated(host, attribution.from_section(item)))  # type: ignore[misc]
        for item in section.sections("disks")
    }
    missing = [disk for disk in host.policy.disks if disk not in found]
    return {**found, **{disk: Unknown(f"{disk} was not measured") for disk in missing}}


def _dated(host: Host, found: Attribution) -> Fact[Attribution]:
    return host.written(found, found.measured_at, "the measurement", MEASURE_AGE)


def judge_unattributed(owners: Owners, context: JudgeContext) -> Iterator[Answer]:
    """Judge how much of the used bytes belongs to no measured place."""

    def one(path: str, found: Attribution) -> Iterator[Answer]:
        rest = max(0, found.unattributed_bytes)
        share = 100.0 * rest / found.used_bytes if found.used_bytes else 0.0
        status, lingers = context.by(UNATTRIBUTED, share)
        detail = f"{size(rest)} of {path} ({share:.1f} %) belong to no measured place"
        yield Answer(path, status, detail, round(share, 1), lingers)

    return _measured(owners, context, one)


def judge_deleted(owners: Owners, context: JudgeContext) -> Iterator[Answer]:
    """Judge the bytes of files that are deleted but still held open."""

    def one(path: str, found: Attribution) -> Iterator[Answer]:
        mib = found.deleted_open_bytes / _MIB
        status, lingers = context.by(DELETED_OPEN, mib)
        holders = some(f"{name} {size(count)}" for name, count in found.deleted_open)
        detail = f"{size(found.deleted_open_bytes)} on {path} are deleted but still open"
        yield Answer(path, status, f"{detail}: {holders}" if holders else detail, mib, lingers)

    return _measured(owners, context, one)


def _measured(
    owners: Owners, context: JudgeContext, judge: Callable[[str, Attribution], Iterator[Answer]]
) -> Iterator[Answer]:
    """Judge the measurements that are new enough, of filesystems that are there."""
    seen = {path: hidden(path, context.facts) or found for path, found in owners.items()}
    yield from each(seen, judge)


def example(now: float, share: float, deleted_mib: float = 0) -> Owners:
    """Return the measurement of one disk."""
    used = 100 << 30
    deleted, rest = round(deleted_mib * _MIB), round(used * share / 100)
    return {"/": Known(Attribution("/", now, used, (), deleted, (), rest, None, True))}


SOURCE = Source("owners", read)
CHECKS = (
    Check(
        name="disk_owners",
        title="Unattributed disk use",
        advice="add the missing place to extra_roots of watchdog_measure",
        source=SOURCE,
        judge=judge_unattributed,
        selftest=AtLimit(UNATTRIBUTED, lambda share, now: example(now, share)),
        other_limits=(MEASURE_AGE,),
    ),
    Check(
        name="disk_deleted_open",
        title="Deleted but open files",
        advice="restart the named programs",
        source=SOURCE,
        judge=judge_deleted,
        selftest=AtLimit(DELETED_OPEN, lambda mib, now: example(now, 0, mib)),
        other_limits=(MEASURE_AGE,),
    ),
)
