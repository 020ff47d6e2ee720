"""Bring a repository's workflows under their policy, by a pull request and never by a push."""

from __future__ import annotations

import base64
import binascii
import functools
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
from ..marshal.mirror import COMMITTER, Mirror
from . import check_names, judge, semantics, switch
from .document import Compose, Document
from .judge import WorkflowReport
from .semantics import Neighbours
from .settings import WorkflowPolicy
from .switch import Switch

DIRECTORY = ".github/workflows"
BRANCH = "aina-factory/workflow-policy"
TITLE = "Bring the workflows under the declared policy"
_MARK = "<!-- aina-factory-workflow-policy: {} -->"
_MARKS = re.compile(_MARK.format(r"((?:[0-9a-f]{8} ?)*)"))
_ACTIONS_MAX_COUNT = 100
_REMOTE_MAX_COUNT = 50
_REMOTE_MAX_CHARACTERS = 512 * 1024
_BODY_MAX_CHARACTERS = 60_000  # GitHub takes 65536
_MARKS_MAX_COUNT = 4000
_UNFIT_MAX_COUNT = 10


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
    # What is to be said of the whole repository.
    notes: list[str] = field(default_factory=list)
    switch: Switch | None = None
    # The marks of edits that stay out, with the number of their proposal.
    declined: dict[str, int] = field(default_factory=dict)

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
    def marks(self) -> list[str]:
        """What is proposed, whatever line it stands on."""
        return sorted({mark for report in self.reports for mark in report.marks})

    @property
    def unjudged(self) -> bool:
        """Whether there is a workflow of which nobody knows what would be proposed."""
        return any(report.problems for report in self.reports)

    @property
    def problems(self) -> list[str]:
        """What a person has to look at."""
        found = [line for report in self.reports for line in report.problems]
        return found + ([self.switch.problem] if self.switch and self.switch.problem else [])


