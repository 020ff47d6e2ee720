"""Carry out a plan: labels, duplicates, updates, merges, trains. The order is the plan's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from ..base.github.errors import (
    ForgeError,
    LimitedError,
    RefusedError,
    UncertainError,
    UnusableError,
)
from . import (
    backports,
    conflict_lanes,
    duplicates,
    queueing,
    retests,
    rules,
    saved_state,
    trains,
)
from .cycle import Cycle, CycleReport, Dependencies, StopCycle
from .decide import CyclePlan, Decision
from .mirror import MirrorError, PushRefusedError, stack
from .reasons import Code, Verb
from .settings import MergePolicy
from .snapshot import (
    Backport,
    PullRequest,
    Retest,
    SavedState,
    TrainRun,
    TrainState,
)

_TRAIN_POLL_SECONDS = 15.0
# So many tested batches in a row that then do not land are enough for one cycle.
_FRUITLESS_COUNT = 5
# What takes a place under the cap: it landed, or may have.
_LANDED = frozenset({"merged", "enqueued", "unverified", "unanswered"})


def run(
    policy: MergePolicy,
    repository: str,
    branch: str,
    saved: SavedState,
    dependencies: Dependencies,
    *,
    dry_run: bool,
    started_at: float = 0.0,
) -> CycleReport:
    """Run one cycle, or with ``dry_run`` print what it would do: it reads and writes nothing.

    Its time counts from ``started_at``, where it goes on with what an earlier one began.
    """
    report = CycleReport(repository, policy.mode, acted=None if dry_run else 0)
    began = started_at or dependencies.now()
    cycle = Cycle(policy, branch, saved, dependencies, report, started_at=began)
    try:
        if dry_run:
            cycle.take_snapshot()
        else:
            _carry_out(cycle)
            cycle.conclude()
    except StopCycle as stop:
        report.stopped, report.failed = str(stop), stop.failed
    except LimitedError as error:
        report.stopped = f"limited: {error}; continues in {error.retry_after_seconds:.0f} s"
    except (ForgeError, MirrorError) as error:
        report.stopped, report.failed = f"failed: {error}", True
    report.awaited = _awaited(cycle)
    report.driven = _driven(cycle, report.awaited)
    meter = dependencies.forge.meter
    report.requests_count, report.points_count = meter.requests_count, meter.points_count
    report.points_remaining = meter.points_remaining
    kept = cycle.saved
    report.halted_since, report.halted_reason = kept.halted_since, kept.halted_reason
    if not dry_run:
        # A merge's own last read may have seen main turn red.
        report.main_red_since = kept.main_red_since
    if not dry_run:
        cycle.record("cycle", 0, report.stopped or "done", landed=len(report.results))
    return report


def _carry_out(cycle: Cycle) -> None:
    _sweep(cycle)
    native = cycle.policy.mode == "native"
    for number in () if native else sorted({*cycle.saved.cleanups, *cycle.saved.queued}):
        # What is still in GitHub's queue may have entered before the mode was changed.
        cycle.turn(number, partial(_finish, cycle, number))
    plan = _plan(cycle)
    if cycle.snapshot is not None and cycle.snapshot.limited:
        raise StopCycle("limited", f"{cycle.report.incomplete}; the next cycle goes on there")
    if native and cycle.snapshot is not None and cycle.snapshot.complete:
        for number in queueing.ended(cycle.saved, {d.number for d in plan.decisions}):
            cycle.turn(number, partial(_finish, cycle, number))
    if plan.blocker is not None:
        return
    if cycle.policy.mode == "train":
        # It takes all the time that there is.
        _tend(cycle, plan)
        _drive(cycle, plan)
        return
    places = cycle.policy.max_merges_per_cycle
    left = _land_ready(cycle, plan, places)
    while left < places and _lands_singly(cycle) and cycle.left_seconds() > 0:
        # Whoever is next is behind now: CI must not stand idle until the next cycle.
        results = cycle.report.results
        cycle.report.results = {n: said for n, said in results.items() if said in _LANDED}
        places, plan = left, _plan(cycle)
        left = _land_ready(cycle, plan, places)
    _tend(cycle, plan)


def _tend(cycle: Cycle, plan: CyclePlan) -> None:
    """Do what lands nobody now: CI first, what is only said last."""
    if plan.retests_main:
        cycle.turn(0, partial(_retest_main, cycle))
    for port in cycle.saved.backports:
        cycle.turn(port.number, partial(_backport, cycle, port))
    for decision in plan.chosen(Verb.RETEST):
        _take_turn(cycle, decision, _retest)
    for decision in plan.chosen(Verb.UPDATE):
        _take_turn(cycle, decision, _update)
    for decision in plan.chosen(Verb.CLOSE_DUPLICATE):
        _take_turn(cycle, decision, _close)
    _ask_lanes(cycle, plan)
    marks = (d for d in plan.decisions if d.conflict_label or d.marks_duplicate)
    for decision in itertools.islice(marks, cycle.policy.max_marks_per_cycle):
        if cycle.left_seconds() <= 0:
            return
        _mark(cycle, decision)


def _lands_singly(cycle: Cycle) -> bool:
    strict = cycle.snapshot is not None and cycle.snapshot.branch.strict
    # Of classic protection GitHub tells only once one is behind.
    strict = strict or Code.BEHIND in cycle.report.results.values()
    return cycle.policy.mode == "strict" or (cycle.policy.mode == "fast" and strict)


def _awaited(cycle: Cycle) -> tuple[str, ...]:
    """Return the ids of those that nothing keeps from landing but CI, or their turn for it."""
    if cycle.snapshot is None or cycle.report.blocker or cycle.policy.mode == "native":
        return ()
    ids = {pull.number: pull.id for pull in cycle.snapshot.pulls}
    return tuple(
        ids[number]
        for number, decision in cycle.report.decisions.items()
        if number in ids
        and (
            cycle.report.results.get(number) in ("updated", "retested")
            or (number not in cycle.report.results and decision.reason.code.meaning.awaits_ci)
        )
    )


def _take_turn(cycle: Cycle, decision: Decision, act: Callable[[Cycle, Decision], str]) -> str:
    result = cycle.turn(decision.number, partial(act, cycle, decision))
    cycle.report.results[decision.number] = result
    return result


def _finish(cycle: Cycle, number: int) -> str:
    if not cycle.finish(number) and number in cycle.saved.cleanups:
        cycle.doubt(number)
    return ""


def _driven(cycle: Cycle, awaited: tuple[str, ...]) -> tuple[str, ...]:
    """Return those whose CI was run again, and has not ended, or waits for a slot."""
    pulls = cycle.snapshot.pulls if cycle.snapshot is not None else ()
    asked = {
        (entry.number, entry.head_oid)
        for entry in cycle.saved.retests
        if entry.how == "rerun" and not entry.outcome
    }
    next_ = {n for n, d in cycle.report.decisions.items() if d.reason.code is Code.RETEST_NEXT}
    return tuple(
        pull.id
        for pull in pulls
        if pull.id in awaited and ((pull.number, pull.head_oid) in asked or pull.number in next_)
    )


def _land_ready(cycle: Cycle, plan: CyclePlan, places: int) -> int:
    """Land in order; whoever does not land leaves its place under the cap to the next one.

    Returns the places that are left.
    """
    for decision in plan.decisions:
        ready = decision.verb is Verb.MERGE or decision.reason.code is Code.CAP_REACHED
        if not ready or places <= 0:
            continue
        if cycle.left_seconds() <= 0:
            raise StopCycle("time", f"the next cycle continues with #{decision.number}")
        result = _take_turn(cycle, decision, Cycle.land)
        if result == "budget":
            raise StopCycle("budget", f"a later cycle continues with #{decision.number}")
        places -= result in _LANDED
    return places


def _plan(cycle: Cycle) -> CyclePlan:
    plan = cycle.take_snapshot()
    if cycle.snapshot is None:
        raise StopCycle("internal", "no snapshot was taken", failed=True)
    now = cycle.dependencies.now()
    for decision in plan.decisions:
        before = cycle.saved.remembered.get(decision.number)
        if before is None or before.code != decision.reason.code:
            cycle.record(
                "decide",
                decision.number,
                f"{decision.verb.value}: {decision.reason.code}",
                head=decision.head_oid,
                base=cycle.snapshot.branch.oid,
            )
    seen = saved_state.earlier_reasons(plan, cycle.snapshot, now)
    kept = seen if cycle.snapshot.complete else {**cycle.saved.remembered, **seen}
    refused = {n: item for n, item in cycle.saved.refused.items() if n in kept}
    label = cycle.policy.duplicates.label
    labelled = {pull.number for pull in cycle.snapshot.pulls if label in pull.labels}
    marked = {number for number in cycle.saved.marked if number in kept}
    marked |= {d.number for d in plan.decisions if d.duplicate is not None} & labelled
    cycle.save(
        remembered=kept,
        retests=cycle.saved.retests,
        main_red_since=plan.main_red_since,
        refused=refused,
        marked=tuple(sorted(marked)),
    )
    return plan


def _quietly(action: Callable[[], object]) -> None:
    """Carry out a courtesy; when it fails without a limit, the next cycle tries again."""
    try:
        action()
    except (LimitedError, UnusableError):
        raise
    except ForgeError:
        return


def _mark(cycle: Cycle, decision: Decision) -> None:
    forge, number = cycle.dependencies.forge, decision.number
    if decision.conflict_label == "remove":
        label = cycle.policy.conflict_label
        _quietly(lambda: cycle.write(lambda: forge.remove_label(number, label), "unlabel", number))
    if decision.conflict_label == "add":
        _say(
            cycle,
            decision,
            cycle.policy.conflict_label,
            f"conflict {decision.head_oid}",
            _conflict_words(cycle, decision),
        )
    duplicate = decision.duplicate
    if duplicate is not None and decision.marks_duplicate:
        original = f"#{duplicate.original}" if duplicate.original else f"`{cycle.branch}`"
        _say(
            cycle,
            decision,
            cycle.policy.duplicates.label,
            "duplicate",
            f"This carries the same change as {original} ({duplicate.proof}), which is kept. "
            "Take the label off or mark this a draft to object; after it was closed, "
            f"`gh pr reopen {number}` brings it back.",
        )


def _ask_lanes(cycle: Cycle, plan: CyclePlan) -> None:
    """Have lanes resolve what keeps conflicting; asked is kept first, so a crash never repeats."""
    now, before = cycle.dependencies.now(), cycle.saved.conflicts
    conflicting = [d for d in plan.decisions if d.reason.code is Code.CONFLICT]
    still = {
        decision.number: conflict_lanes.seen(decision.head_oid, before.get(decision.number), now)
        for decision in conflicting
    }
    gone = {number: found for number, found in before.items() if number not in still}
    cycle.save(conflicts={**conflict_lanes.settled(gone, now), **still})
    for decision in conflicting:
        if decision.asks_lane:
            found = still[decision.number]
            asked = replace(found, asked_at=(*found.asked_at, now))
            cycle.save(conflicts={**cycle.saved.conflicts, decision.number: asked})
            argv = [*cycle.policy.lane.command, cycle.report.repository]
            problem = cycle.dependencies.start([*argv, str(decision.number)])
            cycle.report.acted = (cycle.report.acted or 0) + 1
            cycle.report.results[decision.number] = problem or "lane_asked"
            cycle.record("conflict_lane", decision.number, problem or "asked")


def _conflict_words(cycle: Cycle, decision: Decision) -> str:
    pulls = cycle.snapshot.pulls if cycle.snapshot is not None else ()
    pull = next(item for item in pulls if item.number == decision.number)
    subject = ""
    if pull.evidence is not None and pull.evidence.conflict_paths:
        # Who it was with is a courtesy.
        with suppress(MirrorError):
            subject = cycle.dependencies.git.last_change(
                pull.evidence.base_oid, pull.head_oid, pull.evidence.conflict_paths
            )
    culprit = f" It overlaps what landed as: {subject}." if subject else ""
    return f"This conflicts with `{cycle.branch}`: {decision.reason.detail}.{culprit}"


def _say(cycle: Cycle, decision: Decision, label: str, marker: str, words: str) -> None:
    """Comment once, then label: the hidden marker makes a repetition after a crash silent."""
    forge, number = cycle.dependencies.forge, decision.number

    def act() -> None:
        _comment_once(cycle, number, marker, words)
        cycle.write(lambda: forge.add_label(number, label), "label", number)
        if decision.marks_duplicate:
            cycle.save(marked=(*cycle.saved.marked, number))

    _quietly(act)


def _comment_once(cycle: Cycle, number: int, marker: str, words: str) -> None:
    forge, hidden = cycle.dependencies.forge, f"<!-- aina-factory: {marker} -->"
    if not any(hidden in comment for comment in forge.outcome(number).comments):
        cycle.write(lambda: forge.comment(number, f"{words}\n\n{hidden}"), "comment", number)


def _close(cycle: Cycle, decision: Decision) -> str:
    """Close a duplicate if a fresh read of both still proves it."""
    duplicate = decision.duplicate
    snapshot, pull = cycle.reread(decision.number)
    if duplicate is None or pull is None:
        return "gone"
    if pull.head_oid != decision.head_oid:
        return "head_moved"
    both = [pull]
    if duplicate.original:
        before = next((p for p in snapshot.pulls if p.number == duplicate.original), None)
        snapshot, original = cycle.reread(duplicate.original)
        if original is None or before is None or original.head_oid != before.head_oid:
            return "original_moved"
        both.append(original)
    fresh = replace(snapshot, pulls=tuple(both))
    if duplicates.find(cycle.policy, fresh, cycle.dependencies.now()).get(pull.number) != duplicate:
        return "not_proven"
    try:
        cycle.write(lambda: cycle.dependencies.forge.close(pull.number), "close", pull.number)
    except UncertainError:
        return "unanswered"
    except UnusableError:
        raise
    except RefusedError as error:
        return f"not closed: {error}"
    return "closed"


def _backport(cycle: Cycle, port: Backport) -> str:
    """Open what landed against another branch too, or say on it why not."""
    git, forge, number = cycle.dependencies.git, cycle.dependencies.forge, port.number
    method = cycle.policy.method
    picked = git.cherry_pick(port.branch, port.merge_oid, port.head_oid, method)
    problem = ""
    if not picked.tip:
        problem = backports.conflict_words(port, picked.conflict_paths)
    elif picked.tip != picked.base:
        head = backports.head_branch(port)
        title = f"[{port.branch}] {forge.outcome(number).title} (#{number})"
        body = f"Backport of #{number} to `{port.branch}`, as its label says."
        try:
            cycle.write(lambda: git.push(picked.tip, head), "backport_push", number)
            cycle.write(lambda: forge.open_pull(port.branch, head, title, body), "backport", number)
        except UnusableError:
            raise
        except (RefusedError, PushRefusedError) as error:
            problem = f"This could not be backported to `{port.branch}`: {error}."
            cycle.warn(f"#{number}: {error}")
    if problem:
        _comment_once(cycle, number, f"backport {port.branch}", problem)
    cycle.save(backports=tuple(other for other in cycle.saved.backports if other != port))
    return ""


def _update(cycle: Cycle, decision: Decision) -> str:
    snapshot, pull = cycle.reread(decision.number)
    if pull is None or pull.head_oid != decision.head_oid:
        return "head_moved"
    problem = cycle.blocker(snapshot, pull)
    if problem != "behind":
        return problem or "up_to_date"
    try:
        cycle.write(lambda: cycle.dependencies.forge.update_branch(pull), "update", pull.number)
    except (LimitedError, UnusableError):
        raise
    except ForgeError as error:
        return f"not updated: {error}"
    return "updated"


def _retest(cycle: Cycle, decision: Decision) -> str:
    """Have CI test a head once more, if a fresh read still says that nothing else is amiss."""
    snapshot, pull = cycle.reread(decision.number)
    if pull is None or pull.head_oid != decision.head_oid:
        return "head_moved"
    now = cycle.dependencies.now()
    own = rules.own_verdict(cycle.policy, snapshot, pull, now)
    if not retests.liftable(cycle.policy, snapshot, pull, own, now):
        return own.reason.code if own is not None else "green"
    found = retests.counted_of(cycle.policy, snapshot, pull)
    how = retests.how(cycle.policy, snapshot, pull, now)
    runs = retests.runs_of(cycle.policy, found, now)
    updates = bool(pull.evidence and pull.evidence.behind_count)
    if how == "rerun" and _rerun(cycle, pull.number, pull.head_oid, runs):
        return "retested"
    if how == "rerun" and not updates:
        return "not retested"
    return _ask(cycle, pull.number, pull.head_oid, "update", lambda: _bring_up(cycle, pull))


def _bring_up(cycle: Cycle, pull: PullRequest) -> None:
    cycle.write(lambda: cycle.dependencies.forge.update_branch(pull), "update", pull.number)


def _retest_main(cycle: Cycle) -> str:
    """Have CI test the base branch once more: red for want of CI, it would block for ever."""
    if cycle.snapshot is None:
        return ""
    branch, now = cycle.snapshot.branch, cycle.dependencies.now()
    found = retests.counted(cycle.policy, cycle.snapshot, branch.checks)
    _rerun(cycle, 0, branch.oid, retests.runs_of(cycle.policy, found, now))
    return ""


def _rerun(cycle: Cycle, number: int, head_oid: str, runs: tuple[int, ...]) -> bool:
    def act() -> None:
        for run_id in runs:
            cycle.write(partial(cycle.dependencies.forge.rerun, run_id), "rerun", number)

    return _ask(cycle, number, head_oid, "rerun", act) == "retested"


def _ask(cycle: Cycle, number: int, head_oid: str, how: str, act: Callable[[], None]) -> str:
    # Kept first: a run that dies right after it must not ask twice.
    before = cycle.saved.retests
    entry = Retest(number, head_oid, cycle.dependencies.now(), how)
    cycle.save(retests=(*before, entry))
    try:
        act()
    except UnusableError:
        raise
    except RefusedError as error:
        cycle.save(retests=(*before, replace(entry, how="refused")))
        cycle.warn(f"#{number}: CI could not be asked for again: {error}" if number else str(error))
        return f"not retested: {error}"
    return "retested"


# -- the train ------------------------------------------------------------------------


def _drive(cycle: Cycle, plan: CyclePlan) -> None:
    """Test and land batches until nothing is left to do or the cycle's time is over."""
    if cycle.dependencies.now() < cycle.saved.train.alone_until:
        _warn_of_none_together(cycle)
    fruitless = 0
    while plan.train is not None and plan.blocker is None and cycle.left_seconds() > 0:
        step = plan.train
        _keep(cycle, step.saved)
        if step.verb in ("rest", "stuck"):
            return
        if step.verb == "start":
            _start(cycle, step)
        elif step.verb == "land":
            landed = cycle.saved.landed_count
            if not _land(cycle):
                return
            fruitless = 0 if cycle.saved.landed_count > landed else fruitless + 1
            if fruitless == _FRUITLESS_COUNT:
                return
        elif step.verb == "wait" and not _keep_waiting(cycle):
            return
        plan = _plan(cycle)


