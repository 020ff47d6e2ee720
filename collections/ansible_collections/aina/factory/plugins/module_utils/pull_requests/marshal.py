"""Carry out a plan: labels, duplicates, updates, merges, trains. The order is the plan's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ansible_collections.aina.factory.plugins.module_utils.github.errors import (
    ForgeError,
    LimitedError,
    RefusedError,
    UncertainError,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests import (
    conflict_lanes,
    duplicates,
    queueing,
    remembering,
    trains,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.cycle import (
    Cycle,
    Report,
    StopCycle,
    World,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.decide import (
    Decision,
    Plan,
)
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.mirror import MirrorError
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.policy import Policy
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.reasons import Verb
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.snapshot import (
    Memory,
    TrainMemory,
    TrainRun,
)

_TRAIN_POLL_SECONDS = 15.0


def run(
    policy: Policy, repository: str, branch: str, memory: Memory, world: World, *, dry_run: bool
) -> Report:
    """Run one cycle, or with ``dry_run`` print what it would do: it reads and writes nothing."""
    report = Report(repository, policy.mode, acted=None if dry_run else 0)
    cycle = Cycle(policy, branch, memory, world, report, started_at=world.now())
    try:
        if dry_run:
            cycle.look()
        else:
            _carry_out(cycle)
    except StopCycle as stop:
        report.stopped, report.failed = str(stop), stop.failed
    except LimitedError as error:
        report.stopped = f"limited: {error}; continues in {error.retry_after_seconds:.0f} s"
    except (ForgeError, MirrorError) as error:
        report.stopped, report.failed = f"failed: {error}", True
    meter = world.forge.meter
    report.requests_count, report.points_count = meter.requests_count, meter.points_count
    report.points_remaining = meter.points_remaining
    kept = cycle.memory
    report.halted_since, report.halted_reason = kept.halted_since, kept.halted_reason
    if not dry_run:
        # A merge's own last look may have seen main turn red.
        report.main_red_since = kept.main_red_since
    if not dry_run:
        cycle.record("cycle", 0, report.stopped or "done", landed=len(report.results))
    return report


def _carry_out(cycle: Cycle) -> None:
    _sweep(cycle)
    native = cycle.policy.mode == "native"
    for number in () if native else sorted({*cycle.memory.cleanups, *cycle.memory.queued}):
        # What is still in GitHub's queue may have entered before the mode was changed.
        if not cycle.finish(number) and number in cycle.memory.cleanups:
            cycle.doubt(number)
    plan = _plan(cycle)
    if cycle.snapshot is not None and cycle.snapshot.limited:
        raise StopCycle("limited", f"{cycle.report.incomplete}; the next cycle goes on there")
    if native and cycle.snapshot is not None and cycle.snapshot.complete:
        for number in queueing.ended(cycle.memory, {d.number for d in plan.decisions}):
            cycle.finish(number)
    if plan.gate is not None:
        return
    for decision in plan.decisions:
        _mark(cycle, decision)
    _ask_lanes(cycle, plan)
    for decision in plan.chosen(Verb.CLOSE_DUPLICATE):
        cycle.report.results[decision.number] = _close(cycle, decision)
    for decision in plan.chosen(Verb.UPDATE):
        cycle.report.results[decision.number] = _update(cycle, decision)
    if cycle.policy.mode == "train":
        _drive(cycle, plan)
        return
    for decision in plan.chosen(Verb.MERGE):
        if cycle.left_seconds() <= 0:
            raise StopCycle("time", f"the next cycle continues with #{decision.number}")
        result = cycle.land(decision)
        cycle.report.results[decision.number] = result
        if result == "budget":
            raise StopCycle("budget", f"a later cycle continues with #{decision.number}")


def _plan(cycle: Cycle) -> Plan:
    plan = cycle.look()
    if cycle.snapshot is None:
        raise StopCycle("internal", "nothing was looked at", failed=True)
    now = cycle.world.now()
    for decision in plan.decisions:
        before = cycle.memory.remembered.get(decision.number)
        if before is None or before.code != decision.reason.code:
            cycle.record(
                "decide",
                decision.number,
                f"{decision.verb.value}: {decision.reason.code}",
                head=decision.head_oid,
                base=cycle.snapshot.branch.oid,
            )
    seen = remembering.remembered(plan, cycle.snapshot, now)
    kept = seen if cycle.snapshot.complete else {**cycle.memory.remembered, **seen}
    refused = {n: item for n, item in cycle.memory.refused.items() if n in kept}
    label = cycle.policy.duplicates.label
    labelled = {pull.number for pull in cycle.snapshot.pulls if label in pull.labels}
    marked = {number for number in cycle.memory.marked if number in kept}
    marked |= {d.number for d in plan.decisions if d.duplicate is not None} & labelled
    cycle.remember(
        remembered=kept,
        main_red_since=plan.main_red_since,
        refused=refused,
        marked=tuple(sorted(marked)),
    )
    return plan


def _quietly(action: Callable[[], object]) -> None:
    """Carry out a courtesy; when it fails without a limit, the next cycle tries again."""
    try:
        action()
    except LimitedError:
        raise
    except ForgeError:
        return


def _mark(cycle: Cycle, decision: Decision) -> None:
    forge, number = cycle.world.forge, decision.number
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
    twin = decision.duplicate
    if twin is not None and decision.marks_duplicate:
        keeper = f"#{twin.keeper}" if twin.keeper else f"`{cycle.branch}`"
        _say(
            cycle,
            decision,
            cycle.policy.duplicates.label,
            "duplicate",
            f"This carries the same change as {keeper} ({twin.proof}), which is kept. "
            "Take the label off or mark this a draft to object; after it was closed, "
            f"`gh pr reopen {number}` brings it back.",
        )


def _ask_lanes(cycle: Cycle, plan: Plan) -> None:
    """Have lanes resolve what keeps conflicting; asked is kept first, so a crash never repeats."""
    now, before = cycle.world.now(), cycle.memory.conflicts
    conflicting = [d for d in plan.decisions if d.reason.code == "conflict"]
    still = {
        decision.number: conflict_lanes.seen(decision.head_oid, before.get(decision.number), now)
        for decision in conflicting
    }
    gone = {number: found for number, found in before.items() if number not in still}
    cycle.remember(conflicts={**conflict_lanes.settled(gone, now), **still})
    for decision in conflicting:
        if decision.asks_lane:
            found = still[decision.number]
            asked = replace(found, asked_at=(*found.asked_at, now))
            cycle.remember(conflicts={**cycle.memory.conflicts, decision.number: asked})
            argv = [*cycle.policy.conflict_lane.command, cycle.report.repository]
            problem = cycle.world.start([*argv, str(decision.number)])
            cycle.report.acted = (cycle.report.acted or 0) + 1
            cycle.report.results[decision.number] = problem or "lane_asked"
            cycle.record("conflict_lane", decision.number, problem or "asked")


def _conflict_words(cycle: Cycle, decision: Decision) -> str:
    pulls = cycle.snapshot.pulls if cycle.snapshot is not None else ()
    pull = next(item for item in pulls if item.number == decision.number)
    subject = ""
    if pull.evidence is not None and pull.evidence.conflict_paths:
        subject = cycle.world.git.last_change(
            pull.evidence.base_oid, pull.head_oid, pull.evidence.conflict_paths
        )
    culprit = f" It overlaps what landed as: {subject}." if subject else ""
    return f"This conflicts with `{cycle.branch}`: {decision.reason.detail}.{culprit}"


def _say(cycle: Cycle, decision: Decision, label: str, marker: str, words: str) -> None:
    """Comment once, then label: the hidden marker makes a repetition after a crash silent."""
    forge, number = cycle.world.forge, decision.number
    hidden = f"<!-- aina-factory: {marker} -->"

    def act() -> None:
        said = any(hidden in comment for comment in forge.fate(number).comments)
        if not said:
            cycle.write(lambda: forge.comment(number, f"{words}\n\n{hidden}"), "comment", number)
        cycle.write(lambda: forge.add_label(number, label), "label", number)
        if decision.marks_duplicate:
            cycle.remember(marked=(*cycle.memory.marked, number))

    _quietly(act)


def _close(cycle: Cycle, decision: Decision) -> str:
    """Close a duplicate if a fresh read of both still proves it."""
    twin = decision.duplicate
    snapshot, pull = cycle.reread(decision.number)
    if twin is None or pull is None:
        return "gone"
    if pull.head_oid != decision.head_oid:
        return "head_moved"
    both = [pull]
    if twin.keeper:
        before = next((p for p in snapshot.pulls if p.number == twin.keeper), None)
        snapshot, keeper = cycle.reread(twin.keeper)
        if keeper is None or before is None or keeper.head_oid != before.head_oid:
            return "keeper_moved"
        both.append(keeper)
    fresh = replace(snapshot, pulls=tuple(both))
    if duplicates.find(cycle.policy, fresh, cycle.world.now()).get(pull.number) != twin:
        return "not_proven"
    try:
        cycle.write(lambda: cycle.world.forge.close(pull.number), "close", pull.number)
    except UncertainError:
        return "unanswered"
    except RefusedError as error:
        return f"not closed: {error}"
    return "closed"


def _update(cycle: Cycle, decision: Decision) -> str:
    snapshot, pull = cycle.reread(decision.number)
    if pull is None or pull.head_oid != decision.head_oid:
        return "head_moved"
    problem = cycle.objection(snapshot, pull)
    if problem != "behind":
        return problem or "up_to_date"
    try:
        cycle.write(lambda: cycle.world.forge.update_branch(pull), "update", pull.number)
    except LimitedError:
        raise
    except ForgeError as error:
        return f"not updated: {error}"
    return "updated"


# -- the train ------------------------------------------------------------------------


def _drive(cycle: Cycle, plan: Plan) -> None:
    """Test and land batches until nothing is left to do or the cycle's time is over."""
    while plan.train is not None and plan.gate is None and cycle.left_seconds() > 0:
        step = plan.train
        _keep(cycle, step.memory)
        if step.verb in ("rest", "stuck"):
            return
        if step.verb == "start":
            _start(cycle, step)
        elif step.verb == "land":
            if not _land(cycle):
                return
        elif step.verb == "wait" and not _keep_waiting(cycle):
            return
        plan = _plan(cycle)