@dataclass
class WorkflowRepository:
    """One repository at GitHub, with git beside it."""

    name: str
    default_branch: str
    transport: Transport
    git: Mirror
    in_organization: bool = False
    is_private: bool = True

    def check_visibility(self, policy: WorkflowPolicy) -> None:
        """Refuse a repository that is not private: anybody's code would run on the server.

        Raises:
            WorkflowsError: it is public, or nobody says what it is.

        """
        found = self._rest("GET", f"/repos/{self.name}")
        self.in_organization = (found.get("owner") or {}).get("type") == "Organization"
        private = found.get("private")
        self.is_private = private is True
        if private is True or policy.public_allowed_because:
            return
        what = "is public" if private is False else "does not say whether it is private"
        raise WorkflowsError(
            f"{self.name} {what}: a pull request of anybody would run on the declared runner; make it "
            "private, or say in public_allowed_because why that is meant"
        )

    def _forks(self, policy: WorkflowPolicy) -> str:
        """Say what is to be known of jobs that pull requests of forks start; "" where none do."""
        if not self.is_private:
            return f"anybody's pull request starts it, as was said: {policy.public_allowed_because}"
        try:
            path = f"/repos/{self.name}/actions/permissions/fork-pr-workflows-private-repos"
            found = self.transport.rest("GET", path)
        except ForgeError:
            return "nobody could say whether pull requests of forks start it"
        runs = found.get("run_workflows_from_fork_pull_requests")
        return "pull requests of forks start it too, as GitHub is set up" if runs else ""

    def plan(
        self, policy: WorkflowPolicy, compose: Compose, offer: Offer | None = None
    ) -> PolicyProposal:
        """Read the default branch's workflows and judge them; ``offer`` is what the runner offers.

        Raises:
            WorkflowsError: GitHub or git does not answer, or a file is not text.

        """
        branch = urllib.parse.quote(self.default_branch, safe="")
        told = self._rest("GET", f"/repos/{self.name}/branches/{branch}")
        base = self.git.fetch_tip(self.default_branch)
        plan = PolicyProposal(base)
        plan.switch = switch.look(
            self.transport.rest, self.name, policy.runs_on, in_organization=self.in_organization
        )
        checks = self._required(plan, branch, told)
        policy = replace(policy, required_checks=(*policy.required_checks, *checks))
        closed = self._pulls("closed")
        plan.declined = _declined(closed)
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
        commit_of = functools.cache(self.commit_of)
        together = replace(
            together,
            actions=self._actions(base, read, compose),
            remote=self._remote(read, compose),
            forks=self._forks(policy),
        )
        for name, text in texts.items():
            others = together.without(name)
            plan.reports.append(
                judge.judge(*(name, text, policy, compose, commit_of, others, offer, plan.declined))
            )
        _say_unreported(plan, policy, together)
        self._find_pull_request(plan)
        self._stop(plan, closed)
        return plan

    def _required(self, plan: PolicyProposal, branch: str, told: Any) -> list[str]:
        """Return the checks that GitHub's rules of the branch require."""
        protection = told.get("protection") or {}
        found = list((protection.get("required_status_checks") or {}).get("contexts") or ())
        try:
            rules = self.transport.rest("GET", f"/repos/{self.name}/rules/branches/{branch}")
        except ForgeError as error:
            plan.notes.append(
                f"Nobody could say which checks the rules of the branch require: {error}"
            )
            rules = []
        for rule in rules or ():
            if rule.get("type") == "required_status_checks":
                listed = (rule.get("parameters") or {}).get("required_status_checks") or ()
                found += [check["context"] for check in listed]
        return [name for name in dict.fromkeys(found) if isinstance(name, str)]

    def _remote(self, documents: list[Document], compose: Compose) -> dict[str, Document | str]:
        """Read the workflows of other repositories that these call, and those that they call."""
        found: dict[str, Document | str] = {}
        pending = [call for document in documents for call in semantics.remote_calls(document)]
        while pending and len(found) < _REMOTE_MAX_COUNT:
            call, repository, name, ref = pending.pop(0)
            if call in found:
                continue
            if not re.fullmatch("[0-9a-f]{40}", ref):
                found[call] = "it is called by a branch or tag, which may come to mean another file"
                continue
            document = self._workflow_of(repository, name, ref, compose)
            found[call] = document or "it lies in another repository, and could not be read"
            if document is not None:
                pending += semantics.remote_calls(document, call)
        return found

    def _workflow_of(
        self, repository: str, name: str, commit: str, compose: Compose
    ) -> Document | None:
        path = f"/repos/{repository}/contents/{DIRECTORY}/{urllib.parse.quote(name)}?ref={commit}"
        try:
            answer = self.transport.rest("GET", path)
            text = base64.b64decode(answer["content"]).decode()
            return Document(text, compose) if len(text) <= _REMOTE_MAX_CHARACTERS else None
        except (FactoryError, KeyError, TypeError, ValueError, binascii.Error):
            return None

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

    def _stop(self, plan: PolicyProposal, closed: list[dict[str, Any]]) -> None:
        """See whether somebody else's word stands against what would be done."""
        refused = {int(item["number"]) for item in closed if not item.get("merged_at")}
        numbers = sorted({n for report in plan.reports for n in report.declined} & refused)
        if numbers and not plan.changed_files and plan.pull_request is None:
            plan.stopped = (
                f"what differs was proposed in {', '.join(f'#{number}' for number in numbers)}, which somebody"
                " closed; reopen it if it is wanted"
            )
        if not plan.is_due:
            return
        plan.branch_tip = self.git.remote_tip(BRANCH)
        other = plan.branch_tip and self._added_by_others(plan.base_oid, plan.branch_tip)
        if other:
            plan.stopped = (
                f"the branch {BRANCH} holds commit {other[:12]}, which is not the policy's, and so is "
                "left alone; merge it, or close its pull request and delete the branch"
            )
        elif plan.pull_request and not plan.changed_files and plan.unjudged:
            plan.stopped = (
                f"#{plan.pull_request['number']} has nothing left to propose, but not every workflow "
                "could be judged; close it if it is not wanted"
            )

    def _added_by_others(self, base: str, tip: str) -> str:
        """Return a commit up to ``tip`` that this program did not make, or "".

        Its own bear its name and title; those of the base do not count.
        """
        found = self._rest("GET", f"/repos/{self.name}/compare/{base}...{tip}")
        for item in found["commits"]:
            commit = item["commit"]
            committer = commit.get("committer") or {}
            own = (committer.get("name"), committer.get("email")) == COMMITTER
            if not own or commit["message"].partition("\n")[0] != TITLE:
                return str(item["sha"])
        return tip if found["total_commits"] > len(found["commits"]) else ""

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
            words = "Nothing is left to propose.\n"
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

    def turn(self, plan: PolicyProposal, *, declared: bool, pretend: bool) -> bool:
        """Let the variable mean the declared runner, or hosted ones; return whether that changes it.

        Raises:
            SwitchError: jobs would wait, or run where they must not; or GitHub refuses.

        """
        now = plan.switch
        if now is None or not switch.is_due(now, declared=declared):
            return False
        switch.refuse(now, declared=declared)
        unfit = [words for report in plan.reports for words in report.unfit]
        if declared and unfit:
            raise switch.SwitchError(
                f"the variable {now.runs_on.variable} would move jobs to a runner that is not for them: "
                f"{'; '.join(unfit[:_UNFIT_MAX_COUNT])}; keep them hosted, or name them in move_anyway"
            )
        if pretend:
            return True
        switch.turn(self.transport.rest, self.name, now, declared=declared)
        plan.switch = switch.look(
            self.transport.rest, self.name, now.runs_on, in_organization=self.in_organization
        )
        if switch.is_due(plan.switch, declared=declared):
            raise switch.SwitchError(
                f"the variable {now.runs_on.variable} was changed, and yet is {plan.switch.position}: "
                f"{' '.join(plan.switch.lines)}"
            )
        return True

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
    found = sorted(plan.marks)[:_MARKS_MAX_COUNT]
    remembered = f"\n\n{_MARK.format(' '.join(found))}\n"
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
    lines += ["", *plan.notes] if plan.notes else []
    if plan.switch is not None:
        lines += ["", *plan.switch.lines]
    if policy.runs_on.strategy == "variable":
        labels = ", ".join(f'"{label}"' for label in policy.runs_on.labels)
        lines += [
            "",
            f"The runner is chosen by the repository variable `{policy.runs_on.variable}`: set it to "
            f"`[{labels}]` to use the declared runner, delete it to go back to hosted ones (or run the playbook"
            " with `workflow_policy_switch` as `declared` or `hosted`).",
        ]
    lines += [
        "",
        "What you take out here before you merge it, or by hand afterwards, is not proposed again.",
    ]
    text = "\n".join(lines)
    room = _BODY_MAX_CHARACTERS - len(remembered)
    if len(text) > room:
        text = f"{text[:room]} ...\n\nThe run itself tells the rest."
    return text + remembered


def _declined(closed: list[dict[str, Any]]) -> dict[str, int]:
    """Return the marks of all edits that were proposed before, with the newest proposal's number.

    What was merged and is due again was taken out by a person, in the proposal or later.
    """
    found: dict[str, int] = {}
    for item in closed:
        for listed in _MARKS.findall(item.get("body") or ""):
            for mark in listed.split():
                found.setdefault(mark, int(item["number"]))
    return found


def _say_unreported(plan: PolicyProposal, policy: WorkflowPolicy, together: Neighbours) -> None:
    """Tell of required checks that no workflow reports under that name."""
    names = [
        name
        for document in together.documents.values()
        if document is not None
        for name in check_names.check_names(document, together)
    ]
    for check in dict.fromkeys(policy.required_checks):
        if not any(check_names.may_be(name, check) for name in names):
            plan.notes.append(
                f"No workflow reports the required check {check!r}: a pull request waits for ever unless an App does."
            )