def _start(cycle: Cycle, step: trains.TrainStep) -> None:
    if cycle.snapshot is None:
        return
    refs = {pull.number: pull.head_ref for pull in cycle.snapshot.pulls}
    runs: dict[str, TrainRun] = {}
    for batch in step.batches:
        run_ = _stacked(cycle, cycle.snapshot.branch.oid, batch, refs)
        if run_.tip_oid != run_.base_oid:
            runs.setdefault(run_.tip_oid, run_)
    if not runs:
        raise StopCycle("train", "the batch does not merge cleanly; the next cycle holds it back")
    count = step.saved.runs_count + len(runs)
    # Kept before the push: a branch that nobody remembers would never be deleted.
    cycle.save(train=replace(step.saved, runs=tuple(runs.values()), runs_count=count))
    for run_ in runs.values():
        _push(cycle, run_)


def _stacked(
    cycle: Cycle, base: str, batch: Sequence[trains.Member], refs: Mapping[int, str]
) -> TrainRun:
    """Put a batch on the base branch; who would conflict or add nothing without others is out."""
    # Without the title: its author could have CI skip the commit.
    words = [f"Merge pull request #{number} from {refs[number]}" for number, _head in batch]
    heads, now = [head for _number, head in batch], cycle.dependencies.now()
    tip, conflicting = stack(cycle.dependencies.git, base, heads, words, now)
    members = tuple(m for index, m in enumerate(batch) if index not in conflicting)
    return TrainRun(members, base, tip, f"{cycle.policy.train.branch_prefix}{tip[:12]}", now)


