"""What came of a lane: from git and from the gateway's log, never from the agent's own words.

An agent that says it failed is believed; one that says it did well is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..base import text

NO_CHANGE, CHANGED = "no_change", "changed"
FAILED_TURN, TIMEOUT, IDLE, OOM = "failed_turn", "timeout", "idle", "oom"
BUDGET, INTERRUPTED, FAILED = "budget", "interrupted", "failed"
# Something else than its own program wrote its result: nothing in it is believed.
FORGED = "forged"
# What it handed over is more than may be, has objects that git refuses, or does not build on where it began.
TOO_LARGE, BROKEN, REWRITTEN = "too_large", "broken", "rewritten"
# It asked the model more often than it may, or another one.
RATE, MODEL = "rate", "model"
# All went well but the handing over: there is work that did not come out, or not where it belongs.
INCOMPLETE = "incomplete"
# After these the work is pushed: it is whole. After the others the bundle is kept for a resume.
DELIVERED = frozenset({CHANGED})
GOOD = frozenset({NO_CHANGE, CHANGED})
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
# Of what a lane says of itself.
_WORDS_MAX_COUNT, _WORDS_MAX_LENGTH = 20, 500


@dataclass(frozen=True)
class Model:
    """What the gateway saw: sums, and how the last request to the model ended."""

    requests_count: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    refused_count: int = 0
    last_verdict: str = ""
    last_status: int = 0
    cached_tokens: int = 0
    cost_usd: float = 0.0


def model_of(lines: Iterable[Mapping[str, Any]]) -> Model:
    """Add up the gateway's log of one lane."""
    found: dict[str, int] = {}
    cost_usd, verdict, status = 0.0, "", 0

    def count(name: str, number: object) -> None:
        found[name] = found.get(name, 0) + int(str(number or 0))

    for line in lines:
        if line.get("kind") == "model":
            count("requests_count", 1)
            verdict, status = str(line.get("verdict", "")), int(line.get("status") or 0)
            for name in ("input_tokens", "output_tokens", "cached_tokens"):
                count(name, (line.get("usage") or {}).get(name))
            count("tokens", line.get("charged_tokens"))
            cost_usd += float(line.get("cost_usd") or 0.0)
        elif line.get("verdict") not in ("allowed", None):
            count("refused_count", 1)
    return Model(**found, cost_usd=cost_usd, last_verdict=verdict, last_status=status)


@dataclass(frozen=True)
class LaneEvidence:
    """Everything that is known when a lane has ended.

    ``ended_by`` is why the supervisor ended it (timeout, idle, stop), or empty. ``broken``
    says what was wrong with the handed-over result, and ``broken_as`` is the outcome of that.
    ``oom_kill_count`` counts as the kernel did, ``exit_status`` is the container's or ``None``
    when nobody saw its end. ``unresolved`` says what of a conflict is left, ``unkept``
    what of the work did not come out.
    """

    exit_status: int | None
    ended_by: str
    broken: str
    oom_kill_count: int
    commits_count: int
    model: Model
    has_result: bool
    unresolved: str = ""
    unkept: str = ""
    broken_as: str = FORGED


def is_undelivered(result: Mapping[str, Any]) -> bool:
    """Whether a lane's work is whole, and GitHub has not taken it yet."""
    is_whole = result.get("outcome") in DELIVERED and bool(result.get("head"))
    is_failed = str(result.get("delivery") or "").startswith("failed")
    return is_whole and is_failed and not result.get("pull_request")


def state_of(result: Mapping[str, Any]) -> str:
    """Return where a lane that has ended stands, in one word of few."""
    if is_undelivered(result):
        return "handing over"
    if result.get("pull_request"):
        return "done" if result.get("is_settled") else "in review"
    if result.get("outcome") == NO_CHANGE or result.get("is_passed_over"):
        return "done"
    if result.get("outcome") == INTERRUPTED and not result.get("is_stopped"):
        return "goes on"
    return "needs a person"


def is_untouched(result: Mapping[str, Any], base: str) -> bool:
    """Whether a lane's last frame says that it stands where it began, with nothing left over."""
    return result.get("head") == base and not _not_whole(result)


def unkept(result: Mapping[str, Any], expected: str) -> str:
    """Say what of a lane's work did not come out; empty when its last frame says that all did.

    ``expected`` is the commit that was taken, or without a bundle the one where it began. A frame
    that says nothing of its repository proves nothing.
    """
    found = _not_whole(result)
    head = result.get("head")
    if isinstance(head, str) and _COMMIT.match(head) and head != expected:
        found.append(f"it stands at {head[:12]}, and what came out at {expected[:12]}")
    return "not handed over: " + "; ".join(found) if found else ""


def _not_whole(result: Mapping[str, Any]) -> list[str]:
    found = texts(result.get("trouble"))
    head, dirty = result.get("head"), result.get("dirty_count")
    if not isinstance(head, str) or not _COMMIT.match(head):
        found.append("its result does not say where its work stands")
    if isinstance(dirty, bool) or not isinstance(dirty, int) or (dirty != 0 and not found):
        found.append("its result does not say that all is committed")
    return found


def texts(value: object) -> list[str]:
    """Return the words of a list that a lane has written, few and short and fit to be shown."""
    given = value if isinstance(value, list) else []
    return [text.printable(str(item)[:_WORDS_MAX_LENGTH]) for item in given[:_WORDS_MAX_COUNT]]


def decide(evidence: LaneEvidence) -> tuple[str, str]:
    """Return the outcome and a sentence on it.

    Broken frames come first: whoever writes into the result is not believed in anything. An end
    is good only when all that was done came out.
    """
    if evidence.broken:
        return evidence.broken_as, evidence.broken
    name, detail = _ended(evidence)
    if evidence.unkept and name in GOOD:
        return INCOMPLETE, evidence.unkept
    return name, "; ".join(filter(None, (detail, evidence.unkept)))


def _ended(evidence: LaneEvidence) -> tuple[str, str]:
    model = evidence.model
    if evidence.ended_by == TIMEOUT:
        return TIMEOUT, "it was ended at its time limit"
    if evidence.ended_by == IDLE:
        return IDLE, "it was ended for nothing had happened for too long"
    if evidence.ended_by:
        return INTERRUPTED, f"it was ended by {evidence.ended_by}"
    if model.last_verdict == "budget":
        return BUDGET, f"the token budget is used up: {model.tokens} tokens"
    if evidence.oom_kill_count > 0:
        return OOM, f"the kernel ended {evidence.oom_kill_count} processes of it for lack of memory"
    if not evidence.has_result:
        if evidence.exit_status == 137:
            return OOM, "it was killed from outside, most likely for lack of memory"
        return FAILED, f"it handed over no result; its container ended with {evidence.exit_status}"
    if model.last_verdict in {"rate", "requests"}:
        return RATE, "it sent more requests than it may"
    if model.last_verdict == "model":
        return MODEL, "it asked for a model that it may not use"
    if model.requests_count == 0:
        return FAILED_TURN, "the agent ended without having asked the model"
    if model.last_verdict != "complete":
        return FAILED_TURN, f"its last request ended as {model.last_verdict} ({model.last_status})"
    if evidence.exit_status != 0:
        return FAILED_TURN, f"the agent ended with {evidence.exit_status}"
    if evidence.unresolved:
        return FAILED_TURN, evidence.unresolved
    if evidence.commits_count > 0:
        return CHANGED, f"{evidence.commits_count} commits"
    return NO_CHANGE, "the agent ended well and changed nothing"
