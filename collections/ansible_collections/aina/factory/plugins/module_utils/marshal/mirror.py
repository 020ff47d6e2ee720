"""What git knows of the heads: merges tried in memory, reverts, the train's commits.

A bare copy of the base branch and of the heads under judgement. Nothing is checked
out; a merge is tried by ``git merge-tree``, so a verdict costs no working tree.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..base.errors import FactoryError
from ..base.mirror import BareRepository, TriedMerge
from .snapshot import GitEvidence

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Release Marshal",
    "GIT_AUTHOR_EMAIL": "release-marshal@example.com",
    "GIT_COMMITTER_NAME": "Release Marshal",
    "GIT_COMMITTER_EMAIL": "release-marshal@example.com",
    # A fixed date: the same members on the same base are the same commit, so that a
    # push repeated after a crash changes nothing.
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
}
# Whose commits are this program's own.
COMMITTER = (_IDENTITY["GIT_COMMITTER_NAME"], _IDENTITY["GIT_COMMITTER_EMAIL"])
_ZERO = "0" * 40
_FORBIDDEN = re.compile(r"(error:|HTTP) 403\b")
# Who undoes so many whole commits that were there before has an old tree.
_STALE_COUNT = 2
# So many updates of one head are followed back; an approval older than that is given anew.
_UPDATES_COUNT = 20


class MirrorError(FactoryError):
    """Git failed; the message says at what, and quotes it."""


class PushRefusedError(MirrorError):
    """The remote does not take a push; ``moved`` when the branch is not where it was."""

    def __init__(self, message: str, *, moved: bool = False) -> None:
        super().__init__(message)
        self.moved = moved


@dataclass(frozen=True)
class Landed:
    """A commit that landed, and what each of its paths was before; zeros for one that it added."""

    oid: bytes
    before: tuple[tuple[bytes, str], ...]


@dataclass(frozen=True)
class Picked:
    """A landed change on another branch: the commit, or the paths that conflict there.

    ``tip`` is ``base`` where the branch has the change already.
    """

    base: str
    tip: str
    conflict_paths: tuple[str, ...] = ()


@dataclass
class Mirror(BareRepository):
    """The marshal's copy; ``environment`` carries what git needs to log in."""

    _history: dict[tuple[str, int], tuple[Landed, ...]] = field(default_factory=dict)

    error = MirrorError
    timeout_seconds = 300.0

    def __post_init__(self) -> None:
        self.environment = {**_IDENTITY, **self.environment}

    def refresh(self, branch: str, branch_oid: str, heads: Mapping[int, str]) -> None:
        """Fetch the base branch and those heads that are not here yet.

        Raises:
            MirrorError: git could not fetch.

        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ensure()
        absent = self.missing({branch_oid, *heads.values()})
        if not absent:
            return
        wanted = [
            f"+refs/pull/{number}/head:refs/pull/{number}"
            for number in sorted(heads)
            if heads[number] in absent
        ]
        main = [f"+refs/heads/{branch}:refs/heads/{branch}"]
        refspecs = "\n".join([*main, *wanted, ""]).encode()
        done = self.git("fetch", "--quiet", "--no-tags", "--stdin", self.url, stdin=refspecs)
        if not done.ok and wanted:
            # One vanished head must not hide the others.
            self.out("fetch", "--quiet", "--no-tags", self.url, *main)
            for refspec in wanted:
                self.git("fetch", "--quiet", "--no-tags", self.url, refspec)
        elif not done.ok:
            self.out("fetch", "--quiet", "--no-tags", self.url, *main)

    def missing(self, oids: Iterable[str]) -> set[str]:
        """Return those commits that are not here."""
        asked = sorted(oids)
        lines = self.out("cat-file", "--batch-check", stdin="\n".join([*asked, ""]).encode())
        answers = lines.decode().splitlines()
        return {oid for oid, line in zip(asked, answers, strict=True) if line.endswith("missing")}

    def tree(self, commit: str) -> str:
        """Return the tree of a commit."""
        return self.text("rev-parse", "--verify", f"{commit}^{{tree}}")

    def parents(self, commit: str) -> list[str]:
        """Return the parents of a commit."""
        return self.out("rev-list", "--parents", "-n1", commit).decode().split()[1:]

    def commit(
        self, tree: str, parents: Sequence[str], message: str, moment: float | None = None
    ) -> str:
        """Write a commit and return its oid; the same arguments give the same oid."""
        flags = [word for parent in parents for word in ("-p", parent)]
        date = "" if moment is None else f"{moment:.0f} +0000"
        dates = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date} if date else None
        words = message.encode(errors="replace")
        return (
            self.out("commit-tree", tree, *flags, stdin=words, environment=dates).decode().strip()
        )

    def files(self, commit: str, directory: str) -> dict[str, bytes]:
        """Return the regular files right below ``directory``, by path."""
        listing = self.out("ls-tree", "-z", commit, f"{directory}/").split(b"\0")
        found = {}
        for line in filter(None, listing):
            attributes, _tab, name = line.partition(b"\t")
            mode, kind, oid = attributes.decode().split()
            if kind == "blob" and mode.startswith("100"):
                found[name.decode(errors="surrogateescape")] = self.out("cat-file", "blob", oid)
        return found

    def commit_files(self, parent: str, files: Mapping[str, bytes], message: str) -> str:
        """Make a commit on ``parent`` in which these regular files have this content.

        The same files on the same parent are the same commit, whenever it is made.
        """
        person = "{GIT_AUTHOR_NAME} <{GIT_AUTHOR_EMAIL}> 946684800 +0000".format(**_IDENTITY)
        words = message.encode()
        stream = f"commit refs/aina-factory/new\ncommitter {person}\ndata {len(words)}\n".encode()
        stream += words + f"\nfrom {parent}\n".encode()
        for path, content in sorted(files.items()):
            stream += f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
        self.out("fast-import", "--quiet", "--force", stdin=stream)
        return self.text("rev-parse", "refs/aina-factory/new")

    def push(self, oid: str, branch: str) -> None:
        """Let ``branch`` of the remote be ``oid``.

        Raises:
            PushRefusedError: the remote does not allow it.

        """
        self._push(f"+{oid}:refs/heads/{branch}")

    def land(self, oid: str, branch: str) -> None:
        """Move ``branch`` of the remote forward to exactly ``oid``, which descends from it.

        Raises:
            PushRefusedError: somebody else has moved it, or a rule forbids it.

        """
        self._push(f"{oid}:refs/heads/{branch}")
        self.out("update-ref", f"refs/heads/{branch}", oid)

    def _push(self, refspec: str) -> None:
        # A redirect could lead a write to where the repository is not looked for.
        stay = ("-c", "http.followRedirects=false")
        done = self.git("push", "--quiet", "--porcelain", self.url, refspec, settings=stay)
        if done.ok:
            return
        said = done.stderr.decode(errors="replace").splitlines()
        for line in done.stdout.decode(errors="replace").splitlines():
            if line.startswith("!"):
                why = line.rpartition("\t")[2]
                told = (text[8:].strip() for text in said if text.startswith("remote: "))
                words = "; ".join([why, *told])
                # "[rejected]" is git's own word, "lock" the remote's, for a branch that moved.
                moved = why.startswith("[rejected]") or "lock" in why
                raise PushRefusedError(f"the push was refused: {words[:500]}", moved=moved)
        words = f"git push ended with {done.returncode}: {' '.join(said)[-500:]}"
        # The login could fetch: it is this push that is forbidden, whatever it brings.
        raise PushRefusedError(words) if _FORBIDDEN.search(words) else MirrorError(words)

    def holds(self, branch: str, oid: str) -> bool:
        """Whether ``branch`` of the remote has the commit."""
        if self._descends(branch, oid):
            return True
        refspec = f"+refs/heads/{branch}:refs/heads/{branch}"
        self.out("fetch", "--quiet", "--no-tags", self.url, refspec)
        return self._descends(branch, oid)

    def _descends(self, branch: str, oid: str) -> bool:
        return self.is_ancestor(oid, f"refs/heads/{branch}")

    def remote_tip(self, branch: str) -> str:
        """Return the commit that ``branch`` of the remote is at; "" when there is none."""
        reference = f"refs/heads/{branch}"
        listed = self.out("ls-remote", self.url, reference).decode(errors="replace")
        found = (line.split("\t") for line in listed.splitlines())
        return next((oid for oid, name in found if name == reference), "")

    def fetch_tip(self, branch: str) -> str:
        """Fetch what ``branch`` of the remote is now, without its history, and return its commit.

        Raises:
            MirrorError: git could not fetch.

        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.ensure()
        reference = f"refs/heads/{branch}"
        words = ("--quiet", "--no-tags", "--depth=1", self.url, f"+{reference}:{reference}")
        self.out("fetch", *words)
        return self.text("rev-parse", "--verify", reference)

    def push_over(self, oid: str, branch: str, expected: str) -> None:
        """Let ``branch`` of the remote be ``oid``, if it is still at ``expected`` ("": absent).

        Raises:
            MirrorError: somebody moved it meanwhile, or git failed.

        """
        reference = f"refs/heads/{branch}"
        lease = f"--force-with-lease={reference}:{expected}"
        self.out("push", "--quiet", lease, self.url, f"{oid}:{reference}")

    def evidence(self, base_oid: str, head_oid: str, window_days: int) -> GitEvidence:
        """Return what git says of ``head_oid`` against ``base_oid``."""
        behind = int(self.out("rev-list", "--count", f"{head_oid}..{base_oid}"))
        merged = self.merge(base_oid, head_oid)
        if not merged.clean:
            return GitEvidence(base_oid, head_oid, behind, merged.conflict_paths, clean=False)
        changes = self._changes(self.tree(base_oid), merged.tree)
        return GitEvidence(
            base_oid,
            head_oid,
            behind,
            result_tree=merged.tree,
            empty=not changes,
            reverted_paths=self._reverted(base_oid, head_oid, changes, window_days),
            updated_from=self._updated_from(base_oid, head_oid),
            change=hashlib.sha256(repr(sorted(changes.items())).encode()).hexdigest()[:16],
            # Of a head that has all of its base the result is its own tree.
            workflows_differ=behind > 0
            and self._workflows(head_oid) != self._workflows(merged.tree),
        )

    def _workflows(self, tree: str) -> bytes:
        return self.out("ls-tree", tree, ".github/workflows")

    def _updated_from(self, base_oid: str, head_oid: str) -> tuple[str, ...]:
        """Return the heads to which nothing but the base branch was added, the newest first.

        Each step must be the merge that git itself makes of the two, to the last byte.
        """
        found: list[str] = []
        commit = head_oid
        while len(found) < _UPDATES_COUNT:
            parents = self.parents(commit)
            if len(parents) != 2 or not self.is_ancestor(parents[1], base_oid):
                break
            merged = self.merge(*parents)
            if not merged.clean or merged.tree != self.tree(commit):
                break
            commit = parents[0]
            found.append(commit)
        return tuple(found)

    def _changes(self, before: str, after: str) -> dict[bytes, str]:
        raw = self.out("diff-tree", "-r", "-z", "--no-renames", "--raw", before, after)
        return dict(_pairs(raw))

    def _fork(self, base_oid: str, head_oid: str) -> str:
        """Return where a branch left the base, before whatever it merged of it since.

        A merge of the base that took nothing of it over would hide behind the merge base.
        """
        own = self.out("rev-list", "--first-parent", head_oid, f"^{base_oid}").decode().split()
        below = self.parents(own[-1])[:1] if own else []
        return below[0] if below else self.text("merge-base", base_oid, head_oid)

    def _reverted(
        self, base_oid: str, head_oid: str, changes: Mapping[bytes, str], window_days: int
    ) -> tuple[str, ...]:
        """Return the paths that a head puts back to what they were before something landed.

        What landed before it left the base its author knew, and may well change. But whoever
        undoes several whole commits of those has an old tree on a new base.
        """
        landed = self.history(base_oid, window_days)
        since = set(self.out("rev-list", f"{self._fork(base_oid, head_oid)}..{base_oid}").split())
        whole = [commit for commit in landed if all(changes.get(p) == b for p, b in commit.before)]
        counting = [commit for commit in landed if commit.oid in since]
        counting += whole if len(whole) >= _STALE_COUNT else []
        found = {p for c in counting for p, blob in c.before if changes.get(p) == blob}
        return tuple(sorted(path.decode(errors="replace") for path in found))

    def history(self, base_oid: str, window_days: int) -> tuple[Landed, ...]:
        """Return what landed on the base branch within the window, the newest first."""
        key = (base_oid, window_days)
        if key not in self._history:
            self._history[key] = self._read_history(base_oid, window_days)
        return self._history[key]

    def _read_history(self, base_oid: str, window_days: int) -> tuple[Landed, ...]:
        newest = int(self.out("show", "-s", "--format=%ct", base_oid))
        raw = self.out(
            "log",
            "--first-parent",
            "--diff-merges=first-parent",
            "--raw",
            "-r",
            "-z",
            "--no-abbrev",
            "--no-renames",
            "--format=%x01%H",
            f"--since={newest - window_days * 86400}",
            base_oid,
        )
        found = []
        for text in raw.split(b"\1")[1:]:
            oid, _nul, rest = text.partition(b"\0")
            # The first commit of all has nothing before it to go back to.
            before = tuple(_pairs(rest, before=True))
            if before:
                found.append(Landed(oid.strip(), before))
        return tuple(found)

    def cherry_pick(self, branch: str, merge_oid: str, head_oid: str, method: str) -> Picked:
        """Put what landed of ``head_oid``, as ``merge_oid``, on top of ``branch`` of the remote.

        The same change on the same branch is the same commit. It keeps its author.
        """
        here = f"refs/heads/{branch}"
        self.out("fetch", "--quiet", "--no-tags", self.url, f"+{here}:{here}")
        base = self.text("rev-parse", "--verify", here)
        before, after = self._landing(merge_oid, head_oid, method)
        # To merge both from where the change began, git has to believe that the branch does, too.
        ours = self.commit(self.tree(base), [before], "the branch\n")
        theirs = self.commit(self.tree(after), [before], "the change\n")
        merged = self.merge(ours, theirs)
        if not merged.clean:
            return Picked(base, "", merged.conflict_paths)
        if merged.tree == self.tree(base):
            return Picked(base, base)
        said = self.text("show", "-s", "--format=%an%x00%ae%x00%aI%x00%B", after)
        name, address, date, words = said.split("\0", 3)
        person = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": address, "GIT_AUTHOR_DATE": date}
        message = f"{words.strip()}\n\n(cherry picked from commit {after})\n".encode()
        words_ = ("commit-tree", merged.tree, "-p", base)
        return Picked(base, self.out(*words_, stdin=message, environment=person).decode().strip())

    def _landing(self, merge_oid: str, head_oid: str, method: str) -> tuple[str, str]:
        """Return the states before and after what landed; of a train the member's own merge."""
        lines = self.text("rev-list", "--first-parent", "--parents", "-n100", merge_oid)
        for line in lines.splitlines():
            commit, *parents = line.split()
            if head_oid in parents[1:]:
                return parents[0], commit
        count = 1
        if method == "rebase":
            count = int(self.out("rev-list", "--count", f"{merge_oid}^1..{head_oid}"))
        return self.text("rev-parse", "--verify", f"{merge_oid}~{count}"), merge_oid

    def last_change(self, base_oid: str, head_oid: str, paths: Sequence[str]) -> str:
        """Return the subject of the newest landed commit that touched ``paths``, or ""."""
        subject = self.out(
            "log", "--first-parent", "-n1", "--format=%s", f"{head_oid}..{base_oid}", "--", *paths
        )
        return subject.decode(errors="replace").strip()

    def landed_tree(self, method: str, merge_oid: str, base_oid: str, head_oid: str) -> str:
        """Return the tree that landing ``head_oid`` should have given ``merge_oid``.

        The parent is asked of the landed commit itself, so that the answer is right
        even when somebody else landed in between.
        """
        parent = f"{merge_oid}^1"
        if method == "rebase":
            count = int(self.out("rev-list", "--count", f"{base_oid}..{head_oid}"))
            parent = f"{merge_oid}~{count}"
        before = self.text("rev-parse", "--verify", parent)
        merged = self.merge(before, head_oid)
        return merged.tree if merged.clean else ""