def _push(cycle: Cycle, run_: TrainRun) -> None:
    """Have a batch tested; one that the remote does not take is narrowed to whom it refuses."""
    try:
        cycle.write(lambda: cycle.dependencies.git.push(run_.tip_oid, run_.branch), "train_push")
    except PushRefusedError as error:
        refused = error
    else:
        cycle.turns.append(None)
        return
    _keep(cycle, trains.after_refused_push(cycle.saved.train, run_))
    if len(run_.members) == 1:
        number, head = run_.members[0]
        cycle.report.results[number] = cycle.refuse(number, head, str(refused))
        cycle.failed(number, refused)


def _keep_waiting(cycle: Cycle) -> bool:
    told = cycle.snapshot.train_checks if cycle.snapshot is not None else {}
    for run_ in cycle.saved.train.runs:
        found = told.get(run_.tip_oid)
        if found is not None and found.complete and not found.items:
            # A run that died before its push left the branch unmade; pushing again is harmless.
            _push(cycle, run_)
    return cycle.pause(_TRAIN_POLL_SECONDS)


def _land(cycle: Cycle) -> bool:
    """Land the tested batch, whole or not at all; return whether the train goes on."""
    run_ = next((run for run in cycle.saved.train.runs if run.landing), None)
    if run_ is None or cycle.snapshot is None:
        return False
    git, main = cycle.dependencies.git, cycle.snapshot.branch.oid
    if git.tree(main) == git.tree(run_.tip_oid):
        landed, goes_on = True, True  # by a run that died right after it
    elif main != run_.base_oid:
        landed, goes_on = False, False
    elif len(run_.members) > 1:
        landed, goes_on = _land_together(cycle, run_)
    else:
        landed, goes_on = _land_alone(cycle, run_)
    members = {number for number, _head in run_.members} if landed else ()
    _keep(cycle, trains.after_landing(cycle.saved.train, members))
    return goes_on


