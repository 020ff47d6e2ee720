"""Has the work of a commit landed? Answered by exact object ids only.

A commit is *landed* when everything that its own commits (those that the default branch
does not reach) did is in the default branch:

``ancestor``
    the default branch reaches the commit itself;
``remote_ref``
    a branch or pull request of the remote holds it (asked of the remote; a local
    remote-tracking ref can be stale);
``snapshot``
    at some first-parent commit after the fork, every path that an own commit touched is
    exactly as the lane left it: a squash, a rebase, a complete cherry-pick, a duplicate;
``rebase``
    every own commit is in the default branch as a commit that makes exactly the same
    changes, whatever a later one undid: a rebase, or a cherry-pick of all;
``replay``
    merging the lane into the parent of a default-branch commit gives exactly the tree of
    that commit: the same where the default branch had moved under the lane's files;
``pull_request``
    GitHub says that a merged pull request contained this very commit.
"""

from __future__ import annotations

import fnmatch
import functools
import itertools
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from ..base.git import REMOTE_SECONDS, Git, GitError, lines
from ..base.trust import read_file
from . import hints
from .model import Evidence
from .settings import HOLDING_REFS, Reap

# (mode, object id); mode 000000 is "not there".
State = tuple[str, str]
# Some hundred thousand boundaries.
_SHALLOW_BYTES = 32 << 20
_ABSENT = "000000"
# A number in the name of a pull request's ref, GitLab's too; of the newest so many are fetched.
_REQUEST = re.compile(r"/(\d+)/head$")
_REQUESTS = 100
# Merges that are compared at once: each differs from its parents in all that the others did.
_JOINS = 8
# So many of the newest commits are tried where the default branch renamed a lane's file.
_RENAME_COMMITS = 200
# Asked with the commits that git alone could not prove; answers (commit -> detail).
MergedPullRequests = Callable[[Sequence[str]], Mapping[str, str]]


class Changed(NamedTuple):
    """One path that differs between two trees."""

    path: bytes
    old: State
    new: State


@dataclass(frozen=True)
class Remote:
    """What a remote said just now: its default branch and its refs.

    ``bases`` are the other branches on which work lands; ``holding_refs`` are patterns of the
    refs that keep what they contain.
    """

    default_branch: str
    refs: Mapping[str, str]
    name: str = "origin"
    bases: tuple[str, ...] = ()
    holding_refs: tuple[str, ...] = HOLDING_REFS

    def tip(self, branch: str) -> str:
        """Return the commit of a branch."""
        return self.refs[f"refs/heads/{branch}"]

    @functools.cached_property
    def holding(self) -> dict[str, str]:
        """Object id -> name of a ref that keeps it, branches before others."""
        names = [
            name
            for name in self.refs
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in self.holding_refs)
        ]
        names.sort(key=lambda name: not name.startswith("refs/heads/"), reverse=True)
        return {self.refs[name]: name.removesuffix("^{}") for name in names}


def ask_remote(
    git: Git, name: str, default_branch: str | None, policy: Reap | None = None
) -> Remote:
    """List the remote's refs.

    Raises:
        GitError: the remote does not answer, or has no such default branch.

    """
    policy = policy or Reap()
    output = git.output("ls-remote", "--symref", name, timeout_seconds=REMOTE_SECONDS)
    refs: dict[str, str] = {}
    announced = None
    for line in output.decode(errors="surrogateescape").splitlines():
        value, _tab, ref = line.partition("\t")
        if value.startswith("ref: refs/heads/") and ref == "HEAD":
            announced = value.removeprefix("ref: refs/heads/")
        elif ref.startswith("refs/"):
            refs[ref] = value
    branch = default_branch or announced
    if branch is None:
        raise GitError(f"remote {name} does not say which branch is its default; name it")
    if f"refs/heads/{branch}" not in refs:
        raise GitError(f"remote {name} has no branch {branch}")
    bases = [
        other
        for ref in sorted(refs)
        if ref.startswith("refs/heads/")
        and (other := ref.removeprefix("refs/heads/")) != branch
        and any(fnmatch.fnmatchcase(other, pattern) for pattern in policy.base_branches)
    ]
    return Remote(branch, refs, name, tuple(bases), policy.holding_refs)


@dataclass
class Proofs:
    """What is known of each asked commit. A commit in neither mapping has not landed."""

    evidence: dict[str, Evidence] = field(default_factory=dict)
    # Commit -> why nothing can be said. Unknown is never landed.
    unknown: dict[str, str] = field(default_factory=dict)
    # What could not be asked: it proves nothing, and what others prove stands.
    warnings: list[str] = field(default_factory=list)


