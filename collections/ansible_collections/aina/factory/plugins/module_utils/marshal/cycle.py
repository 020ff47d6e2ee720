"""One cycle: read, decide, act, verify. Every write is guarded by a fresh read just before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from ..base.github.errors import (
    ForgeError,
    LimitedError,
    RefusedError,
    UncertainError,
    UnusableError,
)
from ..base.paths import name_matches
from ..base.ports import Now
from . import backports, blockers, duplicates, queueing, retests, rules
from .decide import CyclePlan, Decision, decide
from .forge import Forge, MovedError, NotMergeableError, PullRequestOutcome
from .mirror import MirrorError, Picked, PushRefusedError, Stacking, stack
from .reasons import Code, Verb, meaning
from .settings import MergePolicy
from .snapshot import GitEvidence, Mergeable, PullRequest, Refusal, SavedState, Snapshot

WRITE_INTERVAL_SECONDS = 1.0
_POLL_SECONDS = (1.0, 2.0, 4.0, 8.0)
_TRANSIENT_SECONDS = (4.0, 8.0)
_CAPPED_WAIT_SECONDS = 120.0
# So many turns that fail one after the other are no matter of single pull requests.
_GENERAL_COUNT = 3
# How long GitHub's refusal of a head is believed before it is asked again.
_REFUSED_SECONDS = 1800.0
_FORBIDDEN = (
    "; does the login lack a permission for it, as for changes of .github/workflows? "
    "Grant it, or let a person merge this one"
)
Answer = TypeVar("Answer")


class CycleGit(Stacking, Protocol):
    """What a cycle asks of git; see ``mirror.Mirror``."""

    def refresh(self, branch: str, branch_oid: str, heads: Mapping[int, str]) -> None: ...

    def evidence(self, base_oid: str, head_oid: str, window_days: int) -> GitEvidence: ...
    def missing(self, oids: Any) -> set[str]: ...
    def landed_tree(self, method: str, merge_oid: str, base_oid: str, head_oid: str) -> str: ...
    def cherry_pick(self, branch: str, merge_oid: str, head_oid: str, method: str) -> Picked: ...
    def last_change(self, base_oid: str, head_oid: str, paths: Any) -> str: ...

    def push(self, oid: str, branch: str) -> None: ...
    def land(self, oid: str, branch: str) -> None: ...
    def holds(self, branch: str, oid: str) -> bool: ...


class StopCycle(Exception):  # noqa: N818  (not an error: the cycle ends early and says why)
    """The rest of the cycle is left for the next one."""

    def __init__(self, code: str, detail: str, *, failed: bool = False) -> None:
        """Keep a stable code and the words."""
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.failed = failed


@dataclass
class Dependencies:
    """The effects of one cycle. ``save`` keeps the state; ``audit`` appends one record.

    ``start`` runs the command that starts a lane and returns why it could not, or "".
    """

    forge: Forge
    git: CycleGit
    now: Now
    sleep: Callable[[float], None]
    save: Callable[[SavedState], None]
    audit: Callable[[dict[str, Any]], None]
    start: Callable[[Sequence[str]], str]


@dataclass
class CycleReport:
    """What a cycle planned and did; the command, the module and the page show this."""

    repository: str
    mode: str
    decisions: dict[int, Decision] = field(default_factory=dict)
    results: dict[int, str] = field(default_factory=dict)
    blocker: str = ""
    # Why the list of open pull requests may not be whole.
    incomplete: str = ""
    stopped: str = ""
    failed: bool = False
    warnings: list[str] = field(default_factory=list)
    requests_count: int = 0
    points_count: int = 0
    points_remaining: int = 0
    halted_since: float = 0.0
    halted_reason: str = ""
    main_red_since: float = 0.0
    # The ids of those that land, or are tried again, once CI has said something of them.
    awaited: tuple[str, ...] = ()
    # Those of them whose CI the marshal had run again itself, or will.
    driven: tuple[str, ...] = ()
    # Whether the last snapshot showed something to write.
    intends: bool = False
    # Writes that were sent; None in a dry run.
    acted: int | None = None

    @property
    def changed(self) -> bool:
        """Whether something was, or in a dry run would be, changed at GitHub."""
        if self.acted is not None:
            return self.acted > 0
        return self.intends

    def document(self) -> dict[str, Any]:
        return {
            "repository": self.repository,
            "mode": self.mode,
            "gate": self.blocker,
            "incomplete": self.incomplete,
            "stopped": self.stopped,
            "failed": self.failed,
            "halted_since": self.halted_since,
            "halted_reason": self.halted_reason,
            "main_red_since": self.main_red_since,
            "awaited": list(self.awaited),
            "driven": list(self.driven),
            "changed": self.changed,
            "warnings": self.warnings,
            "requests": self.requests_count,
            "points": self.points_count,
            "points_remaining": self.points_remaining,
            "merged": sorted(n for n, result in self.results.items() if result == "merged"),
            "pull_requests": [
                {**decision.document(), "result": self.results.get(number, "")}
                for number, decision in self.decisions.items()
            ],
        }


@dataclass
class Cycle:
    """The state of one running cycle."""

    policy: MergePolicy
    branch: str
    saved: SavedState
    dependencies: Dependencies
    report: CycleReport
    started_at: float = 0.0
    last_write_at: float = 0.0
    snapshot: Snapshot | None = None
    # How each turn of one pull request failed, None when it did not.
    turns: list[ForgeError | MirrorError | None] = field(default_factory=list)
    # Spent on answers that GitHub then did not have.
    waited_in_vain_seconds: float = 0.0

    # -- time -------------------------------------------------------------------

    def left_seconds(self) -> float:
        """Return what is left of the cycle's time."""
        return self.policy.cycle_budget_seconds - (self.dependencies.now() - self.started_at)

    def pause(self, seconds: float) -> bool:
        """Sleep if the budget allows it; False when it does not."""
        if seconds > self.left_seconds():
            return False
        self.dependencies.sleep(seconds)
        return True

    def write(self, action: Callable[[], Answer], note: str, number: int = 0) -> Answer:
        """Carry out one write, at least a second after the one before."""
        since = self.dependencies.now() - self.last_write_at
        if since < WRITE_INTERVAL_SECONDS:
            self.dependencies.sleep(WRITE_INTERVAL_SECONDS - since)
        self.last_write_at = self.dependencies.now()
        try:
            answer = action()
        except LimitedError as error:
            self.record(note, number, f"limited: {error}")
            raise
        except (ForgeError, MirrorError) as error:
            self.record(note, number, f"failed: {error}")
            refused = isinstance(error, UnusableError) and error.status == 401
            if refused and number and self._login_reads(number):
                raise RefusedError(str(error), 401) from error
            raise
        self.report.acted = (self.report.acted or 0) + 1
        self.record(note, number, "done")
        return answer

    def _login_reads(self, number: int) -> bool:
        """Whether GitHub knows the login after all, and refuses this one write only."""
        try:
            return bool(self.dependencies.forge.outcome(number))
        except ForgeError:
            return False

    def record(self, event: str, number: int, result: str, **more: Any) -> None:
        """Append to the audit log."""
        meter = self.dependencies.forge.meter
        self.dependencies.audit(
            {
                "time": self.dependencies.now(),
                "repository": self.report.repository,
                "policy": self.policy.digest(),
                "event": event,
                "number": number,
                "result": result,
                "requests": meter.requests_count,
                "points": meter.points_count,
                **more,
            }
        )

    def save(self, **changes: Any) -> None:
        """Change the state and save it at once."""
        self.saved = replace(self.saved, **changes)
        self.dependencies.save(self.saved)

    def turn(self, number: int, act: Callable[[], str]) -> str:
        """Carry out what concerns one pull request; what fails there is nobody else's matter.

        Several failures in a row are not the matter of one: they end the cycle.
        """
        try:
            result = act()
        except (LimitedError, UnusableError):
            raise
        except (ForgeError, MirrorError) as error:
            self.failed(number, error)
            return f"failed: {error}"
        self.turns.append(None)
        return result

    def failed(self, number: int, error: ForgeError | MirrorError) -> None:
        """Say that one's turn failed; raise when it is no matter of single ones any more."""
        self.turns.append(error)
        if len(self.turns) >= _GENERAL_COUNT and None not in self.turns[-_GENERAL_COUNT:]:
            raise error
        self.warn(f"#{number}: {error}")

    def conclude(self) -> None:
        """Fail when every turn did: then nobody knows whether only they are concerned."""
        failures = [e for e in self.turns if e and not isinstance(e, PushRefusedError)]
        if failures and len(failures) == len(self.turns):
            raise failures[-1]

    # -- reading -----------------------------------------------------------------

    def take_snapshot(self) -> CyclePlan:
        """Read everything once and decide."""
        # Who is under test must be seen in full, or the batch would seem to have changed.
        train = self.saved.train
        groups = (*(run.members for run in train.runs), *train.reds)
        always = {number for group in groups for number, _head in group}
        always |= duplicates.twins(self.policy, self.saved.remembered)
        snapshot = self.dependencies.forge.snapshot(
            self.policy, self.branch, self._ranks(), always, self.saved.list_cursor
        )
        self.saved = replace(self.saved, list_cursor=snapshot.resume_at)
        open_now = {pull.number: pull for pull in snapshot.pulls}
        if self.policy.mode == "native":
            self.saved = queueing.noticed(
                self.policy, self.saved, open_now, self.dependencies.now()
            )
        snapshot = self._with_evidence(replace(snapshot, saved=self.saved))
        judged = retests.settled(
            self.policy,
            snapshot,
            self.saved,
            self.dependencies.forge.ran,
            self.dependencies.now(),
        )
        self.saved = replace(self.saved, retests=judged)
        snapshot = replace(snapshot, saved=self.saved)
        if self.policy.mode == "train":
            tips = [run.tip_oid for run in self.saved.train.runs if not run.landing]
            told = {tip: self.dependencies.forge.commit_checks(tip) for tip in tips}
            snapshot = replace(snapshot, train_checks=told)
        snapshot, plan = self._without_conflicting(snapshot)
        self.snapshot = snapshot
        self.report.blocker = plan.blocker.code if plan.blocker else ""
        self.report.incomplete = snapshot.incomplete_reason
        self.report.main_red_since = plan.main_red_since
        ended = queueing.ended(self.saved, open_now)
        owed = self.saved.cleanups or self.saved.leftovers or self.saved.backports or ended
        self.report.intends = bool(owed) or plan.acts
        decided = {decision.number: decision for decision in plan.decisions}
        kept = {n: d for n, d in self.report.decisions.items() if n in self.report.results}
        self.report.decisions = {**kept, **decided}
        if any(pull.can_bypass for pull in snapshot.pulls):
            self.warn("the token could bypass branch rules; use a GitHub App without bypass rights")
        if snapshot.branch.rules_hidden:
            self.warn(
                f"the token cannot read the protection of {snapshot.branch.name}, which it could "
                "bypass, so each one is brought up to date before it lands; let it read the "
                "repository's administration, or use a GitHub App without bypass rights"
            )
        return plan

    def _ranks(self) -> dict[int, str]:
        """Return whose full read told that it must wait: number -> what must change first."""
        return {
            number: item.fingerprint
            for number, item in sorted(
                self.saved.remembered.items(), key=lambda pair: pair[1].examined_at
            )
            if item.fingerprint and not meaning(item.code).is_ready
        }

    def _with_evidence(self, snapshot: Snapshot) -> Snapshot:
        pulls = [pull for pull in snapshot.pulls if self._worth_evidence(snapshot, pull)]
        heads = {pull.number: pull.head_oid for pull in pulls}
        try:
            self.dependencies.git.refresh(snapshot.branch.name, snapshot.branch.oid, heads)
            absent = self.dependencies.git.missing({*heads.values(), snapshot.branch.oid})
            if snapshot.branch.oid in absent:
                raise MirrorError(f"the head of {snapshot.branch.name} could not be fetched")
        except MirrorError as error:
            return replace(snapshot, evidence_error=str(error))
        found = {
            pull.number: self._with_own_evidence(snapshot.branch.oid, pull)
            for pull in pulls
            if pull.head_oid not in absent
        }
        rest = (replace(pull, evidence=None) for pull in snapshot.pulls)
        return replace(snapshot, pulls=tuple(found.get(pull.number, pull) for pull in rest))

    def _with_own_evidence(self, base_oid: str, pull: PullRequest) -> PullRequest:
        try:
            return replace(pull, evidence=self._evidence(base_oid, pull))
        except MirrorError as error:
            return replace(pull, evidence=None, unreadable=pull.unreadable or str(error))

    def _worth_evidence(self, snapshot: Snapshot, pull: PullRequest) -> bool:
        return pull.detail is not None and pull.base_ref == snapshot.branch.name

    def _evidence(self, base_oid: str, pull: PullRequest) -> GitEvidence:
        window_days = self.policy.stale_revert_window_days
        return self.dependencies.git.evidence(base_oid, pull.head_oid, window_days)

    def _without_conflicting(self, snapshot: Snapshot) -> tuple[Snapshot, CyclePlan]:
        """Decide; hold back who would conflict with an older one that lands first."""
        plan = decide(self.policy, snapshot, self.dependencies.now())
        queued = [p.number for p in snapshot.pulls if p.in_merge_queue and p.evidence is not None]
        for _turn in range(len(snapshot.pulls)):
            numbers = [*queued, *(decision.number for decision in plan.chosen(Verb.MERGE))]
            if plan.train is not None:
                # In the order of the queue: the older one of two that conflict stays.
                aboard = dict(plan.train.members)
                numbers = [d.number for d in plan.decisions if d.number in aboard]
            heads = {pull.number: pull.head_oid for pull in snapshot.pulls}
            order = [heads[number] for number in numbers if number in heads]
            try:
                merges = self.policy.mode == "train"
                indexes = stack(self.dependencies.git, snapshot.branch.oid, order, merges=merges)[1]
                conflicting = {
                    numbers[index]: self._conflicts_with(order, numbers, index)
                    for index in indexes
                    if numbers[index] not in queued
                }
            except MirrorError as error:
                snapshot = replace(snapshot, evidence_error=str(error))
                return snapshot, decide(self.policy, snapshot, self.dependencies.now())
            if not conflicting:
                break
            snapshot = replace(snapshot, conflicting={**snapshot.conflicting, **conflicting})
            plan = decide(self.policy, snapshot, self.dependencies.now())
        return snapshot, plan

    def _conflicts_with(self, order: list[str], numbers: list[int], index: int) -> int:
        for earlier in range(index):
            merged = self.dependencies.git.merge(order[earlier], order[index])
            alone = self.dependencies.git.merge(order[earlier], order[earlier])
            if not merged.clean or merged.tree == alone.tree:
                return numbers[earlier]
        return numbers[index - 1]

    # -- one pull request --------------------------------------------------------

    def reread(self, number: int) -> tuple[Snapshot, PullRequest | None]:
        """Read the branch and one pull request afresh; None for one that is not open."""
        snapshot, pulls = self.reread_all([number])
        if number not in pulls:
            raise ForgeError(f"#{number} could not be read")
        return snapshot, pulls[number]

    def reread_all(
        self, numbers: Sequence[int]
    ) -> tuple[Snapshot, Mapping[int, PullRequest | None]]:
        """Read the branch and pull requests afresh, with git's evidence; see ``Forge.reread``."""
        if self.snapshot is None:
            raise StopCycle("internal", "no snapshot was taken yet", failed=True)
        branch, pulls = self.dependencies.forge.reread(self.branch, numbers)
        fresh = tuple(pull for pull in pulls.values() if pull is not None)
        snapshot = replace(
            self.snapshot,
            branch=branch,
            pulls=fresh,
            saved=self.saved,
            conflicting={},
            points_remaining=self.dependencies.forge.meter.points_remaining,
        )
        snapshot = self._with_evidence(snapshot) if fresh else snapshot
        found = {**pulls, **{pull.number: pull for pull in snapshot.pulls}}
        others = tuple(pull for pull in self.snapshot.pulls if pull.number not in numbers)
        return replace(snapshot, pulls=(*others, *snapshot.pulls)), found

    def blocker(self, snapshot: Snapshot, pull: PullRequest) -> str:
        """Return why the freshly read pull request may not land now, "" when it may."""
        now = self.dependencies.now()
        verdict = (
            rules.own_verdict(self.policy, snapshot, pull, now)
            or blockers.closed(self.policy, snapshot, now)
            or blockers.main_blocks(self.policy, snapshot, pull, now)
        )
        if verdict is not None:
            if verdict.reason.code is Code.MAIN_RED:
                since = blockers.main_red_since(self.policy, snapshot, now)
                self.save(main_red_since=since)
            return verdict.reason.code
        strict = self.policy.mode == "strict" or snapshot.branch.strict
        behind = pull.evidence.behind_count if pull.evidence is not None else 1
        return Code.BEHIND if strict and self.policy.mode != "train" and behind else ""

    def land(self, decision: Decision, expected_tree: str = "") -> str:
        """Merge exactly the judged head, or return the code of what kept it from landing."""
        waited, polls, transients, attempts = 0.0, 0, 0, 0
        while True:
            snapshot, pull = self.reread(decision.number)
            if pull is None:
                return "merged" if attempts and self.finish(decision.number) else "gone"
            if pull.head_oid != decision.head_oid:
                return "head_moved"
            if expected_tree and self.dependencies.git.tree(snapshot.branch.oid) != expected_tree:
                return "base_moved"
            problem = self.blocker(snapshot, pull)
            if problem:
                return "enqueued" if attempts and problem == Code.IN_MERGE_QUEUE else problem
            if pull.mergeable is Mergeable.UNKNOWN:
                delay = _POLL_SECONDS[min(polls, len(_POLL_SECONDS) - 1)]
                # What others have waited for in vain is not waited for again.
                patience = self.policy.mergeability_budget_seconds - self.waited_in_vain_seconds
                if waited + delay > max(patience, _POLL_SECONDS[0]) or not self.pause(delay):
                    self.waited_in_vain_seconds += waited
                    text = "GitHub does not say whether it can be merged"
                    return self.refuse(pull.number, pull.head_oid, text, Code.MERGEABILITY_UNKNOWN)
                waited, polls = waited + delay, polls + 1
                continue
            attempts += 1
            try:
                if self.policy.mode == "native":
                    self._enqueue(pull)
                    return "enqueued"
                self._merge(pull)
            except MovedError:
                return "head_moved"
            except NotMergeableError as error:
                if error.transient and transients < len(_TRANSIENT_SECONDS):
                    transients += 1
                    if self.pause(_TRANSIENT_SECONDS[transients - 1]):
                        continue
                return self.refuse(pull.number, pull.head_oid, str(error))
            except UncertainError:
                if attempts > 3 or not self.pause(2.0 * attempts):
                    return "unanswered"
                continue
            except LimitedError as error:
                if attempts > 3:
                    raise StopCycle("limited", str(error)) from error
                self._wait_out(error)
                continue
            except UnusableError:
                raise
            except RefusedError as error:
                hint = _FORBIDDEN if error.status in (401, 403) else ""
                return self.refuse(pull.number, pull.head_oid, f"{error}{hint}")
            return self.finished(pull.number)

    def _wait_out(self, error: LimitedError) -> None:
        wait_seconds = error.retry_after_seconds
        if wait_seconds > _CAPPED_WAIT_SECONDS or not self.pause(wait_seconds):
            raise StopCycle("limited", str(error)) from error

    def refuse(
        self, number: int, head_oid: str, text: str, code: Code = Code.REFUSED_BY_GITHUB
    ) -> str:
        """Believe for a while that GitHub will not land this head; return the code."""
        entry = Refusal(head_oid, text, self.dependencies.now() + _REFUSED_SECONDS, code)
        self.save(refused={**self.saved.refused, number: entry})
        return entry.code

    def _enqueue(self, pull: PullRequest) -> None:
        self._intend(pull)
        self.write(lambda: self.dependencies.forge.enqueue(pull), "enqueue", pull.number)
        settled = self._settled(pull.number)
        queued = {**settled["queued"], pull.number: pull.head_oid}
        self.save(**{**settled, "queued": queued})

    def _intend(self, pull: PullRequest) -> None:
        # Kept before the landing: a run that dies right after it still verifies and tidies up.
        known = {**self.saved.cleanups, pull.number: pull.head_oid}
        doubtful = tuple(number for number in self.saved.doubtful if number != pull.number)
        self.save(cleanups=known, doubtful=doubtful)

    def _merge(self, pull: PullRequest) -> None:
        self._intend(pull)
        self.write(
            lambda: self.dependencies.forge.merge(pull, self.policy.method), "merge", pull.number
        )

    # -- afterwards ---------------------------------------------------------------

    def finish(self, number: int) -> bool:
        """Verify what landed, move dependants, delete the branch; False when nothing landed."""
        outcome = self.dependencies.forge.outcome(number)
        if outcome.state == "OPEN":
            return False
        if outcome.state == "MERGED":
            judged_head = {**self.saved.queued, **self.saved.cleanups}[number]
            self._verify(outcome, judged_head)
            try:
                self._tidy(outcome, judged_head)
            except UncertainError as error:
                # It landed; the next cycle looks what is left to do.
                self.warn(f"#{number} is not tidied up yet: {error}")
                return True
        landed = self.saved.landed_count + (outcome.state == "MERGED")
        ports = tuple(backports.wanted(self.policy, self.branch, outcome))
        kept = (*self.saved.backports, *(ports if outcome.state == "MERGED" else ()))
        self.save(**self._settled(number), landed_count=landed, backports=kept)
        return outcome.state == "MERGED"

    def finished(self, number: int) -> str:
        """Finish what should have landed; what cannot be read now, the next cycle finishes."""
        try:
            return "merged" if self.finish(number) else "unverified"
        except (LimitedError, UnusableError):
            raise
        except ForgeError as error:
            self.warn(f"#{number} is not verified yet: {error}")
            return "unverified"

    def warn(self, text: str) -> None:
        """Say something that somebody should know though it stops nothing."""
        if text not in self.report.warnings:
            self.report.warnings.append(text)

    def _settled(self, number: int) -> dict[str, Any]:
        """Return what is left to verify once ``number`` needs nothing more."""
        saved = self.saved
        return {
            "cleanups": {n: head for n, head in saved.cleanups.items() if n != number},
            "pushed": {n: tip for n, tip in saved.pushed.items() if n != number},
            "queued": {n: head for n, head in saved.queued.items() if n != number},
            "doubtful": tuple(n for n in saved.doubtful if n != number),
        }

    def doubt(self, number: int) -> None:
        """Note that one looks open though it may have landed; the second time it has not."""
        if number in self.saved.doubtful:
            self.save(**self._settled(number))
        else:
            self.save(doubtful=(*self.saved.doubtful, number))

    def _verify(self, outcome: PullRequestOutcome, judged_head: str) -> None:
        git = self.dependencies.git
        if outcome.head_oid != judged_head:
            self._halt(outcome, f"landed at {outcome.head_oid}, judged was {judged_head}")
        if self._landed_by_push(outcome):
            return
        if not outcome.merge_oid:
            self._unverified(outcome, "GitHub names no merge commit")
        try:
            git.refresh(self.branch, outcome.merge_oid, {outcome.number: judged_head})
            gone = git.missing({outcome.merge_oid})
            expected = "" if gone else self._expected_tree(outcome, judged_head)
            differs = not gone and git.tree(outcome.merge_oid) != expected
        except MirrorError as error:
            # Git does not answer now; what it will say is waited for, however long it takes.
            raise StopCycle("unverified", f"#{outcome.number}: {error}", failed=True) from error
        if gone:
            self._unverified(
                outcome, f"{outcome.merge_oid}, as which it landed, is not on the branch"
            )
        if differs:
            self._halt(outcome, f"landed as {outcome.merge_oid}, not as what was judged")

    def _landed_by_push(self, outcome: PullRequestOutcome) -> bool:
        """Whether the branch has the very commit that was tested, whatever GitHub calls it."""
        tip = self.saved.pushed.get(outcome.number)
        try:
            return tip is not None and self.dependencies.git.holds(self.branch, tip)
        except MirrorError as error:
            raise StopCycle("unverified", f"#{outcome.number}: {error}", failed=True) from error

    def _expected_tree(self, outcome: PullRequestOutcome, judged_head: str) -> str:
        oid = outcome.merge_oid
        return self.dependencies.git.landed_tree(self.policy.method, oid, f"{oid}^1", judged_head)

    def _unverified(self, outcome: PullRequestOutcome, why: str) -> None:
        """Stop once for what GitHub may be late with; halt when the next cycle finds the same."""
        if outcome.number in self.saved.doubtful:
            self._halt(outcome, why)
        self.save(doubtful=(*self.saved.doubtful, outcome.number))
        raise StopCycle("unverified", f"#{outcome.number}: {why}; the next cycle looks again")

    def _halt(self, outcome: PullRequestOutcome, why: str) -> None:
        problem, now = f"#{outcome.number}: {why}", self.dependencies.now()
        settled = self._settled(outcome.number)
        self.save(halted_since=now, halted_reason=problem, **settled)
        self.record("halt", outcome.number, problem)
        raise StopCycle("halted", problem, failed=True)

    def _retarget(self, number: int) -> bool:
        """Point a dependant at the base branch; False when GitHub refuses."""
        forge = self.dependencies.forge
        try:
            self.write(lambda: forge.retarget(number, self.branch), "retarget", number)
        except UnusableError:
            raise
        except RefusedError as error:
            self.warn(f"#{number} still targets a branch that has landed: {error}")
            return False
        return True

    def _tidy(self, outcome: PullRequestOutcome, judged_head: str) -> None:
        """Move the dependants and delete the branch; what GitHub refuses is left to people."""
        if self.snapshot is not None and self.snapshot.deletes_branch_on_merge:
            return
        lasting = name_matches(outcome.head_ref, self.policy.lasting_branches)
        if lasting or (outcome.head_protected and not outcome.is_fork):
            # Others are opened against it for its own sake, not for what has landed just now.
            return
        # Deleting a branch closes every pull request that still targets it.
        freed = [self._retarget(number) for number, _title in outcome.dependants]
        deletable = (
            all(freed)
            and self.policy.delete_branch
            and not outcome.is_fork
            and outcome.dependants_complete
            and outcome.head_ref != self.branch
            and outcome.head_ref_oid == judged_head
        )
        if not deletable:
            return
        forge = self.dependencies.forge
        try:
            self.write(
                lambda: forge.delete_branch(outcome.head_ref), "delete_branch", outcome.number
            )
        except UnusableError:
            raise
        except RefusedError as error:
            self.warn(f"#{outcome.number}: its branch {outcome.head_ref} stays: {error}")