def _land_alone(cycle: Cycle, run_: TrainRun) -> tuple[bool, bool]:
    """Land one as in the other modes; the branch must have the tree that it was tested on.

    Returns whether it landed, and whether the train goes on with the others.
    """
    (number, head) = run_.members[0]
    decision = cycle.report.decisions.get(number)
    if decision is None or decision.verb is not Verb.MERGE:
        return False, False
    base_tree = cycle.dependencies.git.tree(run_.base_oid)
    result = cycle.turn(number, lambda: cycle.land(decision, expected_tree=base_tree))
    cycle.report.results[number] = result
    if result == "unanswered" or result.startswith("failed"):
        # It would be the next one again.
        cycle.refuse(number, head, f"its landing came to nothing: {result}")
    return result == "merged", result not in ("base_moved", "unverified", Code.BUDGET)


def _land_together(cycle: Cycle, run_: TrainRun) -> tuple[bool, bool]:
    """Move the branch to the tested commit itself: no state in between is ever on it.

    Every head is among its ancestors, so that GitHub calls each of them merged.
    """
    if cycle.snapshot is not None and cycle.snapshot.branch.push_forbidden:
        # The remote might take it all the same, from a login that may pass the rules by.
        _land_alone_from_now_on(cycle, cycle.snapshot.branch.push_forbidden)
        return False, True
    problems = _blockers(cycle, run_)
    if problems:
        cycle.report.results.update(problems)
        for number, head in run_.members:
            if problems.get(number) == Code.DATA_INCOMPLETE:
                text = "could not be read when its batch was about to land"
                cycle.refuse(number, head, text, Code.REFUSED_BY_GITHUB)
        # The others are tested without them.
        return False, not {"base_moved", Code.MAIN_RED, Code.BUDGET} & set(problems.values())
    saved = cycle.saved
    cycle.save(
        cleanups={**saved.cleanups, **dict(run_.members)},
        pushed={**saved.pushed, **{number: run_.tip_oid for number, _head in run_.members}},
    )
    try:
        cycle.write(lambda: cycle.dependencies.git.land(run_.tip_oid, cycle.branch), "train_land")
    except PushRefusedError as error:
        cycle.save(cleanups=saved.cleanups, pushed=saved.pushed)
        if not error.moved:
            _land_alone_from_now_on(cycle, str(error))
        return False, not error.moved
    for number, head in run_.members:
        cycle.record("merge", number, "done", head=head, commit=run_.tip_oid)
    for number, _head in run_.members:
        cycle.report.results[number] = cycle.turn(number, partial(cycle.finished, number))
    return True, True