def _start(cycle: Cycle, step: trains.Step) -> None:
    if cycle.snapshot is None:
        return
    base = cycle.snapshot.branch.oid
    heads = [head for _number, head in step.members]
    stack, conflicting = cycle.world.git.stack(base, heads, cycle.policy.method)
    if conflicting or not stack:
        raise StopCycle("train", "the batch does not merge cleanly; the next look holds it back")
    tip = stack[-1][0]
    run_ = TrainRun(
        step.members,
        base,
        tip,
        tuple(tree for _commit, tree in stack),
        f"{cycle.policy.train.branch_prefix}{tip[:12]}",
        cycle.world.now(),
    )
    memory = replace(step.memory, run=run_, runs_count=step.memory.runs_count + 1)
    # Kept before the push: a branch that nobody remembers would never be deleted.
    cycle.remember(train=memory)
    cycle.write(lambda: cycle.world.git.push(tip, run_.branch), "train_push")


def _keep_waiting(cycle: Cycle) -> bool:
    run_ = cycle.memory.train.run
    if run_ is None:
        return True
    if not cycle.world.forge.commit_checks(run_.tip_oid).items:
        # A run that died before its push left the branch unmade; pushing again is harmless.
        cycle.write(lambda: cycle.world.git.push(run_.tip_oid, run_.branch), "train_push")
    return cycle.pause(_TRAIN_POLL_SECONDS)


