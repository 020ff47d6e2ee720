"""A repository in memory: true merges of small trees, guarded writes, failures on demand.

It is the oracle too: ``merge`` itself checks what must never happen, from its own ground
truth and not from what the marshal believes.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from factory.core.base.github.errors import (
    ForgeError,
    LimitedError,
    RefusedError,
    UncertainError,
    UnusableError,
)
from factory.core.base.github.transport import Meter
from factory.core.base.mirror import TriedMerge
from factory.core.marshal import execution
from factory.core.marshal.checks import ACTIONS
from factory.core.marshal.cycle import CycleReport, Dependencies
from factory.core.marshal.forge import MovedError, NotMergeableError, PullRequestOutcome
from factory.core.marshal.mirror import MirrorError, Picked, PushRefusedError
from factory.core.marshal.settings import MergePolicy
from factory.core.marshal.snapshot import (
    Branch,
    CheckRun,
    Checks,
    CheckState,
    Detail,
    GitEvidence,
    Labelling,
    Mergeable,
    PullRequest,
    Review,
    SavedState,
    Snapshot,
)

START = 1_700_000_000.0
Tree = tuple[tuple[str, str], ...]


class Crash(BaseException):
    """The process was killed here."""


@dataclass
class Pull:
    """The ground truth about one pull request."""

    number: int
    changes: dict[str, str]
    check: CheckState | None = CheckState.SUCCESS
    lint: CheckState | None = CheckState.SUCCESS
    fork: bool = False
    review: str = ""
    # Who gave the labels, and who reviewed, and of which head: the first one.
    labelled_by: tuple[str, bool] = ("", False)
    reviewed_by: tuple[str, bool] = ("", False)
    opinion: str = ""
    labels: set[str] = field(default_factory=set)
    draft: bool = False
    author: str = "agent[bot]"
    base: str = "main"
    state: str = "OPEN"
    version: int = 1
    computed_base: str = ""
    ready_at: float = 0.0
    merged_head: str = ""
    merge_oid: str = ""
    comments: list[str] = field(default_factory=list)
    branch_there: bool = True
    fork_tree: dict[str, str] = field(default_factory=dict)
    # The run of Actions behind its checks, 0 for none, since when, and what it says of the change.
    run_id: int = 0
    check_at: float = START - 60
    at_fault: bool = False
    reruns: list[float] = field(default_factory=list)
    # GitHub never says whether it can be merged; nobody can read it; git fails at its head.
    never_computed: bool = False
    unreadable: bool = False
    broken: bool = False
    # Heads that differ from this one only by what landed on main.
    seen_alike: set[str] = field(default_factory=set)
    # It puts something back to what it was before it landed.
    reverts: bool = False

    def push(self) -> None:
        """Let the author push something that nobody has seen."""
        self.version += 1
        self.seen_alike.clear()

    def seen_by(self, person: tuple[str, bool], agents: Collection[str]) -> bool:
        """Whether this is another person, who saw what the head is now."""
        name, by_person = person
        other = by_person and name not in (self.author, *agents)
        return other and self.first in {self.head, *self.seen_alike}

    @property
    def first(self) -> str:
        """The oid that the pull request was opened with."""
        return f"h{self.number}.1"

    @property
    def head(self) -> str:
        return f"h{self.number}.{self.version}"


@dataclass
class Repository:
    """Commits are names of trees; main is a list of commits."""

    pulls: dict[int, Pull]
    policy: MergePolicy
    lazy_seconds: float = 0.0
    required: tuple[str, ...] = ("ci",)
    now_seconds: float = START
    trees: dict[str, dict[str, str]] = field(default_factory=lambda: {"c0": {"readme": "0"}})
    parents: dict[str, list[str]] = field(default_factory=lambda: {"c0": []})
    main: list[str] = field(default_factory=lambda: ["c0"])
    branches: dict[str, str] = field(default_factory=dict)
    main_check: CheckState = CheckState.SUCCESS
    hold: tuple[str, ...] = ()
    writes: list[str] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    ci_runs: set[str] = field(default_factory=set)
    red_mains: int = 0
    # A tree is red with what is bad in it, unless the cure is in it too.
    bad_content: str = "bad"
    cure_content: str = "cure"
    landed: list[int] = field(default_factory=list)
    seen: set[tuple[int, str]] = field(default_factory=set)
    # The base branch is protected: nobody pushes to it.
    protected: bool = False
    # Whether GitHub knows the login at all.
    login_valid: bool = True
    # Whose changes the remote takes in no push.
    unpushable: set[int] = field(default_factory=set)
    # GitHub's own queue, and so many turns of it until it has tested what is in it.
    queue: list[int] = field(default_factory=list)
    queue_turns: int = 0
    enqueued_count: int = 0
    between: Callable[[Repository], None] | None = None
    # So many reads after a merge still show what was before.
    stale_outcomes: int = 0
    # What the limit says after each look and reread; then plenty.
    points_remaining: list[int] = field(default_factory=list)
    # What happens right before the read of this number: a kind, and whom it befalls.
    events: dict[int, tuple[str, int]] = field(default_factory=dict)
    reads_count: int = 0
    # CI has runners; without any a job fails at once, and is one of those that never began.
    ci_works: bool = True
    # So many batches are red though nothing is amiss.
    flakes: int = 0
    ci_seconds: float = 0.0
    never_began: set[int] = field(default_factory=set)
    # Pull requests that the marshal opened, by their branch; and which branches conflict with all.
    opened: dict[str, tuple[str, str]] = field(default_factory=dict)
    old_branches: set[str] = field(default_factory=set)
    # Whatever is written about this one fails so, every time; so does the read of what it became.
    victim: int = 0
    victims_error: ForgeError | None = None
    # Called around every request: where another marshal may come in between.
    pause: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        """Let every pull request start from the first commit."""
        for pull in self.pulls.values():
            pull.fork_tree = dict(self.trees["c0"])

    # -- effects ------------------------------------------------------------------

    def now(self) -> float:
        return self.now_seconds

    def sleep(self, seconds: float) -> None:
        self.now_seconds += seconds

    def read(self) -> str:
        """Let happen what comes before this read; return how the read itself goes wrong."""
        self.pause()
        kind, number = self.events.get(self.reads_count, ("", 0))
        self.reads_count += 1
        pull = self.pulls.get(number)
        if kind == "uncertain":
            raise UncertainError("502")
        if kind == "limited":
            raise LimitedError("rate limit", 5.0)
        if kind in ("main_red", "main_green"):
            self.main_check = CheckState.FAILURE if kind == "main_red" else CheckState.SUCCESS
        if kind == "elsewhere":
            tree = {**self.trees[self.main[-1]], f"elsewhere{len(self.main)}": "x"}
            oid = f"c{len(self.main)}"
            self.trees[oid], self.parents[oid] = tree, [self.main[-1]]
            self.main.append(oid)
        if pull is not None and pull.state == "OPEN":
            self._befall(pull, kind)
        return kind

    def _befall(self, pull: Pull, kind: str) -> None:
        if kind == "push":
            pull.push()
        elif kind == "hold":
            pull.labels.add("hold")
        elif kind in ("red", "green"):
            pull.check = CheckState.FAILURE if kind == "red" else CheckState.SUCCESS
        elif kind == "draft":
            pull.draft = True
        elif kind == "close":
            pull.state = "CLOSED"

    def rerun(self, run_id: int) -> None:
        """Run again what failed; CI answers at once."""
        pull = next(pull for pull in self.pulls.values() if pull.run_id == run_id)
        pull.reruns.append(self.now_seconds)
        pull.check_at = self.now_seconds
        passes = self.ci_works and not pull.at_fault
        pull.check = CheckState.SUCCESS if passes else CheckState.FAILURE
        self.never_began.discard(run_id)
        if not self.ci_works:
            self.never_began.add(run_id)

    def advance_queue(self) -> None:
        """Let GitHub's queue land or put out whom it has tested."""
        if self.queue and self.queue_turns:
            self.queue_turns -= 1
            return
        for number in list(self.queue):
            self.queue.remove(number)
            pull = self.pulls[number]
            merged = Git(self).merge(self.main[-1], pull.head)
            tree = dict(eval(merged.tree)) if merged.clean else {}  # noqa: S307
            if pull.state == "OPEN" and merged.clean and not self.red(tree):
                self.land(pull, tree)

    def land(self, pull: Pull, tree: dict[str, str]) -> str:
        """Put a pull request's tree on main."""
        oid = f"c{len(self.main)}"
        self.trees[oid] = tree
        self.parents[oid] = [self.main[-1]]
        self.main.append(oid)
        self.red_mains += self.red(tree)
        pull.state, pull.merged_head, pull.merge_oid = "MERGED", pull.head, oid
        self.landed.append(pull.number)
        return oid

    def red(self, tree: Mapping[str, str]) -> bool:
        """Whether CI says no; what is bad may be cured by another, or be bad with another only."""
        if {"half", "other half"} <= set(tree.values()):
            return True
        cured = self.cure_content in tree.values()
        return not cured and any(self.bad_content in value for value in tree.values())

    def write(self, name: str, action: Callable[[], Any]) -> Any:
        """Carry out a write, or fail as it was told for this one."""
        self.pause()
        index = len(self.writes)
        self.writes.append(name)
        fault = self.faults.get(index, "")
        lands = name.startswith(("merge", "enqueue", "land"))
        if fault == "pushed" and lands and not name.startswith("land"):
            self.pulls[int(name.split()[1])].push()
        if fault == "crash_before":
            raise Crash
        if fault == "error_before":
            raise UncertainError("502")
        if fault == "limited":
            raise LimitedError("secondary rate limit", 5.0)
        if fault == "moved" and lands:
            raise MovedError("409")
        if fault == "base_modified" and lands:
            raise NotMergeableError("Base branch was modified", transient=True)
        if fault == "not_mergeable" and lands:
            raise NotMergeableError("Required status check is expected")
        if fault == "forbidden":
            raise RefusedError("Resource not accessible", 403)
        if fault == "unauthorized":
            raise UnusableError("Bad credentials", 401)
        if self.victims_error is not None and name.split()[1] in (
            str(self.victim),
            f"b{self.victim}",
        ):
            raise self.victims_error
        answer = action()
        self.pause()
        if fault == "crash_after":
            raise Crash
        if fault == "error_after":
            raise UncertainError("502")
        return answer

    def chain(self, oid: str) -> list[str]:
        """Return the commits since main's oldest one, newest first, along the first parents."""
        found = [oid]
        while self.parents[found[-1]]:
            found.append(self.parents[found[-1]][0])
        return found

    def fast_forward(self, oid: str) -> None:
        """Move main to a commit that descends from it: who is in it counts as merged."""
        chain = self.chain(oid)
        if self.main[-1] not in chain:
            raise PushRefusedError("[rejected] (fetch first)", moved=True)
        new = chain[: chain.index(self.main[-1])]
        heads = {self.parents[commit][1]: commit for commit in new}
        members = [pull for pull in self.pulls.values() if pull.head in heads]
        for pull in members:
            if pull.state == "OPEN":
                self.promises(pull)
        self.main.append(oid)
        self.red_mains += self.red(self.trees[oid])
        assert oid in self.ci_runs, "the branch moved to a commit that nobody tested"
        for pull in sorted(members, key=lambda pull: -new.index(heads[pull.head])):
            if pull.state == "OPEN":
                pull.state, pull.merged_head = "MERGED", pull.head
                # GitHub does not promise to name the commit that brought it in.
                pull.merge_oid = oid
                self.landed.append(pull.number)

    def promises(self, pull: Pull) -> None:
        """Judge by the ground truth whether this one may land now."""
        policy = self.policy
        assert (pull.number, pull.head) in self.seen, "landed unseen"
        passing = {CheckState.SUCCESS}
        passing |= {CheckState.NEUTRAL} if policy.neutral_passes else set()
        passing |= {CheckState.SKIPPED} if policy.skipped_passes else set()
        reported = {"ci": pull.check, "lint": pull.lint}
        required = {*policy.check_names, *self.required}
        assert required or policy.allow_no_checks, "landed without any required check"
        for name in required or reported:
            state = reported.get(name)
            assert state in passing or (state is None and not required), f"landed without {name}"
        assert not pull.labels & set(policy.hold_labels), "landed against a hold"
        assert not pull.draft, "landed a draft"
        assert not self.hold, "landed against the repository's hold"
        assert not any(f.covers(self.now_seconds) for f in policy.freezes), "landed frozen"
        exempted = pull.labels if pull.seen_by(pull.labelled_by, policy.agents) else set()
        if policy.red_main_blocks and not exempted & set(policy.repair_labels):
            assert self.main_check is not CheckState.FAILURE, "landed on red"
        assert pull.base == "main", "landed into another branch"
        assert policy.forks_allowed or not pull.fork, "landed a fork"
        assert pull.author not in policy.authors_denied, "landed a denied author's"
        assert pull.review in ("", "APPROVED"), "landed against a review"
        guarded = any(path in policy.guarded_paths for path in pull.changes)
        assert not guarded or policy.guarded_label in exempted, "landed a guarded path unapproved"
        assert not pull.reverts or policy.revert_label in exempted, "landed what undoes landed work"
        approved = pull.opinion == "APPROVED" and pull.seen_by(pull.reviewed_by, policy.agents)
        assert approved or not policy.required_approvals, "landed what nobody approved"
        assert pull.opinion != "CHANGES_REQUESTED", "landed against a person's objection"


