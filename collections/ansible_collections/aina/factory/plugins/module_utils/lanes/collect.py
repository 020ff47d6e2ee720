"""Git on the host's side: the read-only mirror, and what a lane hands over.

Git never runs in a directory that a lane has written: a bundle is bytes, checked object by
object on the way into a bare repository of ours.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from ..base.errors import FactoryError
from ..base.guarded import matching
from ..base.mirror import BareRepository, GitOptions
from ..base.ports import Completed
from ..base.text import printable

# Of what a lane has written, in a result.
SUBJECT_MAX_LENGTH, PATHS_MAX_COUNT = 250, 100
# Of one bundle. Who reads a change of more paths than this?
OBJECTS_MAX_COUNT, PATHS_MAX_TAKEN_COUNT = 500_000, 50_000
# What talks to the remote: it logs in, and reads what GitHub sends instead of what lanes have written.
_REMOTE = ("fetch", "push", "ls-remote")
# How it is said that a program was ended by what bounds it.
_PAST_BOUNDS = re.compile("printed more than|[Oo]ut of memory|ended with -|[Ff]ile too large")
_OBJECT = re.compile(rb"[0-9a-f]{40}\Z")
_SAFE = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0"),
    # A blob that is larger passes through, and is not held in memory.
    *("-c", "core.bigFileThreshold=32m"),
)


class CollectError(FactoryError):
    """Git refused; the message quotes it."""


class RewrittenError(CollectError):
    """What was handed over does not build on where its lane began."""


class LargeError(CollectError):
    """What was handed over stands for more than is taken."""


def is_too_large(error: Exception) -> bool:
    """Whether git came to no end with what was handed over within its bounds."""
    return isinstance(error, LargeError) or _PAST_BOUNDS.search(str(error)) is not None


@dataclass(frozen=True)
class Start:
    """Where a lane begins: at ``base``, and, to resolve a conflict, with ``onto`` to merge."""

    base: str
    onto: str = ""


@dataclass(frozen=True)
class Work:
    """What a bundle holds against its base; ``is_merged`` says whether that includes ``onto``."""

    head: str
    commits_count: int
    paths: tuple[str, ...]
    subject: str
    summary: str
    is_merged: bool = True


@dataclass
class LaneMirror(BareRepository):
    """The mirror of one project; ``login`` is the environment that lets git log in.

    ``prefix`` is the argument list that turns the program into one of an unprivileged user,
    ``bounds`` the one that holds it to its resources where it reads what lanes have written.
    """

    login: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    bounds: Sequence[str] = ()

    error = CollectError

    def git(self, *arguments: str, **options: Unpack[GitOptions]) -> Completed:
        """Run git as the lanes' user; see ``BareRepository``."""
        is_remote = arguments[0] in _REMOTE
        bounds = () if is_remote else self.bounds
        options["settings"] = _SAFE
        options["before"] = (*bounds, *self.prefix)
        options["environment"] = self.login if is_remote else None
        return super().git(*arguments, **options)

    def update(self, branch: str) -> Start:
        """Fetch the newest ``branch``; the caller holds the mirror's lock."""
        self._fetch(f"+refs/heads/{branch}:refs/heads/{branch}")
        return Start(self._commit(f"refs/heads/{branch}"))

    def update_pull(self, number: int, base_branch: str) -> Start:
        """Fetch a pull request's head, and the branch that it conflicts with."""
        branch = f"refs/heads/{base_branch}"
        self._fetch(f"+{branch}:{branch}", f"+refs/pull/{number}/head:{_pull(number)}")
        return Start(self._commit(_pull(number)), self._commit(branch))

    def _fetch(self, *refspecs: str) -> None:
        self.ensure()
        self.out("fetch", "--quiet", "--no-tags", "--prune", self.url, *refspecs)

    def _commit(self, ref: str) -> str:
        return self.text("rev-parse", "--verify", f"{ref}^{{commit}}")

    def has(self, commit: str) -> bool:
        """Whether the commit is here."""
        return self.git("cat-file", "-e", f"{commit}^{{commit}}").ok

    def conflicts(self, start: Start) -> list[str]:
        """Return the paths in which merging ``onto`` conflicts.

        Raises:
            CollectError: git does not say.

        """
        return list(self.merge(start.base, start.onto).conflict_paths)

    def forget_pulls(self, kept: Collection[int]) -> None:
        """Drop the heads of all pull requests but these; their objects go with a later repack.

        Lanes' work that is kept stands on them.
        """
        for ref in self.text("for-each-ref", "--format=%(refname)", "refs/pull/").split():
            if int(ref.rpartition("/")[2]) not in kept:
                self.out("update-ref", "-d", ref)

    def repack(self, keep_days: float) -> None:
        """Make the repository small again; what a running lane may still read stays."""
        self.out("repack", "-A", "-d", "-q", f"--unpack-unreachable={keep_days:.0f}.days.ago")
        self.out("prune", f"--expire={keep_days:.0f}.days.ago")

    def show(self, branch: str, path: str) -> str | None:
        """Return a file of a branch; ``None`` when it has none of that name."""
        done = self.git("show", f"refs/heads/{branch}:{path}")
        return done.stdout.decode(errors="replace") if done.ok else None

    def take(self, bundle: Path, start: Start, lane: str) -> Work:
        """Check a bundle and take its one branch over as ``refs/lanes/<lane>``.

        Raises:
            RewrittenError: it does not build on the base.
            LargeError: it stands for too much.
            CollectError: it is no bundle, or holds something broken.

        """
        base, onto = start.base, start.onto
        head, pack = _opened(bundle.read_bytes())
        objects_count = int.from_bytes(pack[8:12], "big")
        if objects_count > OBJECTS_MAX_COUNT:
            raise LargeError(f"the bundle has {objects_count} objects, over {OBJECTS_MAX_COUNT}")
        # A fetch from a bundle would let pass what git only warns of, such as a tree with a .git.
        check = ("index-pack", "--strict", "--threads=1", "--stdin", "--fix-thin")
        self.out(*check, stdin=pack)
        if not self.is_ancestor(base, head):
            raise RewrittenError(f"the bundle does not build on {base}")
        self._refuse_links(start, head)
        paths = self._paths(start, head)
        if len(paths) > PATHS_MAX_TAKEN_COUNT:
            raise LargeError(f"it changes {len(paths)} paths, over {PATHS_MAX_TAKEN_COUNT}")
        self.out("update-ref", f"refs/lanes/{lane}", head)
        known = [f"^{base}", *([f"^{onto}"] if onto else [])]
        return Work(
            head=head,
            commits_count=int(self.text("rev-list", "--count", head, *known)),
            paths=paths,
            subject=self.text("log", "-1", "--format=%s", head)[:SUBJECT_MAX_LENGTH],
            summary=self.text("diff", "--shortstat", "--no-ext-diff", "--no-textconv", base, head),
            is_merged=not onto or self.is_ancestor(onto, head),
        )

    def _refuse_links(self, start: Start, head: str) -> None:
        """Refuse a directory of which the bundle has the name alone.

        A repository inside the lane's is committed as a link to a commit that is nowhere. Where
        the project has a submodule, moving that is a change like another.
        """
        made = [set(self._new_links(side, head)) for side in filter(None, (start.base, start.onto))]
        for path in sorted(set.intersection(*made)):
            raise CollectError(
                f"{printable(path)} is a repository of its own, and its files are not in the bundle"
            )

    def _new_links(self, side: str, head: str) -> Iterator[str]:
        fields = self.text("diff-tree", "-r", "-z", "--no-renames", side, head).split("\0")
        for about, path in zip(fields[::2], fields[1::2], strict=False):
            before, after = about.split()[:2]
            if after == "160000" and before != ":160000":
                yield path

    def _paths(self, start: Start, head: str) -> tuple[str, ...]:
        """Return what the lane itself changed.

        In a merge that is what git would not have come to by itself, and ``onto`` does not have.
        """

        def differing(side: str) -> list[str]:
            names = self.text("diff-tree", "-r", "-z", "--no-renames", "--name-only", side, head)
            return [path for path in names.split("\0") if path]

        if not start.onto or not self.is_ancestor(start.onto, head):
            return tuple(differing(start.base))
        merged = self.merge(start.base, start.onto).tree
        brought = set(differing(start.onto))
        return tuple(path for path in differing(merged) if path in brought)

    def guarded(self, lane: str, start: Start, patterns: Sequence[str]) -> tuple[str, list[str]]:
        """Return the head that a lane's work has, and which paths under guard it changes.

        Raises:
            CollectError: there is no such work, or git does not say what it changes.

        """
        if not start.base:
            raise CollectError(
                f"where lane {lane} began is not recorded; what it changes is not known"
            )
        head = self._commit(f"refs/lanes/{lane}")
        paths = self._paths(start, head)
        linked = self._linked(start.base, patterns)
        behind = [path for path in paths if any(f"{path}/".startswith(f"{to}/") for to in linked)]
        return head, sorted({*guarded(paths, patterns), *behind})

    def _linked(self, commit: str, patterns: Sequence[str]) -> list[str]:
        """Return where links under guard lead to: who changes that changes what is read there."""
        found = []
        for entry in self.text("ls-tree", "-r", "-z", commit).split("\0"):
            about, _tab, path = entry.partition("\t")
            if about.startswith("120000 ") and guarded([path], patterns):
                to = self.text("cat-file", "blob", about.split()[2])
                found.append(posixpath.normpath(posixpath.join(posixpath.dirname(path), to)))
        return found

    def push(self, head: str, branch: str) -> None:
        """Push a lane's work; a branch that is another's is never overwritten."""
        refspec = f"{head}:refs/heads/{branch}"
        self.out("push", "--quiet", "--no-verify", self.url, refspec)

    def forget(self, lane: str) -> None:
        """Drop a lane's reference; its objects go with the next repack."""
        self.out("update-ref", "-d", f"refs/lanes/{lane}")


def _opened(bundle: bytes) -> tuple[str, bytes]:
    """Return the head that a bundle gives to the branch ``lane``, and its pack.

    Raises:
        CollectError: it is no bundle, or has no such branch.

    """
    header, _gap, pack = bundle.partition(b"\n\n")
    signature, *lines = header.split(b"\n")
    heads = [line[:-16] for line in lines if line.endswith(b" refs/heads/lane")]
    if signature != b"# v2 git bundle" or len(heads) != 1 or not _OBJECT.match(heads[0]):
        raise CollectError("what was handed over is no bundle of git with the branch lane")
    return heads[0].decode(), pack


def _pull(number: int) -> str:
    return f"refs/pull/{number}"


def guarded(paths: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the paths under guard."""
    return matching(tuple(patterns), paths)
