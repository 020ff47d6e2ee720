"""Bring a repository's workflows under their policy, by a pull request and never by a push."""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
import urllib.parse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..base.errors import FactoryError
from ..base.github.errors import ForgeError, RefusedError
from ..base.github.job_needs import Offer
from ..base.github.transport import Transport
from ..marshal.mirror import Mirror
from . import judge, semantics
from .document import Compose, Document
from .judge import WorkflowReport
from .settings import WorkflowPolicy

DIRECTORY = ".github/workflows"
BRANCH = "aina-factory/workflow-policy"
TITLE = "Bring the workflows under the declared policy"
_MARK = "<!-- aina-factory-workflow-policy: {} -->"
_WITHDRAWN = _MARK.format("withdrawn")
_ACTIONS_MAX_COUNT = 100
_BODY_MAX_CHARACTERS = 60_000  # GitHub takes 65536


class WorkflowsError(FactoryError):
    """The repository is refused, or cannot be read or written; says why."""


@dataclass
class PolicyProposal:
    """What becomes of a repository's workflows."""

    base_oid: str
    reports: list[WorkflowReport] = field(default_factory=list)
    pull_request: dict[str, Any] | None = None
    up_to_date: bool = False
    branch_tip: str = ""
    # Why nothing is proposed, or withdrawn, though something differs.
    stopped: str = ""

    @property
    def changed_files(self) -> dict[str, bytes]:
        """The files that differ from the default branch, by path."""
        return {
            f"{DIRECTORY}/{report.name}": report.after.encode()
            for report in self.reports
            if report.after != report.before
        }

    @property
    def is_due(self) -> bool:
        """Whether there is a pull request to open, to refresh or to withdraw."""
        if self.stopped or self.up_to_date:
            return False
        return bool(self.pull_request) or bool(self.changed_files)

    @property
    def fingerprint(self) -> str:
        """What is proposed, whatever line it stands on."""
        edits = (re.sub(r":\d+: ", ": ", what) for report in self.reports for what in report.edits)
        return hashlib.sha256("\n".join(sorted(edits)).encode()).hexdigest()[:32]

    @property
    def problems(self) -> list[str]:
        """What a person has to look at."""
        return [line for report in self.reports for line in report.problems]