class Stacking(Protocol):
    """What a stack is made with."""

    def merge(self, ours: str, theirs: str) -> TriedMerge: ...

    def tree(self, commit: str) -> str: ...

    def commit(
        self, tree: str, parents: Sequence[str], message: str, moment: float | None = None
    ) -> str: ...


def stack(
    git: Stacking,
    base_oid: str,
    heads: Sequence[str],
    messages: Sequence[str] = (),
    moment: float | None = None,
    *,
    merges: bool = True,
) -> tuple[str, list[int]]:
    """Land ``heads`` one after the other in memory, by merge commits or squashed.

    Returns the last commit, and the indexes of those that conflict with what went before
    or would add nothing to it. By merges all others are among its ancestors.
    """
    tip, tree, conflicting = base_oid, git.tree(base_oid), []
    for index, head in enumerate(heads):
        merged = git.merge(tip, head)
        if not merged.clean or merged.tree == tree:
            conflicting.append(index)
            continue
        tree = merged.tree
        message = messages[index] if messages else f"Merge {head}"
        parents = [tip, head] if merges else [tip]
        tip = git.commit(merged.tree, parents, f"{message}\n", moment)
    return tip, conflicting


def _pairs(raw: bytes, *, before: bool = False) -> Iterable[tuple[bytes, str]]:
    fields = [field for field in raw.split(b"\0") if field]
    for meta, path in zip(fields[::2], fields[1::2], strict=True):
        words = meta.lstrip(b"\n").decode().split()
        yield path, words[2 if before else 3]
