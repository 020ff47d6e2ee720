"""Which verdict follows from which facts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from factory.core.worktrees import decide as module
from factory.core.worktrees.decide import decide
from factory.core.worktrees.model import Contents, Evidence, Listed, WorktreeFacts
from factory.core.worktrees.settings import Reap

NOW = 1_700_000_000.0
DAY = 86400.0
LANE = Listed("/lanes/a", "a" * 40, "lane/a", False, None, "/repo/.git/worktrees/a")
PROOF = Evidence("snapshot", "it is all there")
OLD = Contents(newest_mtime=NOW - 30 * DAY)
AFTER_THE_PLAN = {"changed_since_plan", "failed"}
KEEP = re.findall(r"``([a-z_]+)``", (module.__doc__ or "").partition("The reasons to reap")[0])
EVIDENCE = re.findall(r"``([a-z_]+)``", (module.__doc__ or "").partition("The reasons to reap")[2])


@pytest.mark.parametrize("kind", EVIDENCE)
def test_proven_clean_and_idle_goes_and_names_its_evidence(kind: str) -> None:
    verdict = decide(WorktreeFacts(LANE, Evidence(kind, "so"), (), OLD), Reap(), NOW)

    assert (verdict.reap, verdict.reason, verdict.detail) == (True, kind, "so")
    assert (verdict.bytes, verdict.reaped) == (None, False)


@pytest.mark.parametrize("reason", [reason for reason in KEEP if reason not in AFTER_THE_PLAN])
@pytest.mark.parametrize("evidence", [PROOF, None], ids=["proven", "unproven"])
@pytest.mark.parametrize("contents", [OLD, None], ids=["seen", "unseen"])
def test_one_obstacle_of_any_kind_keeps_it(
    reason: str, evidence: Evidence | None, contents: Contents | None
) -> None:
    facts = WorktreeFacts(LANE, evidence, ((reason, "because"),), contents)

    verdict = decide(facts, Reap(grace_seconds=0), NOW)

    assert (verdict.reap, verdict.reason, verdict.detail) == (False, reason, "because")


# facts, reason: what weighs more is told first
PRECEDENCE = [
    (WorktreeFacts(LANE, None, (("locked", ""), ("stash", "")), None), "locked"),
    (WorktreeFacts(LANE, None, (("stash", ""),), None), "stash"),
    (WorktreeFacts(LANE, None, (), None), "not_landed"),
    (WorktreeFacts(LANE, None, (), Contents(newest_mtime=NOW)), "not_landed"),
    (WorktreeFacts(LANE, PROOF, (), None), "unknown"),
    (WorktreeFacts(LANE, PROOF, (), Contents(newest_mtime=NOW)), "recently_active"),
]


@pytest.mark.parametrize(("facts", "reason"), PRECEDENCE)
def test_the_weightiest_reason_is_told(facts: WorktreeFacts, reason: str) -> None:
    verdict = decide(facts, Reap(), NOW)

    assert (verdict.reap, verdict.reason) == (False, reason)


# seconds since the last touch, grace in seconds, goes
GRACE = [
    (DAY - 0.001, DAY, False),
    (DAY, DAY, True),
    (DAY + 0.001, DAY, True),
    (0.0, 0.0, True),
    (-5.0, 0.0, False),  # a file from the future: the clock is wrong, or it is in use
    (-5.0, DAY, False),
    (59.0, 60.0, False),
    (DAY, float("nan"), False),
    (float("nan"), 0.0, False),
]


@pytest.mark.parametrize(("idle", "grace", "goes"), GRACE)
def test_the_grace_period_ends_exactly(idle: float, grace: float, goes: bool) -> None:
    contents = Contents(newest_mtime=NOW - idle)

    verdict = decide(WorktreeFacts(LANE, PROOF, (), contents), Reap(grace_seconds=grace), NOW)

    assert verdict.reap is goes
    if not goes:
        assert verdict.reason == "recently_active"


def test_the_grace_period_is_told_in_words() -> None:
    facts = WorktreeFacts(LANE, PROOF, (), Contents(newest_mtime=NOW - 3 * 3600))

    detail = decide(facts, Reap(), NOW).detail

    assert detail == "last touched 3 h ago; the grace period is 24 h"


def _reasons_in_the_code() -> set[str]:
    """Return every (reason, detail) that the package makes and every reason it gives by name."""
    found: set[str] = set()
    for file in sorted(Path(module.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.List(elts=[ast.Tuple(elts=[ast.Constant(value=str() as reason), _])]):
                    found.add(reason)
                case ast.Yield(value=ast.Tuple(elts=[ast.Constant(value=str() as reason), _])):
                    found.add(reason)
                case ast.Call(
                    func=ast.Attribute(attr="append"),
                    args=[ast.Tuple(elts=[ast.Constant(value=str() as reason), _])],
                ):
                    found.add(reason)
                case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str() as reason), _])):
                    found.add(reason)
                case ast.keyword(arg="reason", value=ast.Constant(value=str() as reason)):
                    found.add(reason)
                case ast.Call(
                    func=ast.Name(id="Verdict"),
                    args=[_, _, ast.Constant(value=str() as reason), *_],
                ):
                    found.add(reason)
    return found - {""}


def test_every_reason_that_the_code_gives_is_documented() -> None:
    given = _reasons_in_the_code()

    assert len(given) > 20
    assert given <= set(KEEP)
    documentation = Path(__file__)
    while not (documentation / "docs/reaping.md").is_file():
        if documentation == documentation.parent:
            pytest.skip("the documentation is not here")
        documentation = documentation.parent
    told = set(re.findall(r"`([a-z_]+)`", (documentation / "docs/reaping.md").read_text()))
    assert set(KEEP) - {"main_worktree"} <= told
    assert set(EVIDENCE) <= told
