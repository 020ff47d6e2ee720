"""Watched filesystems: mounted, and with space and inodes left."""

from __future__ import annotations

from collections.abc import Iterator

from ...base.disk import Disk
from ...base.text import duration, size
from ..check import SHOWN, Answer, AtLimit, BadOrGood, Check, JudgeContext, Status, each
from ..facts import DAY, Known
from ..filesystems import DISKS, MOUNTS, Disks, Filesystem, Mounts
from ..limits import Limit
from ..mounts import Mount
from .disk_owners import SOURCE as OWNERS

SPACE = Limit(
    "disk_used_percent", "Used share of a filesystem.", raise_at=85, clear_at=80, maximum=99
)
INODES = Limit(
    "inodes_used_percent",
    "Used share of a filesystem's inodes.",
    raise_at=85,
    clear_at=80,
    maximum=99,
)


def judge_space(disks: Disks, context: JudgeContext) -> Iterator[Answer]:
    """Judge the used share of each filesystem; a problem names what grew most."""

    def one(path: str, filesystem: Filesystem) -> Iterator[Answer]:
        used = filesystem.disk.used_percent
        status, lingers = context.by(SPACE, used)
        detail = f"{used} % of {path} is used, {size(filesystem.disk.available_bytes)} are free"
        grown = _growers(path, context) if status is Status.PROBLEM else ""
        yield Answer(path, status, detail + grown, used, lingers)

    return each(disks, one)


def _growers(path: str, context: JudgeContext) -> str:
    owners = context.facts[OWNERS]
    fact = owners.value.get(path) if isinstance(owners, Known) else None
    if not isinstance(fact, Known):
        return ""
    found = fact.value
    grown = [(item.growth_bytes or 0, item.path) for item in found.owners]
    grown.append((found.unattributed_growth_bytes or 0, "unattributed"))
    told = [f"{name} +{size(count)}" for count, name in sorted(grown, reverse=True) if count > 0]
    return f"; grew most in 24 h: {', '.join(told[:SHOWN])}" if told else ""


def judge_inodes(disks: Disks, context: JudgeContext) -> Iterator[Answer]:
    """Judge the used share of each filesystem's inodes."""

    def one(path: str, filesystem: Filesystem) -> Iterator[Answer]:
        used = filesystem.inodes_used_percent
        if used is None:
            yield Answer(path, Status.ABSENT, f"{path} does not count inodes")
            return
        status, lingers = context.by(INODES, used)
        detail = f"{used} % of the inodes of {path} are used, {filesystem.inodes_free} are free"
        yield Answer(path, status, detail, used, lingers)

    return each(disks, one)


def judge_mounts(mounts: Mounts, context: JudgeContext) -> Iterator[Answer]:
    """Judge whether each declared filesystem is there, the same as ever, and writable."""

    def one(path: str, mount: Mount) -> Iterator[Answer]:
        status, detail = Status.PROBLEM, f"{mount.identity} is mounted"
        ago = context.now - mount.replaced_at if mount.replaced_at is not None else None
        if not mount.mounted:
            detail = f"{path} is not mounted: it lies on {mount.holder}"
        elif mount.read_only:
            detail += ", but read-only"
        elif mount.fault:
            detail += f", but {mount.fault}"
        elif ago is not None and ago < DAY:
            detail += f" for {duration(ago)}; before it was {mount.before}"
        else:
            status = Status.OK
        yield Answer(path, status, detail)

    return each(mounts, one)


def example(used_percent: float, inodes_percent: float = 10) -> Disks:
    """Return one filesystem with these shares in use."""
    total = 1000 << 30
    used = round(total * min(100, used_percent) / 100)
    disk = Disk("/", total, used, total - used)
    return {"/": Known(Filesystem(disk, 100_000, round(1000 * (100 - inodes_percent)), 1))}


_ADVICE = "factory status shows who holds the disk; factory janitor --dry-run what may go"
CHECKS = (
    Check(
        name="disk_space",
        title="Disk space",
        advice=_ADVICE,
        source=DISKS,
        judge=judge_space,
        selftest=AtLimit(SPACE, lambda percent, _now: example(percent)),
        severity="critical",
        stages=(90, 95, 99),
    ),
    Check(
        name="disk_inodes",
        title="Inodes",
        advice=_ADVICE,
        source=DISKS,
        judge=judge_inodes,
        selftest=AtLimit(INODES, lambda percent, _now: example(10, percent)),
        severity="critical",
        stages=(90, 95, 99),
    ),
    Check(
        name="disk_mount",
        title="Mounted disks",
        advice="findmnt; mount it, or declare the mount point that is meant (watchdog_disks)",
        source=MOUNTS,
        judge=judge_mounts,
        selftest=BadOrGood(lambda bad, _now: {"/d": Known(Mount("/", not bad, "ext4 x"))}),
        severity="critical",
    ),
)