def prove(
    git: Git,
    common_dir: str,
    remotes: Sequence[Remote],
    heads: Iterable[str],
    branches: Iterable[str],
    *,
    count_pushed: bool,
    merged_pull_requests: MergedPullRequests | None,
) -> Proofs:
    """Find evidence for each of ``heads``, which may be on ``branches``.

    Nothing is written to the repository: fetched and computed objects go to a scratch
    directory.

    Raises:
        GitError: git failed on the repository as a whole, or the first remote's default branch
            could not be fetched.

    """
    with git.scratch_objects(common_dir) as scratch:
        proofs = Proofs()
        present = _History(git, scratch, common_dir).present(sorted(set(heads)))
        for head in set(heads) - present:
            proofs.unknown[head] = "its commit is not in the repository"
        names = sorted(branches) if count_pushed else []
        targets = [(remote, name) for remote in remotes for name in _bases(remote)]
        for number, (remote, base) in enumerate(targets):
            history = _History(git, scratch, common_dir)
            try:
                history.ensure(remote, [base, *names])
                _prove_on(
                    history, remote, base, present - proofs.evidence.keys(), proofs, count_pushed
                )
            except GitError as error:
                if number == 0:
                    raise
                proofs.warnings.append(f"{base} of the remote {remote.name}: {error}")
        history = _History(git, scratch, common_dir)
        for remote in remotes if count_pushed else ():
            if undecided := present - proofs.evidence.keys() - proofs.unknown.keys():
                history.fetch_requests(remote)
                _prove_by_remote(history, remote, undecided, proofs)
        open_heads = sorted(present - proofs.evidence.keys())
        if merged_pull_requests is not None and open_heads:
            for head, detail in merged_pull_requests(open_heads).items():
                proofs.evidence[head] = Evidence("pull_request", detail)
        for head in proofs.evidence:
            proofs.unknown.pop(head, None)
        return proofs


def _bases(remote: Remote) -> list[str]:
    return [remote.default_branch, *remote.bases]


def _prove_on(
    history: _History,
    remote: Remote,
    base: str,
    heads: set[str],
    proofs: Proofs,
    count_pushed: bool,
) -> None:
    """Find what one branch of a remote says of ``heads``."""
    problems = history.unreadable(sorted(heads), remote.tip(base))
    proofs.unknown |= problems
    readable = heads - problems.keys()
    for head in readable:
        if head not in history.parents:
            detail = f"{base} of the remote {remote.name} contains it"
            proofs.evidence[head] = Evidence("ancestor", detail)
    if count_pushed:
        _prove_by_remote(history, remote, readable, proofs)
    _prove_each_by_content(history, sorted(readable - proofs.evidence.keys()), proofs)


def _prove_by_remote(history: _History, remote: Remote, heads: set[str], proofs: Proofs) -> None:
    holding = remote.holding
    open_heads = sorted(heads - proofs.evidence.keys())
    for head in open_heads:
        if head in holding:
            proofs.evidence[head] = Evidence(
                "remote_ref", f"{holding[head]} of the remote is this commit"
            )
    open_heads = [head for head in open_heads if head not in proofs.evidence]
    here = history.present(sorted(holding))
    if not open_heads or not here:
        return
    missing = history.not_reached(open_heads, sorted(here))
    for head in open_heads:
        if head not in missing:
            proofs.evidence[head] = Evidence(
                "remote_ref", "a ref of the remote contains this commit"
            )