def _land_alone_from_now_on(cycle: Cycle, why: str) -> None:
    until = cycle.dependencies.now() + cycle.policy.train.retry_seconds
    cycle.save(train=replace(cycle.saved.train, alone_until=until, alone_reason=why))
    _warn_of_none_together(cycle)


def _blockers(cycle: Cycle, run_: TrainRun) -> dict[int, str]:
    """Return why the batch may not land now, by member."""
    snapshot, pulls = cycle.reread_all([number for number, _head in run_.members])
    if snapshot.branch.oid != run_.base_oid:
        return {number: "base_moved" for number, _head in run_.members}
    found: dict[int, str] = {}
    for number, head in run_.members:
        pull = pulls.get(number)
        if pull is None:
            found[number] = "gone" if number in pulls else "data_incomplete"
        elif pull.head_oid != head:
            found[number] = "head_moved"
        elif problem := cycle.blocker(snapshot, pull):
            found[number] = problem
    return found


def _warn_of_none_together(cycle: Cycle) -> None:
    """Say that the train is slow, why, and who can change it."""
    cycle.warn(
        f"{cycle.branch} does not take a tested batch, so each one is tested and landed by itself "
        f"({cycle.saved.train.alone_reason}); let the login push to it to land batches"
    )


def _keep(cycle: Cycle, saved: TrainState) -> None:
    """Remember what the train knows; the branches of runs that are over go."""
    still = {run_.branch for run_ in saved.runs}
    over = [run_.branch for run_ in cycle.saved.train.runs if run_.branch not in still]
    # Kept together: a run that dies before the deletion leaves it to the next one.
    cycle.save(train=saved, leftovers=(*cycle.saved.leftovers, *over))
    if over:
        _sweep(cycle)


def _sweep(cycle: Cycle) -> None:
    """Delete the batch branches that are over; one that cannot be deleted now has another turn."""
    if cycle.policy.mode != "train" and cycle.saved.train.runs:
        _keep(cycle, TrainState())
        return
    for branch in cycle.saved.leftovers:
        _quietly(partial(_delete, cycle, branch))


def _delete(cycle: Cycle, branch: str) -> None:
    cycle.write(lambda: cycle.dependencies.forge.delete_branch(branch), "train_delete")
    left = tuple(name for name in cycle.saved.leftovers if name != branch)
    cycle.save(leftovers=left)
