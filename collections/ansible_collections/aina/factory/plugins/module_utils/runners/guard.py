"""Who may be served: a runner executes what a workflow says, and a fork brings its own workflows.

Only a private repository whose forks cannot start workflows unasked is served without the
operator's word. What GitHub does not say counts as the worst that it could say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..base.github.errors import ForgeError, RefusedError
from ..base.github.remedies import remedy
from .api import Runners
from .settings import Instance

STRICT_APPROVAL = "all_external_contributors"
_APPROVAL = "actions/permissions/fork-pr-contributor-approval"
_NO_SUCH_SETTING = (404, 422)
_PRIVATE_FORKS = "actions/permissions/fork-pr-workflows-private-repos"


@dataclass(frozen=True)
class GuardVerdict:
    """What forbids to serve a target, sentence by sentence; empty when nothing does.

    ``unknown`` tells that GitHub did not say: it may answer otherwise next time.
    """

    problems: tuple[str, ...]
    unknown: bool = False

    @property
    def ok(self) -> bool:
        """Whether it may be served."""
        return not self.problems


class _Judge:
    def __init__(self, api: Runners) -> None:
        self._api = api
        self.problems: list[str] = []
        self.unknown = False

    def read(self, path: str, what: str, reader: Callable[[Any], Any]) -> Any:
        """Return what a document says; None when that stays unknown, which is a problem."""
        try:
            return reader(self._api.ask(path))
        except (ForgeError, AttributeError, KeyError, TypeError, ValueError) as error:
            self.not_said(what, error)
            return None

    def not_said(self, what: str, error: Exception) -> None:
        """Object to an unknown: the cure is an answer, never to allow more."""
        self.unknown = True
        self.object(
            f"GitHub does not say {what}: {error}", f"{remedy(error)}; it is asked again by itself"
        )

    def object(self, problem: str, remedy: str) -> None:
        self.problems.append(f"{self._api.target}: {problem}; {remedy}")

    def verdict(self) -> GuardVerdict:
        return GuardVerdict(tuple(self.problems), self.unknown)


_PUBLIC_REMEDY = (
    "make it private, or set public_repository_reason if strangers may run code on this host"
)
_FORK_REMEDY = "tighten it under RunnersSettings, Actions, or set open_fork_policy_reason"


def visibility(api: Runners, instance: Instance) -> GuardVerdict:
    """Judge who can see the target, by one request; none where the operator does not mind."""
    judge = _Judge(api)
    if not instance.public_repository_reason:
        if api.is_organization:
            _judge_group(judge, instance.group)
        else:
            if _is_private(judge, api) is False:
                judge.object("it is public", _PUBLIC_REMEDY)
    return judge.verdict()


def forks(api: Runners, instance: Instance) -> GuardVerdict:
    """Judge what a fork's pull request may start, by three requests at most."""
    judge = _Judge(api)
    if instance.open_fork_policy_reason:
        return judge.verdict()
    may_be_public = bool(instance.public_repository_reason)
    applies = _judge_approval(judge, api, may_be_public=may_be_public)
    if not (may_be_public and applies):
        switches = judge.read(
            _PRIVATE_FORKS, "what forks of private repositories may start", _switches
        )
        if switches:
            _judge_switches(judge, switches)
    return judge.verdict()


def both(api: Runners, instance: Instance) -> GuardVerdict:
    """Judge all of it; what strangers may start only matters where nothing else forbids already."""
    seen = visibility(api, instance)
    return seen if not seen.ok else forks(api, instance)


def _judge_group(judge: _Judge, name: str) -> None:
    def allows(document: Any) -> bool:
        for group in document["runner_groups"]:
            if str(group["name"]).lower() == name.lower():
                return group["allows_public_repositories"] is not False
        raise KeyError(f"there is no runner group {name!r}")

    path = "actions/runner-groups?per_page=100"
    if judge.read(path, "whether public repositories may use it", allows):
        judge.object(f"its runner group {name!r} allows public repositories", _PUBLIC_REMEDY)


def _is_private(judge: _Judge, api: Runners) -> bool | None:
    """Return whether a repository is private; None when that stays unknown."""
    answer: bool | None = judge.read("/repos/" + api.target, "whether it is private", _private)
    return answer


def _judge_approval(judge: _Judge, api: Runners, *, may_be_public: bool) -> bool:
    """Judge whose workflows wait for approval; return whether that setting applies.

    It is a setting of public repositories alone: GitHub answers the question for a private
    one with 422, older servers with 404. That it has none is no gap.
    """
    what = "whose workflows wait for approval"
    try:
        policy = api.ask(_APPROVAL)["approval_policy"]
    except RefusedError as error:
        if error.status in _NO_SUCH_SETTING:
            if not may_be_public:
                return False
            if not api.is_organization:
                private = _is_private(judge, api)
                if private is not False:
                    return not private
        judge.not_said(what, error)
        return True
    except (ForgeError, KeyError, TypeError) as error:
        judge.not_said(what, error)
        return True
    if policy != STRICT_APPROVAL:
        judge.object(
            f"workflows of forks wait for approval only as {policy}, not {STRICT_APPROVAL}",
            _FORK_REMEDY,
        )
    return True


def _judge_switches(judge: _Judge, switches: dict[str, bool]) -> None:
    if not switches["run_workflows_from_fork_pull_requests"]:
        return
    if not switches["require_approval_for_fork_pr_workflows"]:
        judge.object("pull requests of forks run workflows without approval", _FORK_REMEDY)
    for name, what in (
        ("send_write_tokens_to_workflows", "tokens that can write"),
        ("send_secrets_and_variables", "secrets"),
    ):
        if switches[name]:
            judge.object(f"workflows of forks are given {what}", _FORK_REMEDY)


def _private(document: Any) -> bool:
    private = document["private"]
    if not isinstance(private, bool):
        raise TypeError(f"private is {private!r}")
    # An internal repository is private too, but a whole enterprise can fork it.
    return private and document.get("visibility", "private") in {"private", "internal"}


def _switches(document: Any) -> dict[str, bool]:
    names = (
        "run_workflows_from_fork_pull_requests",
        "send_write_tokens_to_workflows",
        "send_secrets_and_variables",
        "require_approval_for_fork_pr_workflows",
    )
    # A switch that is missing is taken as open, except the one that closes.
    found = {name: bool(document.get(name, name != names[3])) for name in names}
    if names[0] not in document:
        raise KeyError(names[0])
    return found