@dataclass
class WorkflowRepository:
    """One repository at GitHub, with git beside it."""

    name: str
    default_branch: str
    transport: Transport
    git: Mirror

    def check_visibility(self, policy: WorkflowPolicy) -> None:
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

    def plan(
        self, policy: WorkflowPolicy, compose: Compose, offer: Offer | None = None
    ) -> PolicyProposal:
        """Read the default branch's workflows and judge them; ``offer`` is what the runner offers.

        Raises:
            WorkflowsError: GitHub or git does not answer, or a file is not text.

        """
        branch = urllib.parse.quote(self.default_branch, safe="")
        base = self._rest("GET", f"/repos/{self.name}/branches/{branch}")["commit"]["sha"]
        self.git.refresh(self.default_branch, base, {})
        plan = PolicyProposal(base)
        names = judge.files_in_question(iter(files := self.git.files(base, DIRECTORY)))
        texts: dict[str, str] = {}
        odd: dict[str, str] = {}
        for path in names:
            name = path.removeprefix(f"{DIRECTORY}/")
            try:
                texts[name] = files[path].decode()
            except UnicodeDecodeError:
                odd[name] = files[path].decode(errors="replace")
                plan.reports.append(WorkflowReport(name, "", "", problems=[f"{name}: not UTF-8"]))
        together = semantics.neighbours({**texts, **odd}, compose)
        read = [document for document in together.documents.values() if document is not None]
        together = replace(together, actions=self._actions(base, read, compose))
        commit_of = functools.cache(self.commit_of)
        for name, text in texts.items():
            others = together.without(name)
            plan.reports.append(judge.judge(name, text, policy, compose, commit_of, others, offer))
        self._find_pull_request(plan)
        self._stop(plan)
        return plan

    def _actions(
        self, base: str, documents: list[Document], compose: Compose
    ) -> dict[str, Mapping[str, Any] | None]:
        """Read the repository's own actions, and those that they use."""
        found: dict[str, Mapping[str, Any] | None] = {}
        while documents:
            names = [name for name in semantics.own_actions(documents) if name not in found]
            documents = []
            for name in names[:_ACTIONS_MAX_COUNT]:
                found[name] = None
                path = posixpath.normpath(name)
                if path == "." or path.startswith(".."):
                    continue
                files = self.git.files(base, path)
                content = files.get(f"{path}/action.yml") or files.get(f"{path}/action.yaml")
                try:
                    document = Document((content or b"").decode(), compose)
                except (FactoryError, UnicodeDecodeError):
                    continue
                found[name] = document.plain(document.root)
                documents.append(document)
        return found

    def commit_of(self, action: str, ref: str) -> str:
        """Return the commit that an action's tag or branch means now; "" when nobody says."""
        try:
            found = self.transport.rest(
                "GET", f"/repos/{action}/commits/{urllib.parse.quote(ref, safe='')}"
            )
        except ForgeError:
            return ""
        return str(found.get("sha", "")) if isinstance(found, dict) else ""

    def _pulls(self, state: str) -> list[dict[str, Any]]:
        owner = self.name.partition("/")[0]
        query = urllib.parse.urlencode(
            {"state": state, "head": f"{owner}:{BRANCH}", "per_page": 100, "direction": "desc"}
        )
        found = self._rest("GET", f"/repos/{self.name}/pulls?{query}")
        return [
            item
            for item in found
            if item["head"]["ref"] == BRANCH and item.get("state", state) == state
        ]

    def _find_pull_request(self, plan: PolicyProposal) -> None:
        for item in self._pulls("open")[:1]:
            plan.pull_request = {
                "number": item["number"],
                "url": item["html_url"],
                "head": item["head"]["sha"],
            }
            plan.up_to_date = item["head"]["sha"] == self._commit(plan)

    def _stop(self, plan: PolicyProposal) -> None:
        """See whether somebody else's word stands against what would be done."""
        if not plan.is_due:
            return
        plan.branch_tip = self.git.remote_tip(BRANCH)
        other = plan.branch_tip and self.git.added_by_others(plan.base_oid, BRANCH, TITLE)
        if other:
            plan.stopped = (
                f"the branch {BRANCH} holds commit {other[:12]}, which is not the policy's, and so is "
                "left alone; merge it, or close its pull request and delete the branch"
            )
        elif plan.pull_request is None:
            number = self._declined(plan)
            if number is not None:
                plan.stopped = (
                    f"the same changes were proposed in #{number}, which somebody closed; reopen it if "
                    "they are wanted"
                )
        elif not plan.changed_files and plan.problems:
            plan.stopped = (
                f"#{plan.pull_request['number']} has nothing left to propose, but not every workflow "
                "could be judged; close it if it is not wanted"
            )

    def _declined(self, plan: PolicyProposal) -> int | None:
        """Return the closed pull request that proposed the same."""
        for item in self._pulls("closed"):
            body = item.get("body") or ""
            if item.get("merged_at") or _WITHDRAWN in body:
                continue
            if _MARK.format(plan.fingerprint) in body or item["head"]["sha"] == self._commit(plan):
                return int(item["number"])
        return None

    def _commit(self, plan: PolicyProposal) -> str:
        if not plan.changed_files:
            return ""
        return self.git.commit_files(plan.base_oid, plan.changed_files, f"{TITLE}\n")

    def propose(self, plan: PolicyProposal, policy: WorkflowPolicy) -> None:
        """Push the branch and open, or refresh, its pull request; withdraw it when it is empty.

        Raises:
            WorkflowsError: GitHub or git refuses.

        """
        if not plan.is_due:
            return
        number = plan.pull_request["number"] if plan.pull_request else 0
        if not plan.changed_files:
            words = f"Nothing is left to propose.\n\n{_WITHDRAWN}\n"
            changes = {"state": "closed", "body": words}
            self._rest("PATCH", f"/repos/{self.name}/pulls/{number}", changes)
            plan.pull_request = None
            return
        commit = self._commit(plan)
        self.git.push_over(commit, BRANCH, plan.branch_tip)
        body = _body(plan, policy)
        if plan.pull_request is None:
            answer = self._rest(
                "POST",
                f"/repos/{self.name}/pulls",
                {"title": TITLE, "head": BRANCH, "base": self.default_branch, "body": body},
            )
        else:
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


def _body(plan: PolicyProposal, policy: WorkflowPolicy) -> str:
    reports = plan.reports
    lines = ["What the declared policy changes:", ""]
    lines += [f"- {what}" for report in reports for what in report.edits]
    lines += ["", "Where each job runs from then on:", ""]
    lines += [
        f"- {report.name}, {job.job} ({job.outcome}): {job.reason}"
        for report in reports
        for job in report.jobs
    ]
    count = Counter(job.outcome for report in reports for job in report.jobs)
    lines += ["", "Jobs: " + ", ".join(f"{count[k]} {k}" for k in ("moved", "kept", "problem"))]
    for title, rows in (
        ("What stays, and why:", [line for report in reports for line in report.kept]),
        ("What a person must look at:", [line for report in reports for line in report.problems]),
    ):
        if rows:
            lines += ["", title, "", *(f"- {row}" for row in rows)]
    if policy.runs_on.strategy == "variable":
        labels = ", ".join(f'"{label}"' for label in policy.runs_on.labels)
        lines += [
            "",
            f"The runner is chosen by the repository variable `{policy.runs_on.variable}`: set it to "
            f"`[{labels}]` to use the declared runner, delete it to go back to hosted ones.",
        ]
    text = "\n".join(lines)
    if len(text) > _BODY_MAX_CHARACTERS:
        text = f"{text[:_BODY_MAX_CHARACTERS]} ...\n\nThe run itself tells the rest."
    return f"{text}\n\n{_MARK.format(plan.fingerprint)}\n"
