"""Bring a repository's workflows under their policy, by a pull request and never by a push."""

from __future__ import annotations

import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.aina.factory.plugins.module_utils.github.errors import (
    ForgeError,
    RefusedError,
)
from ansible_collections.aina.factory.plugins.module_utils.github.transport import Transport
from ansible_collections.aina.factory.plugins.module_utils.pull_requests.mirror import Mirror
from ansible_collections.aina.factory.plugins.module_utils.workflows import judge, semantics
from ansible_collections.aina.factory.plugins.module_utils.workflows.document import Compose
from ansible_collections.aina.factory.plugins.module_utils.workflows.judge import Report
from ansible_collections.aina.factory.plugins.module_utils.workflows.policy import Policy, Strategy

DIRECTORY = ".github/workflows"
BRANCH = "aina-factory/workflow-policy"
TITLE = "Bring the workflows under the declared policy"


class WorkflowsError(Exception):
    """The repository is refused, or cannot be read or written; says why."""


@dataclass
class Plan:
    """What becomes of a repository's workflows."""

    base_oid: str
    reports: list[Report] = field(default_factory=list)
    pull_request: dict[str, Any] | None = None
    up_to_date: bool = False

    @property
    def changed_files(self) -> dict[str, bytes]:
        """The files that differ from the default branch, by path."""
        return {
            f"{DIRECTORY}/{report.name}": report.after.encode()
            for report in self.reports
            if report.after != report.before
        }

    @property
    def problems(self) -> list[str]:
        """What a person has to look at."""
        return [line for report in self.reports for line in report.problems]


@dataclass
class Repository:
    """One repository at GitHub, with git beside it."""

    name: str
    default_branch: str
    transport: Transport
    git: Mirror

    def check_visibility(self, policy: Policy) -> None:
        """Refuse a repository that is not private: anybody's code would run on the server.

        Raises:
            WorkflowsError: it is public, or nobody says what it is.

        """
        found = self._rest("GET", f"/repos/{self.name}")
        private = found.get("private")
        if private is True or policy.public_allowed_because:
            return
        what = "is public" if private is False else "does not say whether it is private"
        raise WorkflowsError(
            f"{self.name} {what}: a pull request of anybody would run on the declared runner; make it "
            "private, or say in public_allowed_because why that is meant"
        )

    def plan(self, policy: Policy, compose: Compose) -> Plan:
        """Read the default branch's workflows and judge them.

        Raises:
            WorkflowsError: GitHub or git does not answer, or a file is not text.

        """
        branch = urllib.parse.quote(self.default_branch, safe="")
        base = self._rest("GET", f"/repos/{self.name}/branches/{branch}")["commit"]["sha"]
        self.git.refresh(self.default_branch, base, {})
        plan = Plan(base)
        names = judge.files_in_question(iter(files := self.git.files(base, DIRECTORY)))
        texts: dict[str, str] = {}
        odd: dict[str, str] = {}
        for path in names:
            name = path.removeprefix(f"{DIRECTORY}/")
            try:
                texts[name] = files[path].decode()
            except UnicodeDecodeError:
                odd[name] = files[path].decode(errors="replace")
                plan.reports.append(Report(name, "", "", problems=[f"{name}: not UTF-8"]))
        together = semantics.neighbours({**texts, **odd}, compose)
        for name, text in texts.items():
            others = together.without(name)
            plan.reports.append(judge.judge(name, text, policy, compose, self.commit_of, others))
        self._find_pull_request(plan)
        return plan

    def commit_of(self, action: str, ref: str) -> str:
        """Return the commit that an action's tag or branch means now; "" when nobody says."""
        try:
            found = self.transport.rest(
                "GET", f"/repos/{action}/commits/{urllib.parse.quote(ref, safe='')}"
            )
        except ForgeError:
            return ""
        return str(found.get("sha", "")) if isinstance(found, dict) else ""

    def _find_pull_request(self, plan: Plan) -> None:
        owner = self.name.partition("/")[0]
        query = urllib.parse.urlencode({"state": "open", "head": f"{owner}:{BRANCH}"})
        found = self._rest("GET", f"/repos/{self.name}/pulls?{query}")
        mine = [item for item in found if item["head"]["ref"] == BRANCH]
        if not mine:
            return
        plan.pull_request = {
            "number": mine[0]["number"],
            "url": mine[0]["html_url"],
            "head": mine[0]["head"]["sha"],
        }
        plan.up_to_date = plan.pull_request["head"] == self._commit(plan)

    def _commit(self, plan: Plan) -> str:
        if not plan.changed_files:
            return ""
        return self.git.commit_files(plan.base_oid, plan.changed_files, f"{TITLE}\n")

    def propose(self, plan: Plan, policy: Policy) -> None:
        """Push the branch and open, or refresh, its pull request.

        Raises:
            WorkflowsError: GitHub or git refuses.

        """
        if not plan.changed_files or plan.up_to_date:
            return
        commit = self._commit(plan)
        self.git.push(commit, BRANCH)
        body = _body(plan.reports, policy)
        if plan.pull_request is None:
            answer = self._rest(
                "POST",
                f"/repos/{self.name}/pulls",
                {"title": TITLE, "head": BRANCH, "base": self.default_branch, "body": body},
            )
        else:
            number = plan.pull_request["number"]
            answer = self._rest("PATCH", f"/repos/{self.name}/pulls/{number}", {"body": body})
        plan.pull_request = {
            "number": answer["number"],
            "url": answer["html_url"],
            "head": commit,
        }

    def _rest(self, method: str, path: str, body: Any = None) -> Any:
        try:
            return self.transport.rest(method, path, body)
        except RefusedError as error:
            raise WorkflowsError(
                f"{error}; does the token reach {self.name}, with the scope 'workflow'?"
            ) from error
        except ForgeError as error:
            raise WorkflowsError(str(error)) from error


def _body(reports: Sequence[Report], policy: Policy) -> str:
    lines = ["What the declared policy changes:", ""]
    lines += [f"- {what}" for report in reports for what in report.edits]
    for title, rows in (
        ("What stays, and why:", [line for report in reports for line in report.kept]),
        ("What a person must look at:", [line for report in reports for line in report.problems]),
    ):
        if rows:
            lines += ["", title, "", *(f"- {row}" for row in rows)]
    if policy.strategy is Strategy.VARIABLE:
        labels = ", ".join(f'"{label}"' for label in policy.labels)
        lines += [
            "",
            f"The runner is chosen by the repository variable `{policy.variable}`: set it to "
            f"`[{labels}]` to use the declared runner, delete it to go back to hosted ones.",
        ]
    return "\n".join(lines) + "\n"