def _land(cycle: Cycle) -> bool:
    """Land the tested members in order; main must have exactly the tested tree at every step.

    Returns whether the whole batch landed.
    """
    run_ = cycle.memory.train.run
    if run_ is None or cycle.snapshot is None:
        return False
    git = cycle.world.git
    trees = (git.tree(run_.base_oid), *run_.trees)
    current = git.tree(cycle.snapshot.branch.oid)
    begin = len(trees) - 1 - trees[::-1].index(current) if current in trees else len(trees)
    landed = {number for number, _head in run_.members[:begin]}
    for index in range(begin, len(run_.members)):
        number, _head = run_.members[index]
        decision = cycle.report.decisions.get(number)
        if decision is None or decision.verb is not Verb.MERGE:
            break
        result = cycle.land(decision, expected_tree=trees[index])
        cycle.report.results[number] = result
        if result != "merged":
            break
        landed.add(number)
    memory = trains.after_landing(cycle.memory.train, frozenset(landed), cycle.world.now())
    if len(landed) < len(run_.members):
        memory = replace(memory, suspects=(), bad=cycle.memory.train.bad)
    _keep(cycle, memory)
    return len(landed) == len(run_.members)


def _keep(cycle: Cycle, memory: TrainMemory) -> None:
    """Remember what the train knows; the branch of a run that is over goes."""
    old = cycle.memory.train.run
    if old is not None and memory.run is None:
        # Kept together: a run that dies before the deletion leaves it to the next one.
        cycle.remember(train=memory, leftovers=(*cycle.memory.leftovers, old.branch))
        _sweep(cycle)
    else:
        cycle.remember(train=memory)


def _sweep(cycle: Cycle) -> None:
    """Delete the batch branches that are over; one that cannot be deleted now has another turn."""
    if cycle.policy.mode != "train" and cycle.memory.train.run is not None:
        branch = cycle.memory.train.run.branch
        cycle.remember(train=TrainMemory(), leftovers=(*cycle.memory.leftovers, branch))
    for branch in cycle.memory.leftovers:
        _quietly(partial(_delete, cycle, branch))


def _delete(cycle: Cycle, branch: str) -> None:
    cycle.write(lambda: cycle.world.forge.delete_branch(branch), "train_delete")
    left = tuple(name for name in cycle.memory.leftovers if name != branch)
    cycle.remember(leftovers=left)
