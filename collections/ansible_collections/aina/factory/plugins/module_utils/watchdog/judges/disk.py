"""Judges of disks: space, inodes, growth, and who holds the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...base.text import duration, size
from .. import trend
from ..facts import DAY, HOUR, Attribution, Fact, Filesystem, Known, Mount, Sample, Unknown
from ..findings import SHOWN, Answer, Context, Status, each, not_known, some

_MIB = 1 << 20


def disk_mount(mounts: Mapping[str, Fact[Mount]], context: Context) -> Iterator[Answer]:
    """Judge whether each declared filesystem is there, the same as ever, and writable."""

    def judge(path: str, mount: Mount) -> Iterator[Answer]:
        status, detail = Status.PROBLEM, f"{mount.identity} is mounted"
        ago = context.now - mount.replaced_at if mount.replaced_at is not None else None
        if not mount.mounted:
            detail = f"{path} is not mounted: it lies on {mount.holder}"
        elif mount.read_only:
            detail += ", but read-only"
        elif ago is not None and ago < DAY:
            detail += f" for {duration(ago)}; before it was {mount.before}"
        else:
            status = Status.OK
        yield Answer(path, status, detail)

    return each(mounts, judge)


def _hidden(path: str, context: Context) -> Unknown | None:
    """Return why nothing can be said of a filesystem, whatever was written down of it before."""
    disks = context.facts.disks
    fact = disks.value.get(path) if isinstance(disks, Known) else None
    return fact if isinstance(fact, Unknown) else None


def disk_space(disks: Mapping[str, Fact[Filesystem]], context: Context) -> Iterator[Answer]:
    """Judge the used share of each filesystem; a problem names what grew most."""

    def judge(path: str, filesystem: Filesystem) -> Iterator[Answer]:
        used = filesystem.disk.used_percent
        status, lingers = context.by("disk_used_percent", used)
        detail = f"{used} % of {path} is used, {size(filesystem.disk.available_bytes)} are free"
        grown = _growers(path, context) if status is Status.PROBLEM else ""
        yield Answer(path, status, detail + grown, used, lingers)

    return each(disks, judge)


def _growers(path: str, context: Context) -> str:
    if not isinstance(context.facts.owners, Known) or path not in context.facts.owners.value:
        return ""
    found = context.facts.owners.value[path]
    grown = [(item.growth_bytes or 0, item.path) for item in found.owners]
    grown.append((found.unattributed_growth_bytes or 0, "unattributed"))
    told = [f"{name} +{size(count)}" for count, name in sorted(grown, reverse=True) if count > 0]
    return f"; grew most in 24 h: {', '.join(told[:SHOWN])}" if told else ""


def disk_inodes(disks: Mapping[str, Fact[Filesystem]], context: Context) -> Iterator[Answer]:
    """Judge the used share of each filesystem's inodes."""

    def judge(path: str, filesystem: Filesystem) -> Iterator[Answer]:
        used = filesystem.inodes_used_percent
        if used is None:
            yield Answer(path, Status.ABSENT, f"{path} does not count inodes")
            return
        status, lingers = context.by("inodes_used_percent", used)
        detail = f"{used} % of the inodes of {path} are used, {filesystem.inodes_free} are free"
        yield Answer(path, status, detail, used, lingers)

    return each(disks, judge)


def disk_trend(samples: Mapping[str, tuple[Sample, ...]], context: Context) -> Iterator[Answer]:
    """Judge when each filesystem will be full."""
    for path, history in samples.items():
        found = trend.of(history, context.now)
        hidden = _hidden(path, context)
        if hidden is not None:
            yield not_known(path, hidden)
        elif found.growth_bytes_per_hour is None:
            detail = (
                f"{found.span_hours:.1f} h of samples of {path}; a trend needs some more than 24"
            )
            yield Answer(path, Status.ABSENT, detail)
        elif found.hours_to_full is None:
            yield Answer(path, Status.OK, f"{path} is not about to fill")
        else:
            hours = round(found.hours_to_full, 1)
            status, lingers = context.by("disk_full_within_hours", hours)
            detail = (
                f"{path} is full in {duration(hours * HOUR)} at "
                f"{size(found.growth_bytes_per_hour)} an hour"
            )
            yield Answer(path, status, detail, hours, lingers)


def disk_owners(owners: Mapping[str, Attribution], context: Context) -> Iterator[Answer]:
    """Judge how much of the used bytes belongs to no measured place."""

    def judge(path: str, found: Attribution) -> Iterator[Answer]:
        rest = max(0, found.unattributed_bytes)
        share = 100.0 * rest / found.used_bytes if found.used_bytes else 0.0
        status, lingers = context.by("unattributed_percent", share)
        detail = f"{size(rest)} of {path} ({share:.1f} %) belong to no measured place"
        yield Answer(path, status, detail, round(share, 1), lingers)

    return _measured(owners, context, judge)


def _measured(
    owners: Mapping[str, Attribution],
    context: Context,
    judge: Callable[[str, Attribution], Iterator[Answer]],
) -> Iterator[Answer]:
    """Judge the measurements that are new enough, of filesystems that are there."""
    for path, found in owners.items():
        age = context.now - found.measured_at
        hidden = _hidden(path, context)
        if hidden is not None:
            yield not_known(path, hidden)
        elif context.limits["measure_age_hours"].exceeded(age / HOUR):
            detail = f"last measured {duration(age)} ago; look at the job that measures the disk"
            yield Answer(path, Status.UNKNOWN, detail, source=path)
        else:
            yield from judge(path, found)


def disk_deleted(owners: Mapping[str, Attribution], context: Context) -> Iterator[Answer]:
    """Judge the bytes of files that are deleted but still held open."""

    def judge(path: str, found: Attribution) -> Iterator[Answer]:
        mib = found.deleted_open_bytes / _MIB
        status, lingers = context.by("deleted_open_mib", mib)
        holders = some(f"{name} {size(count)}" for name, count in found.deleted_open)
        detail = f"{size(found.deleted_open_bytes)} on {path} are deleted but still open"
        yield Answer(path, status, f"{detail}: {holders}" if holders else detail, mib, lingers)

    return _measured(owners, context, judge)
