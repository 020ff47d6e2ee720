"""The words of the reaper: facts of a worktree, verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass(frozen=True)
class Listed:
    """One entry of ``git worktree list``. Paths are as git stores them, undecoded bytes."""

    path: str
    head: str | None
    branch: str | None
    is_main: bool
    lock_reason: str | None
    admin_dir: str | None


@dataclass(frozen=True)
class Evidence:
    """Why a commit is safe: ``kind`` is one of those that ``landed`` lists."""

    kind: str
    detail: str


@dataclass(frozen=True)
class Contents:
    """What one walk over a worktree's files found.

    ``bytes`` is the allocated size that deleting it frees, ``count`` how many entries are no
    directories. ``newest_mtime`` and
    ``newest_ctime`` are in seconds since the epoch. ``marks`` has a number for each
    directory, relative to the root, that changes with any of its entries. ``repositories``
    are paths of nested git repositories, ``mounts`` of entries on another file system,
    ``unreadable`` of directories that could not be read, ``not_entered`` of those that the
    caller wanted closed.
    """

    bytes: int = 0
    count: int = 0
    newest_mtime: float = 0.0
    newest_ctime: float = 0.0
    marks: Mapping[str, int] = field(default_factory=dict)
    repositories: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    not_entered: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """What tells later whether a worktree is still as it was when it was judged.

    ``tree`` and ``admin`` are the marks of its files, without those in the ``disposable``
    directories, and of git's own directory for it.
    """

    tree: Mapping[str, int]
    admin: Mapping[str, int]
    disposable: frozenset[str]


@dataclass(frozen=True)
class WorktreeFacts:
    """All that is known of one worktree. ``obstacles`` are (reason, detail) in order of weight."""

    listed: Listed
    evidence: Evidence | None = None
    obstacles: tuple[tuple[str, str], ...] = ()
    contents: Contents | None = None
    trace: Trace | None = None


@dataclass(frozen=True)
class Verdict:
    """The decision about one worktree; ``reason`` is a stable code.

    ``bytes`` is what its deletion frees, ``None`` while it has not been measured.
    One that is to be reaped carries the ``trace`` by which a change since shows.
    """

    listed: Listed
    reap: bool
    reason: str
    detail: str
    evidence: Evidence | None
    bytes: int | None = None
    reaped: bool = False
    trace: Trace | None = None

    def document(self) -> dict[str, Any]:
        """Return the JSON form. A path that is not UTF-8 keeps its bytes as surrogates."""
        return {
            "path": self.listed.path,
            "branch": self.listed.branch,
            "head": self.listed.head,
            "verdict": "reap" if self.reap else "keep",
            "reason": self.reason,
            "detail": self.detail,
            "evidence": None
            if self.evidence is None
            else {"kind": self.evidence.kind, "detail": self.evidence.detail},
            "bytes": self.bytes,
            "reaped": self.reaped,
        }


@dataclass
class ReapReport:
    """What a reap of one repository found and did."""

    repository: str
    default_branch: str | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    unknown_directories: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    trash_bytes: int = 0

    @property
    def changed(self) -> bool:
        """Whether any worktree was reaped."""
        return any(verdict.reaped for verdict in self.verdicts)

    def document(self) -> dict[str, Any]:
        return {
            "repository": self.repository,
            "default_branch": self.default_branch,
            "worktrees": [verdict.document() for verdict in self.verdicts],
            "unknown_directories": self.unknown_directories,
            "warnings": self.warnings,
            "failures": self.failures,
            "bytes_freed": sum(item.bytes or 0 for item in self.verdicts if item.reaped),
            "bytes_reapable": sum(item.bytes or 0 for item in self.verdicts if item.reap),
            "changed": self.changed,
        }

    def record(self) -> dict[str, Any]:
        """Return all but the traces, in a form that JSON can carry between processes."""
        verdicts = [asdict(replace(verdict, trace=None)) for verdict in self.verdicts]
        return {**vars(self), "verdicts": verdicts}


def report_from_record(record: Mapping[str, Any]) -> ReapReport:
    """Return the report of which :meth:`ReapReport.record` made ``record``."""
    verdicts = [
        Verdict(
            **{
                **verdict,
                "listed": Listed(**verdict["listed"]),
                "evidence": verdict["evidence"] and Evidence(**verdict["evidence"]),
            }
        )
        for verdict in record["verdicts"]
    ]
    return ReapReport(**{**record, "verdicts": verdicts})