class _History:
    """The commits between the lanes and the default branch, read in few git calls."""

    def __init__(self, git: Git, scratch: Mapping[str, str], common_dir: str) -> None:
        self._git = git
        self._scratch = dict(scratch)
        self._common_dir = common_dir
        # Own commits of all lanes -> parents.
        self.parents: dict[str, tuple[str, ...]] = {}
        # Own commits -> number; a child has a smaller one than its parents.
        self.age: dict[str, int] = {}
        # Own commits -> commits that their message claims to revert.
        self.reverts: dict[str, set[str]] = {}
        self.trees: dict[str, str] = {}
        # First-parent commits of the default branch, newest first.
        self.chain: list[str] = []
        self.position: dict[str, int] = {}
        self.boundaries: frozenset[str] = frozenset()

    def output(
        self, *words: str, stdin: bytes = b"", environment: Mapping[str, str] = MappingProxyType({})
    ) -> bytes:
        return self._git.output(*words, stdin=stdin, environment={**self._scratch, **environment})

    def ensure(self, remote: Remote, branches: Iterable[str]) -> None:
        """Have those of ``branches`` at hand that the remote has, without moving any ref."""
        self._have(remote, [f"refs/heads/{name}" for name in branches])

    def fetch_requests(self, remote: Remote) -> None:
        """Have the newest heads of pull requests at hand; those that cannot be had prove nothing."""
        requests = [name for name in remote.holding.values() if _REQUEST.search(name)]
        requests.sort(key=lambda name: int(_REQUEST.search(name)[1]), reverse=True)  # type: ignore[index]
        with suppress(GitError):
            self._have(remote, requests[:_REQUESTS])

    def _have(self, remote: Remote, names: Iterable[str]) -> None:
        wanted = {name: remote.refs[name] for name in names if name in remote.refs}
        here = self.present(sorted(wanted.values()))
        missing = sorted(name for name, oid in wanted.items() if oid not in here)
        if not missing:
            return
        options = ["--quiet", "--no-tags", "--no-write-fetch-head"]
        try:
            self._fetch(self._git, *options, "--refmap=", remote.name, *missing)
        except GitError:
            # Git refuses to fetch while one worktree's HEAD names a missing commit. An empty
            # repository that borrows the objects has no such worktree.
            url = self.output("remote", "get-url", remote.name).decode(errors="surrogateescape")
            empty = f"{self._scratch['GIT_OBJECT_DIRECTORY']}/fetch.git"
            self._git.output("init", "--quiet", "--bare", empty)
            self._fetch(self._git.at(empty), *options, url.removesuffix("\n"), *missing)

    def _fetch(self, git: Git, *words: str) -> None:
        git.output("fetch", *words, environment=self._scratch, timeout_seconds=REMOTE_SECONDS)

    def present(self, commits: Sequence[str]) -> set[str]:
        """Return those of ``commits`` that are commits of this repository."""
        return self._git.commits_among(commits, self._scratch)

    def not_reached(self, heads: Sequence[str], tips: Sequence[str]) -> set[str]:
        """Return the commits that ``heads`` reach and ``tips`` do not."""
        stdin = lines([*heads, *(f"^{tip}" for tip in tips)])
        return set(self.output("rev-list", "--stdin", stdin=stdin).decode().split())

    def unreadable(self, heads: Sequence[str], tip: str) -> dict[str, str]:
        """Read the histories of ``heads``; return those that are damaged, and how."""
        try:
            self.read_own(heads, tip)
        except GitError:
            problems = {}
            for head in heads:
                try:
                    self.output("rev-list", "--quiet", head, f"^{tip}")
                except GitError as error:
                    problems[head] = f"its history cannot be read: {error}"
            self.read_own([head for head in heads if head not in problems], tip)
            return problems
        return {}

    def read_own(self, heads: Sequence[str], tip: str) -> None:
        """Read the own commits of all lanes, and the default branch's first-parent chain."""
        stdin = lines([*heads, f"^{tip}"])
        output = self.output(
            "log", "--topo-order", "--format=%H %T %P", "--stdin", stdin=stdin
        ).decode()
        for line in output.splitlines():
            commit, tree, *parents = line.split()
            self.age[commit] = len(self.age)
            self.parents[commit] = tuple(parents)
            self.trees[commit] = tree
        if not self.parents:
            return
        self._read_reverts(stdin)
        shallow = os.path.join(self._common_dir, "shallow")  # noqa: PTH118 - may be not UTF-8
        if os.path.exists(shallow):  # noqa: PTH110
            self.boundaries = frozenset(read_file(shallow, _SHALLOW_BYTES).decode("ascii").split())
        output = self.output("log", "--first-parent", "--format=%H %T", tip).decode()
        for line in output.splitlines():
            commit, tree = line.split()
            self.position[commit] = len(self.chain)
            self.chain.append(commit)
            self.trees[commit] = tree

    def _read_reverts(self, stdin: bytes) -> None:
        words = ["--grep=This reverts commit", "--format=%x01%H%n%B", "--stdin"]
        for entry in self.output("log", *words, stdin=stdin).split(b"\1")[1:]:
            commit, _newline, message = entry.partition(b"\n")
            named = re.findall(rb"This reverts commit ([0-9a-f]{40,64})", message)
            self.reverts[commit.decode()] = {oid.decode() for oid in named}

    def own(self, head: str) -> list[str]:
        """Return the own commits of one lane, nearest first."""
        seen: dict[str, None] = {}
        pending = [head]
        while pending:
            commit = pending.pop()
            if commit in seen or commit not in self.parents:
                continue
            seen[commit] = None
            pending.extend(self.parents[commit])
        return list(seen)

    def forks(self, own: Sequence[str]) -> set[str]:
        """Return the default branch's commits that a lane has grown from or merged in."""
        members = set(own)
        return {
            parent for commit in own for parent in self.parents[commit] if parent not in members
        }

    def newer_than(self, commit: str) -> int:
        """Return how many commits of the chain ``commit`` does not reach."""
        if commit not in self.position:
            tip = self.chain[0]
            count = self.output("rev-list", "--count", "--first-parent", tip, f"^{commit}")
            self.position[commit] = int(count)
        return self.position[commit]

    def read_trees(self, commits: Iterable[str]) -> None:
        """Learn the trees of ``commits``."""
        wanted = sorted(set(commits) - self.trees.keys())
        if wanted:
            stdin = lines(wanted)
            output = self.output(
                "log", "--no-walk=unsorted", "--format=%H %T", "--stdin", stdin=stdin
            )
            for line in output.decode().splitlines():
                commit, tree = line.split()
                self.trees[commit] = tree

    def compare(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Changed]]:
        """Compare pairs of trees in one git call."""
        wanted = sorted(set(pairs))
        result: dict[tuple[str, str], list[Changed]] = {pair: [] for pair in wanted}
        stdin = lines([f"{old} {new}" for old, new in wanted if old != new])
        output = self.output(
            "diff-tree", "--stdin", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", stdin=stdin
        )
        parts = iter(output.split(b"\0"))
        current: list[Changed] = []
        for part in parts:
            # A pair's header ends in a newline; what belongs to it ends in NUL.
            *headers, entry = part.split(b"\n")
            for header in headers:
                first, second = header.decode().split(" ")
                current = result[(first, second)]
            if entry:
                old_mode, new_mode, old, new, _status = entry[1:].decode().split(" ")
                current.append(Changed(next(parts), (old_mode, old), (new_mode, new)))
        return result

    def states(self, commit: str, paths: Collection[bytes]) -> dict[bytes, State]:
        """Return those of ``paths`` that ``commit`` has, with their states."""
        found: dict[bytes, State] = {}
        if paths:
            for entry in self.output("ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
                told, _tab, path = entry.partition(b"\t")
                if path in paths:
                    mode, _type, oid = told.decode().split(" ")
                    found[path] = (mode, oid)
        return found

    def merge(self, pairs: Sequence[tuple[str, str]]) -> list[str | None]:
        """Return the tree that merging each pair gives, or None where it conflicts."""
        if not pairs:
            return []
        stdin = lines([f"{ours} {theirs}" for ours, theirs in pairs])
        done = self._git.call(
            "merge-tree",
            "--write-tree",
            "--stdin",
            "-z",
            "--no-messages",
            "--allow-unrelated-histories",
            stdin=stdin,
            environment=self._scratch,
        )
        if not done.ok:  # git older than 2.39, or an object is missing: no evidence
            return [None] * len(pairs)
        results: list[str | None] = []
        parts = iter(done.stdout.split(b"\0"))
        for status in parts:
            if not status.strip():
                continue
            tree = next(parts).decode()
            results.append(tree if status.strip() == b"1" else None)
            while next(parts, b""):
                pass
        return results if len(results) == len(pairs) else [None] * len(pairs)


@dataclass
class _Lane:
    """One head whose content is compared with the default branch."""

    head: str
    own: list[str]
    # Of what is proved: the head, or what followed a merge that brought the lane level.
    key: str
    window: int  # how many commits of the chain are newer than the newest fork
    base: str | None  # the newest fork
    # The merge that brought it level, where this is what followed.
    level: str | None = None
    touched: set[bytes] = field(default_factory=set)
    # Of the paths that its commits touched: what the fork had and what its end has.
    net: dict[bytes, tuple[State, State]] = field(default_factory=dict)
    # Whether the lane's end shows that all of its commits were made. Where some of them
    # could be left out without a difference, content alone proves nothing.
    comparable: bool = False


def _prove_each_by_content(history: _History, heads: Sequence[str], proofs: Proofs) -> None:
    try:
        _prove_by_content(history, heads, proofs)
    except GitError:  # an object of one lane is missing: the others can still be judged
        for head in heads:
            try:
                _prove_by_content(history, [head], proofs)
            except GitError as error:
                proofs.unknown[head] = f"its objects cannot be read: {error}"


def _prove_by_content(history: _History, heads: Sequence[str], proofs: Proofs) -> None:
    lanes = _lanes(history, heads, proofs)
    if not lanes or not history.chain:
        return
    steps = _steps_by_commit(history, lanes)
    touched = {commit: set(paths) for commit, paths in steps.items()}
    trees = history.trees
    based = [lane for lane in lanes.values() if lane.base is not None]
    history.read_trees(lane.base or "" for lane in based)
    compared = history.compare((trees[lane.base or ""], trees[lane.head]) for lane in based)
    for lane in lanes.values():
        lane.touched = {path for commit in lane.own for path in touched[commit]}
        changed = compared.get((trees.get(lane.base or "", ""), trees[lane.head]), [])
        net = {change.path: change.new for change in changed}
        lane.net = {c.path: (c.old, c.new) for c in changed if c.path in lane.touched}
        lane.comparable = (
            bool(lane.window and lane.touched)
            # What a path held that ends as it began is in no tree of the default branch.
            and lane.touched <= net.keys()
            and _shows_all(history, lane.own, steps, net)
        )
    events, chain_paths = _chain_events(history, max(lane.window for lane in lanes.values()))
    landed: dict[str, Evidence] = {}
    comparable = [lane for lane in lanes.values() if lane.comparable]
    _find_snapshots(history, comparable, events, landed)
    _find_rebased(lanes.values(), steps, events, landed)
    rest = [lane for lane in comparable if lane.key not in landed]
    _find_replays(history, rest, steps, events, chain_paths, landed)
    _cover_clean_merges(history, lanes, touched, landed)
    for head in heads:
        if head in landed:
            proofs.evidence[head] = landed[head]


def _lanes(history: _History, heads: Sequence[str], proofs: Proofs) -> dict[str, _Lane]:
    """Return the lanes of ``heads``, and of every own parent that a merge at the tip joins."""
    lanes: dict[str, _Lane] = {}  # by key
    joins = [parents for parents in history.parents.values() if len(parents) > 1]
    history.read_trees(
        parent for parents in joins for parent in parents if parent not in history.parents
    )
    pending = list(heads)
    while pending:
        head = pending.pop()
        if head in lanes or head not in history.parents:
            continue
        own = history.own(head)
        if history.boundaries.intersection(own):
            proofs.unknown[head] = "the clone is shallow and does not reach the fork point"
            continue
        forks = {fork: history.newer_than(fork) for fork in history.forks(own)}
        base = min(forks, key=lambda fork: (forks[fork], fork), default=None)
        window = forks[base] if base is not None else len(history.chain)
        lanes[head] = _Lane(head, own, head, window, base)
        if len(history.parents[head]) > 1:
            pending.extend(history.parents[head])
        level, fork = _level(history, head)
        if level is not None:
            pending.append(level)
            before = set(history.own(level))
            rest = [commit for commit in own if commit not in before]
            key = f"{level}..{head}"
            lanes[key] = _Lane(head, rest, key, history.newer_than(fork), fork, level)
    return lanes


def _level(history: _History, head: str) -> tuple[str | None, str]:
    """Return the newest merge below ``head`` after which the lane was as the default branch.

    All before it is one landing, and what follows begins at the merged commit, which is the
    other value: a second pull request from the same branch.
    """
    commit = head
    while len(parents := history.parents.get(commit, ())) > 0:
        forks = [parent for parent in parents if parent not in history.parents]
        if commit != head and 0 < len(forks) < len(parents):
            for fork in forks:
                if history.trees[fork] == history.trees[commit]:
                    return commit, fork
        commit = parents[0]
    return None, ""


def _shows_all(
    history: _History,
    own: Sequence[str],
    steps: Mapping[str, Mapping[bytes, tuple[State, State]]],
    net: Mapping[bytes, State],
) -> bool:
    """Whether every commit is needed to get from the fork to the lane's end.

    A path's states are a walk. Steps that lead back to an earlier state could be left out,
    unless one of their commits is needed for something else. A commit of which all steps
    could be left out (empty, or undone by a later one) is not seen at the end.
    """
    members = set(own)
    if any(members & history.reverts.get(commit, set()) for commit in own):
        return False  # it may undo a part of a file, which whole files do not show
    walks: dict[bytes, list[tuple[str, State, State]]] = {}
    for commit in sorted(own, key=history.age.__getitem__, reverse=True):
        for path, (old, new) in steps[commit].items():
            walks.setdefault(path, []).append((commit, old, new))
    joins = any(len(members.intersection(history.parents[commit])) > 1 for commit in own)
    if joins and not all(_is_one_line(walk, net[path]) for path, walk in walks.items()):
        return False
    moved = _exact_renames(steps, own)
    loops = {
        path: [*_loops(walk), *_obliterated(path, walk, moved)] for path, walk in walks.items()
    }
    needed: set[str] = set()
    while True:
        found = {
            walk[position][0]
            for path, walk in walks.items()
            for position in _needed_steps(walk, loops[path], needed)
        }
        if found <= needed:
            break
        needed |= found
    return all(commit in needed or len(history.parents[commit]) > 1 for commit in own)


def _is_one_line(walk: Sequence[tuple[str, State, State]], end: State) -> bool:
    """Whether each step starts where the one before ended, and the last one at the end."""
    chained = all(before[2] == after[1] for before, after in itertools.pairwise(walk))
    return chained and walk[-1][2] == end


def _loops(walk: Sequence[tuple[str, State, State]]) -> list[range]:
    """Return the stretches of a walk that end in the state in which they began."""
    ends: dict[State, list[int]] = {}
    for position, (_commit, _old, new) in enumerate(walk):
        ends.setdefault(new, []).append(position)
    return [
        range(first, last + 1)
        for first, (_commit, old, _new) in enumerate(walk)
        for last in ends.get(old, ())
        if last > first
    ]


def _obliterated(
    path: bytes, walk: Sequence[tuple[str, State, State]], moved: set[tuple[str, bytes]]
) -> list[range]:
    """Return the steps that a later deletion makes as if they had never been."""
    deletions = [
        position
        for position, (commit, _old, new) in enumerate(walk)
        if new[0] == _ABSENT and (commit, path) not in moved
    ]
    last = max(deletions, default=0)
    return [range(position, position + 1) for position in range(last)]


def _exact_renames(
    steps: Mapping[str, Mapping[bytes, tuple[State, State]]], own: Sequence[str]
) -> set[tuple[str, bytes]]:
    """Return (commit, path) of what went away and came back whole under another path."""
    return {
        (commit, path)
        for commit in own
        for path, (old, _new) in steps[commit].items()
        if any(new == old for _other, new in steps[commit].values())
    }


def _needed_steps(
    walk: Sequence[tuple[str, State, State]], loops: Sequence[range], needed: set[str]
) -> set[int]:
    fixed = {position for position, (commit, _old, _new) in enumerate(walk) if commit in needed}
    spare = {position for loop in loops if fixed.isdisjoint(loop) for position in loop}
    return set(range(len(walk))) - spare


def _steps_by_commit(
    history: _History, lanes: Mapping[str, _Lane]
) -> dict[str, dict[bytes, tuple[State, State]]]:
    """Return per own commit the paths that it changed itself, with their states."""
    commits = {commit for lane in lanes.values() for commit in lane.own}
    history.read_trees(parent for commit in commits for parent in history.parents[commit])
    empty = history.output("hash-object", "-t", "tree", "--stdin").decode().strip()
    trees = history.trees
    pairs = {
        commit: [(trees[parent], trees[commit]) for parent in history.parents[commit]]
        or [(empty, trees[commit])]
        for commit in commits
    }
    steps: dict[str, dict[bytes, tuple[State, State]]] = {}
    single = {commit: group[0] for commit, group in pairs.items() if len(group) == 1}
    compared = history.compare(single.values())
    for commit, pair in single.items():
        steps[commit] = {change.path: (change.old, change.new) for change in compared[pair]}
    joins = sorted(commits - single.keys(), key=history.age.__getitem__, reverse=True)
    for first in range(0, len(joins), _JOINS):
        portion = joins[first : first + _JOINS]
        compared = history.compare(pair for commit in portion for pair in pairs[commit])
        for commit in portion:
            changed = [
                {change.path: (change.old, change.new) for change in compared[pair]}
                for pair in pairs[commit]
            ]
            steps[commit] = _own_steps(history, commit, changed, steps)
    return steps


def _own_steps(
    history: _History,
    commit: str,
    changed: Sequence[Mapping[bytes, tuple[State, State]]],
    steps: Mapping[str, Mapping[bytes, tuple[State, State]]],
) -> dict[bytes, tuple[State, State]]:
    """Return what a merge did itself: what differs from each of its ``changed`` parents."""
    touched = set(changed[0]).intersection(*changed[1:])
    # A merge that takes back what the default branch did is work of its own.
    for parent, differing in zip(history.parents[commit], changed, strict=True):
        if parent not in history.parents:
            explained = {
                path
                for other in history.own(commit)
                if len(history.parents[other]) < 2
                for path in steps[other]
            }
            touched |= differing.keys() - explained
    return {path: next(found[path] for found in changed if path in found) for path in touched}


def _chain_events(
    history: _History, window: int
) -> tuple[dict[bytes, list[tuple[int, State, State]]], list[set[bytes]]]:
    """Return per path when the chain changed it, newest first, and the paths per commit."""
    chain = history.chain[: window + 1]
    trees = [history.trees[commit] for commit in chain]
    if window >= len(history.chain):
        trees.append(history.output("hash-object", "-t", "tree", "--stdin").decode().strip())
    pairs = [(older, newer) for newer, older in itertools.pairwise(trees)]
    compared = history.compare(pairs)
    events: dict[bytes, list[tuple[int, State, State]]] = {}
    paths: list[set[bytes]] = []
    for index, pair in enumerate(pairs):
        paths.append({change.path for change in compared[pair]})
        for change in compared[pair]:
            events.setdefault(change.path, []).append((index, change.old, change.new))
    return events, paths


def _find_snapshots(
    history: _History,
    lanes: Sequence[_Lane],
    events: Mapping[bytes, list[tuple[int, State, State]]],
    landed: dict[str, Evidence],
) -> None:
    absent: State = (_ABSENT, "0" * len(history.chain[0]))
    at_tip = history.states(history.chain[0], set().union(*(lane.touched for lane in lanes)))
    for lane in lanes:
        wanted = {
            path: lane.net[path][1]
            for path in lane.touched
            if at_tip.get(path, absent) != lane.net[path][1]
        }
        index = _match(lane, wanted, events)
        if index is not None:
            commit = history.chain[index]
            landed[lane.key] = Evidence("snapshot", f"{commit} has every path as the lane left it")


def _find_rebased(
    lanes: Iterable[_Lane],
    steps: Mapping[str, Mapping[bytes, tuple[State, State]]],
    events: Mapping[bytes, list[tuple[int, State, State]]],
    landed: dict[str, Evidence],
) -> None:
    """Look for each own commit of a lane among those of the chain, by all of its changes."""
    made: dict[int, set[tuple[bytes, State, State]]] = {}
    for path, changes in events.items():
        for index, old, new in changes:
            made.setdefault(index, set()).add((path, old, new))
    newest = {frozenset(changes): index for index, changes in sorted(made.items(), reverse=True)}
    for lane in lanes:
        wanted = [
            frozenset((path, old, new) for path, (old, new) in steps[commit].items())
            for commit in lane.own
        ]
        if lane.key in landed or not all(wanted):
            continue
        if all(newest.get(changes, lane.window) < lane.window for changes in wanted):
            count = len(lane.own)
            detail = f"each of its {count} commits is there with exactly the same changes"
            landed[lane.key] = Evidence("rebase", detail)


def _match(
    lane: _Lane,
    wanted: dict[bytes, State],
    events: Mapping[bytes, list[tuple[int, State, State]]],
) -> int | None:
    """Walk back from the tip; return the newest commit at which all touched paths match."""
    differing = set(wanted)
    if not differing:
        return 0
    steps = sorted(
        (index, path, old, new)
        for path in lane.touched
        for index, old, new in events.get(path, ())
        if index < lane.window
    )
    targets = dict(wanted)
    for position, (index, path, old, new) in enumerate(steps):
        # A path that does not differ at the tip is wanted as the tip has it.
        target = targets.setdefault(path, new)
        if old == target:
            differing.discard(path)
        else:
            differing.add(path)
        last_of_commit = position + 1 == len(steps) or steps[position + 1][0] != index
        if last_of_commit and not differing and index + 1 < lane.window:
            return index + 1
    return None


def _find_replays(
    history: _History,
    lanes: Sequence[_Lane],
    steps: Mapping[str, Mapping[bytes, tuple[State, State]]],
    events: Mapping[bytes, list[tuple[int, State, State]]],
    chain_paths: Sequence[set[bytes]],
    landed: dict[str, Evidence],
) -> None:
    """Try the merges that could give what the default branch has."""
    if not lanes:
        return
    renamed = {lane.key: _newest_renamed(lane, events) for lane in lanes}
    places = _hints(history, lanes, chain_paths, max(renamed.values()))
    of_lanes = _sums_of_lanes(history, lanes, steps)
    questions: list[tuple[_Lane, int, int]] = []
    for lane in lanes:
        count = sum(len(history.parents[commit]) == 1 for commit in lane.own)
        for index in places.of(lane.touched, *of_lanes[lane.key]):
            for length in {1, count} - {0}:
                stretch = range(index, index + length)
                if (
                    stretch.stop < len(history.chain)
                    and stretch.stop <= lane.window
                    and all(
                        chain_paths[step] <= lane.touched
                        or (
                            step < min(renamed[lane.key], _RENAME_COMMITS)
                            and len(chain_paths[step]) <= len(lane.touched)
                        )
                        for step in stretch
                    )
                    and (index < renamed[lane.key] or _could_give(history, lane, stretch, events))
                ):
                    questions.append((lane, index, length))
    pairs = [(history.chain[index + length], lane.head) for lane, index, length in questions]
    answers = history.merge(pairs)
    for (lane, index, length), tree in zip(questions, answers, strict=True):
        commit = history.chain[index]
        before = history.trees[history.chain[index + length]]
        if tree == history.trees[commit] != before and lane.key not in landed:
            detail = f"merging it into the parent of {commit} gives exactly that commit's tree"
            landed[lane.key] = Evidence("replay", detail)


def _newest_renamed(lane: _Lane, events: Mapping[bytes, list[tuple[int, State, State]]]) -> int:
    """Return the commit up to which what lands can have other paths than the lane."""
    return max(
        (
            index
            for path in lane.touched
            for index, _old, new in events.get(path, ())
            if index < lane.window and new[0] == _ABSENT
        ),
        default=0,
    )


def _hints(
    history: _History, lanes: Sequence[_Lane], chain_paths: Sequence[set[bytes]], renamed: int
) -> hints.Hints:
    """Sum up the commits of the chain that touch nothing but what some lane touched."""
    touched = set().union(*(lane.touched for lane in lanes))
    most = max(len(lane.touched) for lane in lanes)
    places = {
        index: (history.trees[history.chain[index + 1]], history.trees[history.chain[index]])
        for index, paths in enumerate(chain_paths[: len(history.chain) - 1])
        if paths
        and len(paths) <= most
        and (index < min(renamed, _RENAME_COMMITS) or paths <= touched)
    }
    sizes = {pair: len(chain_paths[index]) for index, pair in places.items()}
    sums = hints.lines_changed(history.output, sizes)
    told = {index: sums[pair] for index, pair in places.items() if pair in sums}
    return hints.hints(told, chain_paths)


def _sums_of_lanes(
    history: _History,
    lanes: Sequence[_Lane],
    steps: Mapping[str, Mapping[bytes, tuple[State, State]]],
) -> dict[str, tuple[hints.Sums, list[hints.Sums]]]:
    """Return per lane the sums of what it did as a whole, and of each of its commits."""
    trees = history.trees
    whole = {lane.key: (trees.get(lane.base or "", ""), trees[lane.head]) for lane in lanes}
    single = {
        commit: (trees[history.parents[commit][0]], trees[commit])
        for lane in lanes
        for commit in lane.own
        if len(history.parents[commit]) == 1
    }
    sizes = {pair: len(lane.touched) for lane in lanes if (pair := whole[lane.key])[0]}
    sizes |= {pair: len(steps[commit]) for commit, pair in single.items()}
    sums = hints.lines_changed(history.output, sizes)
    return {
        lane.key: (
            sums.get(whole[lane.key], hints.Sums()),
            [
                sums.get(single[commit], hints.Sums())
                for commit in sorted(lane.own, key=history.age.__getitem__, reverse=True)
                if commit in single
            ],
        )
        for lane in lanes
    }


def _could_give(
    history: _History,
    lane: _Lane,
    stretch: range,
    events: Mapping[bytes, list[tuple[int, State, State]]],
) -> bool:
    """Whether a merge of the lane before ``stretch`` could give what is after it, path by path.

    Where the default branch has a path as the fork had it, a merge takes the lane's; where both
    have the same, it changes nothing. Only a path that both changed needs a merge to tell.
    """
    if not 0 < lane.window < len(history.chain) or history.chain[lane.window] != lane.base:
        return True  # what the fork had is not among what the chain tells
    if any(new[0] == _ABSENT for _old, new in lane.net.values()):
        return True  # what the lane renamed takes along what the default branch did to it
    for path in lane.touched:
        old, new = lane.net[path]
        before = after = None
        for index, earlier, later in events.get(path, ()):
            if index >= lane.window:
                break
            if after is None and index >= stretch.start:
                after = later
            if index >= stretch.stop:
                before = later
                break
            before = earlier
        before = old if before is None else before
        after = before if after is None else after
        if before in (old, new) and after != new:
            return False
    return True


def _cover_clean_merges(
    history: _History,
    lanes: Mapping[str, _Lane],
    touched: Mapping[str, set[bytes]],
    landed: dict[str, Evidence],
) -> None:
    """A merge commit that adds nothing of its own has landed when all that it joins has."""
    progress = True
    while progress:
        progress = False
        for key, lane in lanes.items():
            head = lane.head
            parents = history.parents[head]
            if lane.level is not None:
                if head not in landed and {key, lane.level} <= landed.keys():
                    detail = f"{lane.level} landed, and so has what follows"
                    landed[head] = Evidence(landed[key].kind, detail)
                    progress = True
                continue
            if head in landed or len(parents) < 2 or touched[head]:
                continue
            own_parents = [parent for parent in parents if parent in history.parents]
            if all(parent in landed for parent in own_parents):
                landed[head] = Evidence(
                    landed[own_parents[0]].kind, f"a clean merge of {own_parents[0]}, which landed"
                )
                progress = True