class Git:
    """What ``Mirror`` does, over the trees in memory."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def refresh(self, branch: str, branch_oid: str, heads: Mapping[int, str]) -> None:
        return None

    def missing(self, oids: Iterable[str]) -> set[str]:
        return {oid for oid in oids if oid not in self.repository.trees and not self._pull(oid)}

    def _pull(self, head: str) -> Pull | None:
        return next((p for p in self.repository.pulls.values() if p.head == head), None)

    def merge(self, ours: str, theirs: str) -> TriedMerge:
        pull = self._pull(theirs)
        if pull is None:
            raise MirrorError(f"no commit {theirs}")
        ours_pull = self._pull(ours)
        tree = dict(self.repository.trees["c0"] if ours_pull else self.repository.trees[ours])
        if ours_pull:
            tree.update(ours_pull.changes)
        clashes = [
            path
            for path, value in pull.changes.items()
            if tree.get(path) != pull.fork_tree.get(path) and tree.get(path) != value
        ]
        if clashes:
            return TriedMerge(False, "", tuple(clashes))
        return TriedMerge(True, repr(sorted({**tree, **pull.changes}.items())))

    def tree(self, commit: str) -> str:
        return repr(sorted(self.repository.trees[commit].items()))

    def landed_tree(self, method: str, merge_oid: str, base_oid: str, head_oid: str) -> str:
        return self.merge(self.repository.parents[merge_oid][0], head_oid).tree

    def cherry_pick(self, branch: str, merge_oid: str, head_oid: str, method: str) -> Picked:
        if branch in self.repository.old_branches:
            return Picked(branch, "", ("readme",))
        tip = f"{branch}+{head_oid}"
        self.repository.parents.setdefault(tip, [])
        return Picked(branch, tip)

    def last_change(self, base_oid: str, head_oid: str, paths: Sequence[str]) -> str:
        return "something (#1)"

    def evidence(self, base_oid: str, head_oid: str, window_days: int) -> GitEvidence:
        merged = self.merge(base_oid, head_oid)
        pull = self._pull(head_oid)
        if pull is not None and pull.broken:
            raise MirrorError("refusing to merge unrelated histories")
        behind = 0 if pull and pull.fork_tree == self.repository.trees[base_oid] else 1
        return GitEvidence(
            base_oid,
            head_oid,
            behind,
            merged.conflict_paths,
            merged.clean,
            merged.tree,
            merged.tree == self.tree(base_oid),
            ("undone",) if pull is not None and pull.reverts else (),
            tuple(pull.seen_alike) if pull else (),
        )

    def commit(
        self, tree: str, parents: Sequence[str], message: str, moment: float | None = None
    ) -> str:
        oid = f"t{hashlib.sha256(repr((tree, parents)).encode()).hexdigest()[:20]}"
        self.repository.trees[oid] = dict(eval(tree))  # noqa: S307
        self.repository.parents[oid] = list(parents)
        return oid

    def holds(self, branch: str, oid: str) -> bool:
        return oid in self.repository.chain(self.repository.main[-1])

    def push(self, oid: str, branch: str) -> None:
        def act() -> None:
            self.repository.branches[branch] = oid
            self.repository.ci_runs.add(oid)

        heads = [self.repository.parents[commit][1:] for commit in self.repository.chain(oid)]
        pulls = {
            pull.number for pull in map(self._pull, (h for [h] in filter(None, heads))) if pull
        }
        self._write(f"push {branch}", act, refused=bool(pulls & self.repository.unpushable))

    def land(self, oid: str, branch: str) -> None:
        repository = self.repository
        act = lambda: repository.fast_forward(oid)  # noqa: E731
        self._write(f"land {oid}", act, refused=repository.protected)

    def _write(self, name: str, act: Callable[[], None], *, refused: bool) -> None:
        """Push as git does: the remote refuses, or nobody answers."""
        if refused:
            raise PushRefusedError("[remote rejected] (protected branch hook declined)")
        try:
            self.repository.write(name, act)
        except MovedError as error:
            raise PushRefusedError("[rejected] (fetch first)", moved=True) from error
        except RefusedError as error:
            raise PushRefusedError("[remote rejected] (not allowed)") from error
        except ForgeError as error:
            raise MirrorError(f"git push ended with 128: {error}") from error


class Forge:
    """What ``GithubForge`` does, with a failure at any write."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.meter = Meter()

    def _branch(self) -> Branch:
        repository = self.repository
        told = repository.points_remaining
        self.meter.points_remaining = told.pop(0) if told else 5000
        oid = repository.main[-1]
        checks = Checks(
            (CheckRun("ci", repository.main_check, "app", repository.now_seconds, ACTIONS),)
        )
        return Branch("main", oid, checks, required_checks=repository.required)

    def _seen(self, pull: Pull) -> PullRequest:
        repository = self.repository
        base = repository.main[-1]
        if pull.computed_base != base:
            pull.computed_base, pull.ready_at = (
                base,
                repository.now_seconds + repository.lazy_seconds,
            )
        clean = Git(repository).merge(base, pull.head).clean
        state = Mergeable.MERGEABLE if clean else Mergeable.CONFLICTING
        if repository.now_seconds < pull.ready_at or pull.never_computed:
            state = Mergeable.UNKNOWN
        reported = {"ci": pull.check, "lint": pull.lint}
        checks = tuple(
            CheckRun(
                name,
                state,
                "app",
                pull.check_at,
                ACTIONS,
                ended_at=pull.check_at + repository.ci_seconds,
                job_id=pull.run_id,
                run_id=pull.run_id,
            )
            for name, state in reported.items()
            if state is not None
        )
        self.repository.seen.add((pull.number, pull.head))
        return PullRequest(
            number=pull.number,
            id=str(pull.number),
            title=f"Change {pull.number}",
            author=pull.author,
            author_is_bot=pull.author.endswith("[bot]"),
            created_at=START - 10_000 + pull.number,
            is_draft=pull.draft,
            is_fork=pull.fork,
            head_oid=pull.head,
            head_ref=f"b{pull.number}",
            base_ref=pull.base,
            mergeable=state,
            merge_state="CLEAN" if state is Mergeable.MERGEABLE else "UNKNOWN",
            review_decision=pull.review,
            labels=frozenset(pull.labels),
            rollup="SUCCESS",
            in_merge_queue=pull.number in repository.queue,
            detail=Detail(
                Checks(checks),
                tuple(pull.changes),
                head_committed_at=START - 9_000,
                reviews=self._reviews(pull),
                labellings={
                    label: Labelling(*pull.labelled_by, START - 50, head_oid=pull.first)
                    for label in pull.labels
                },
            ),
        )

    def _reviews(self, pull: Pull) -> tuple[Review, ...]:
        name, by_person = pull.reviewed_by
        found = Review(name, by_person, pull.opinion, pull.first, may_push=True, is_member=True)
        return (found,) if pull.opinion else ()

    def snapshot(
        self,
        policy: MergePolicy,
        branch: str,
        wanted: Mapping[int, str],
        always: Collection[int],
        resume_at: str = "",
    ) -> Snapshot:
        trouble = self.repository.read()
        self.repository.advance_queue()
        pulls = [p for p in self.repository.pulls.values() if p.state == "OPEN"]
        if trouble == "incomplete":
            pulls = pulls[: len(pulls) // 2]
        return Snapshot(
            "o/r",
            self._branch(),
            tuple(self._as_read(pull, trouble) for pull in pulls),
            complete=trouble != "incomplete",
            incomplete_reason="cut" if trouble == "incomplete" else "",
            hold_issues=self.repository.hold,
        )

    def _as_read(self, pull: Pull, trouble: str) -> PullRequest:
        seen = self._seen(pull)
        if trouble == "unreadable":
            return replace(seen, unreadable="the answer was cut", detail=None)
        if trouble == "unknown":
            return replace(seen, mergeable=Mergeable.UNREADABLE)
        if trouble == "few_checks" and seen.detail is not None:
            found = replace(seen.detail.checks, complete=False)
            return replace(seen, detail=replace(seen.detail, checks=found))
        return seen

    def reread(
        self, branch: str, numbers: Sequence[int]
    ) -> tuple[Branch, Mapping[int, PullRequest | None]]:
        trouble = self.repository.read()
        if self.repository.between is not None:
            self.repository.between(self.repository)
        asked = {number: self.repository.pulls[number] for number in numbers}
        found = {number: pull for number, pull in asked.items() if not pull.unreadable}
        return self._branch(), {
            number: self._as_read(pull, trouble) if pull.state == "OPEN" else None
            for number, pull in found.items()
        }

    def outcome(self, number: int) -> PullRequestOutcome:
        self.repository.pause()
        if not self.repository.login_valid:
            raise UnusableError("Bad credentials", 401)
        pull = self.repository.pulls[number]
        state = pull.state
        if state == "MERGED" and self.repository.stale_outcomes:
            self.repository.stale_outcomes -= 1
            state = "OPEN"
        # A fork's branch is nobody's base here, whatever its name.
        dependants = tuple(
            (other.number, "")
            for other in self.repository.pulls.values()
            if not pull.fork and other.state == "OPEN" and other.base == f"b{number}"
        )
        return PullRequestOutcome(
            number,
            state,
            pull.merged_head or pull.head,
            f"b{number}",
            pull.head if pull.branch_there else "",
            "ref",
            False,
            pull.fork,
            pull.base,
            pull.merge_oid,
            dependants,
            True,
            tuple(pull.comments),
            f"Change {number}",
            frozenset(pull.labels),
        )

    def commit_checks(self, oid: str) -> Checks:
        self.repository.pause()
        if oid not in self.repository.branches.values():
            return Checks()
        red = self.repository.red(self.repository.trees[oid]) or self.repository.flakes > 0
        self.repository.flakes = max(0, self.repository.flakes - 1)
        state = CheckState.FAILURE if red else CheckState.SUCCESS
        return Checks((CheckRun("ci", state, "app", self.repository.now_seconds, ACTIONS),))

    def ran(self, job_id: int) -> bool:
        return job_id not in self.repository.never_began

    def pulse(self, branch: str, ids: Sequence[str]) -> object:
        return [self.repository.pulls[int(number)].check for number in ids]

    def rerun(self, run_id: int) -> None:
        self._write(f"rerun {run_id}", lambda: self.repository.rerun(run_id))

    def _write(self, name: str, action: Callable[[], Any]) -> Any:
        return self.repository.write(name, action)

    def merge(self, pull: PullRequest, method: str) -> str:
        return str(self._write(f"merge {pull.number}", lambda: self._merge(pull)))

    def _merge(self, judged: PullRequest) -> str:
        repository, pull = self.repository, self.repository.pulls[judged.number]
        merged = self._landable(judged, pull)
        return repository.land(pull, dict(eval(merged.tree)))  # noqa: S307

    def _landable(self, judged: PullRequest, pull: Pull) -> TriedMerge:
        """Refuse what GitHub would refuse, and fail on what must never be asked for."""
        repository = self.repository
        if judged.head_oid != pull.head:
            raise MovedError("Head branch was modified")
        if pull.state != "OPEN":
            raise NotMergeableError("Pull Request is not mergeable")
        merged = Git(repository).merge(repository.main[-1], pull.head)
        if not merged.clean:
            raise NotMergeableError("Pull Request is not mergeable")
        repository.promises(pull)
        return merged

    def enqueue(self, pull: PullRequest) -> None:
        def act() -> None:
            mine = self.repository.pulls[pull.number]
            if pull.number in self.repository.queue:
                raise NotMergeableError("already in the queue")
            self._landable(pull, mine)
            self.repository.queue.append(pull.number)
            self.repository.enqueued_count += 1

        self._write(f"enqueue {pull.number}", act)

    def update_branch(self, pull: PullRequest) -> None:
        def act() -> None:
            mine = self.repository.pulls[pull.number]
            mine.fork_tree = dict(self.repository.trees[self.repository.main[-1]])
            mine.seen_alike.add(mine.head)
            mine.version += 1

        self._write(f"update {pull.number}", act)

    def add_label(self, number: int, label: str) -> None:
        labels = self.repository.pulls[number].labels
        self._write(f"label {number} {label}", lambda: labels.add(label))

    def remove_label(self, number: int, label: str) -> None:
        labels = self.repository.pulls[number].labels
        self._write(f"unlabel {number} {label}", lambda: labels.discard(label))

    def comment(self, number: int, body: str) -> None:
        comments = self.repository.pulls[number].comments
        self._write(f"comment {number}", lambda: comments.append(body))

    def open_pull(self, base: str, head: str, title: str, body: str) -> None:
        def act() -> None:
            assert self.repository.branches[head], "the branch is not there"
            self.repository.opened.setdefault(head, (base, title))

        self._write(f"open {head}", act)

    def close(self, number: int) -> None:
        def act() -> None:
            repository, pull = self.repository, self.repository.pulls[number]
            carried = [
                other
                for other in repository.pulls.values()
                if other is not pull
                and other.changes == pull.changes
                and (other.state == "MERGED" or self._lands_some_day(other))
            ]
            tree = repository.trees[repository.main[-1]]
            landed = all(tree.get(path) == value for path, value in pull.changes.items())
            assert carried or landed, "closed the last carrier of a change"
            by_agent = pull.author.endswith("[bot]") or pull.author in repository.policy.agents
            assert by_agent, "closed a person's pull request"
            pull.state = "CLOSED"

        self._write(f"close {number}", act)

    def _lands_some_day(self, pull: Pull) -> bool:
        """Whether nothing but CI or a person's word is missing."""
        repository, policy = self.repository, self.repository.policy
        reported = {"ci": pull.check, "lint": pull.lint}
        needed = {reported[name] for name in {*policy.check_names, *repository.required}}
        merged = Git(repository).merge(repository.main[-1], pull.head)
        return (
            pull.state == "OPEN"
            and merged.clean
            and not pull.unreadable
            and not pull.broken
            and pull.base == "main"
            and not pull.fork
            and not pull.draft
            and not pull.labels & set(policy.hold_labels)
            and pull.author not in policy.authors_denied
            and "CHANGES_REQUESTED" not in (pull.review, pull.opinion)
            and not needed & {CheckState.FAILURE, CheckState.ACTION_REQUIRED, CheckState.UNKNOWN}
        )

    def retarget(self, number: int, base: str) -> None:
        self._write(
            f"retarget {number}", lambda: setattr(self.repository.pulls[number], "base", base)
        )

    def delete_branch(self, ref: str) -> None:
        def act() -> None:
            self.repository.branches.pop(ref, None)
            for other in self.repository.pulls.values():
                if f"b{other.number}" == ref:
                    other.branch_there = False
                assert not (other.base == ref and other.state == "OPEN"), "closed a dependant"

        self._write(f"delete {ref}", act)


@dataclass
class Runner:
    """Runs cycles with one saved state, through crashes."""

    repository: Repository
    saved: SavedState = field(default_factory=SavedState)
    records: list[dict[str, Any]] = field(default_factory=list)
    started: list[list[str]] = field(default_factory=list)

    def cycle(self, *, dry_run: bool = False) -> CycleReport:
        dependencies = Dependencies(
            Forge(self.repository),
            Git(self.repository),
            self.repository.now,
            self.repository.sleep,
            self._save,
            self.records.append,
            self._start,
        )
        return execution.run(
            self.repository.policy, "o/r", "main", self.saved, dependencies, dry_run=dry_run
        )

    def _save(self, saved: SavedState) -> None:
        self.saved = saved

    def _start(self, argv: Sequence[str]) -> str:
        self.started.append(list(argv))
        return ""

    def until_quiet(self, cycles: int = 40) -> None:
        """Run cycles until two write nothing, a while apart, and nothing more happens."""
        quiet = 0
        for _ in range(cycles):
            before = len(self.repository.writes)
            calm = self.repository.reads_count > max(self.repository.events, default=-1)
            try:
                self.cycle()
            except Crash:
                continue
            saved = self.saved
            owed = saved.cleanups or saved.queued or saved.leftovers or self.repository.queue
            still = calm and not owed and len(self.repository.writes) == before
            quiet = quiet + 1 if still else 0
            if quiet == 2:
                return
            self.repository.now_seconds += 600
        raise AssertionError("never came to rest")


def independent(count: int, **changes: Any) -> dict[int, Pull]:
    """Return pull requests that touch a file each."""
    return {n: Pull(n, {f"file{n}": f"v{n}"}, **changes) for n in range(1, count + 1)}


class Turns:
    """Two runs at once, one at a time: ``schedule`` says before every request who goes on."""

    def __init__(self, schedule: Iterable[int]) -> None:
        self._schedule: Iterator[int] = iter(schedule)
        self._gates = [threading.Semaphore(0), threading.Semaphore(0)]
        self._alive = [True, True]
        self._errors: list[BaseException] = []
        self._me = threading.local()

    def pause(self) -> None:
        """Hand over, if it is the other one's turn."""
        me = self._me.__dict__.get("index")
        if me is None:
            return
        chosen = next(self._schedule, me)
        if chosen != me and self._alive[chosen]:
            self._gates[chosen].release()
            self._gates[me].acquire()

    def run(self, *works: Callable[[], object]) -> None:
        """Carry out both works; raise what either raised."""
        threads = [
            threading.Thread(target=self._work, args=(index, work), daemon=True)
            for index, work in enumerate(works)
        ]
        for thread in threads:
            thread.start()
        self._gates[0].release()
        for thread in threads:
            thread.join(60)
        if self._errors:
            raise self._errors[0]
        if any(thread.is_alive() for thread in threads):
            raise AssertionError("the two runs wait for each other")

    def _work(self, index: int, work: Callable[[], object]) -> None:
        self._me.index = index
        self._gates[index].acquire()
        try:
            work()
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._alive[index] = False
            self._gates[1 - index].release()
