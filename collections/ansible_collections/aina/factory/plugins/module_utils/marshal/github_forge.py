"""The ``Forge`` over GitHub: a thin list of everything, then the first few in full."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from ..base.github.errors import ForgeError, RefusedError, UncertainError
from ..base.github.transport import PartialError, Transport
from . import authority, checks, parsing, queries
from .decide import order_key
from .forge import MovedError, NotMergeableError, PullRequestOutcome
from .listing import MALFORMED, Listing
from .settings import MergePolicy
from .snapshot import Branch, Checks, Detail, Mergeable, PullRequest, Snapshot

_TRANSIENT = "Base branch was modified"
_NOT_PROTECTED = "Branch not protected"
_MOVED = "Head branch was modified"


class GithubForge:
    """One repository at GitHub."""

    def __init__(self, transport: Transport, repository: str, policy: MergePolicy) -> None:
        """Keep the connection; ``repository`` is owner/name."""
        self._transport = transport
        self.repository = repository
        self.meter = transport.meter
        self._owner, self._name = repository.split("/")
        self._policy = policy
        self._rest = f"/repos/{quote(self._owner)}/{quote(self._name)}"
        self._wants = {"threads": False, "issues": False, "commands": bool(policy.commanders)}
        self._classic_apps: tuple[tuple[str, int], ...] | None = None
        self._protection: tuple[bool, str] | tuple[()] | None = None

    # -- reading ------------------------------------------------------------------

    def snapshot(
        self,
        policy: MergePolicy,
        branch: str,
        wanted: Mapping[int, str],
        always: Collection[int],
        resume_at: str = "",
    ) -> Snapshot:
        """Return all open pull requests, the most deserving ones in full."""
        snapshot = self._list(policy, branch, resume_at)
        left = self.meter.points_remaining
        if snapshot.limited or left < policy.points_floor:
            # Nothing will land: details would be points spent for nothing.
            return replace(snapshot, points_remaining=left)
        asked = snapshot.branch
        self._wants = {
            "threads": asked.conversation_resolution,
            "issues": policy.duplicates.same_issue,
            "commands": bool(policy.commanders),
        }
        chosen = _deserving(policy, snapshot, wanted, always)
        full = self._in_full(chosen)
        pulls = tuple(full.get(pull.number, pull) for pull in snapshot.pulls)
        return replace(
            snapshot,
            branch=self._bound(snapshot.branch, pulls),
            pulls=pulls,
            points_remaining=self.meter.points_remaining,
        )

    def _bound(self, branch: Branch, pulls: Iterable[PullRequest | None]) -> Branch:
        """Add the apps to which classic protection binds checks, which GraphQL does not tell.

        Asked for once, and only where an app but Actions reports a check that nobody bound.
        """
        seen = [pull for pull in pulls if pull is not None]
        branch = self._held_to_its_rules(branch, seen)
        details = [pull.detail for pull in seen if pull.detail is not None]
        reported = [*branch.checks.items, *(one for each in details for one in each.checks.items)]
        names = checks.unbound(self._policy, branch)
        strange = {one.name for one in reported if one.app not in ("", checks.ACTIONS)}
        if self._classic_apps is None and names & strange:
            self._classic_apps = self._read_classic_apps(branch.name)
        found = tuple(pair for pair in self._classic_apps or () if pair[0] in names)
        return replace(branch, check_apps=(*branch.check_apps, *found))

    def _held_to_its_rules(self, branch: Branch, pulls: Sequence[PullRequest]) -> Branch:
        """Add "up to date" of classic protection: GitHub tells it to whom it binds only.

        Whoever could pass it by is told it by REST; where not even that, it is taken for on.
        """
        if any(pull.merge_state == "BEHIND" for pull in pulls):
            branch = replace(branch, strict=True)
        if not any(pull.can_bypass for pull in pulls):
            return branch
        if self._protection is None:
            self._protection = self._read_protection(branch.name)
        strict, forbidden = self._protection or (True, "")
        return replace(
            branch,
            strict=branch.strict or strict,
            push_forbidden=branch.push_forbidden or forbidden,
            rules_hidden=not self._protection,
        )

    def _read_protection(self, branch: str) -> tuple[bool, str] | tuple[()]:
        """Return what classic protection asks, () where that cannot be read."""
        path = f"{self._rest}/branches/{quote(branch, safe='')}/protection"
        try:
            return parsing.protection(self._transport.rest("GET", path))
        except RefusedError as error:
            return (False, "") if _NOT_PROTECTED in str(error) else ()
        except (UncertainError, *MALFORMED):
            return ()

    def _read_classic_apps(self, branch: str) -> tuple[tuple[str, int], ...]:
        try:
            path = f"{self._rest}/branches/{quote(branch, safe='')}"
            return parsing.classic_apps(self._transport.rest("GET", path))
        except (RefusedError, UncertainError, *MALFORMED):
            # Unbound: the check then counts from Actions only.
            return ()

    def _list(self, policy: MergePolicy, branch: str, resume_at: str) -> Snapshot:
        def ask(size: int, cursor: str | None, head: bool) -> dict[str, Any]:
            variables = {
                "owner": self._owner,
                "name": self._name,
                "branch": f"refs/heads/{branch}",
                "hold": [policy.hold_issue_label] if policy.hold_issue_label else None,
                "base": branch if policy.only_own else None,
                "first": size,
                "after": cursor,
                "head": head,
            }
            return self._transport.graphql(queries.LIST, variables)

        listing = Listing(ask, lambda: self.meter.points_remaining >= policy.points_floor)
        listing.read(resume_at)
        return self._snapshot(policy, branch, listing)

    def _snapshot(self, policy: MergePolicy, branch: str, listing: Listing) -> Snapshot:
        head, problem = listing.head, listing.problem
        if not problem and len(listing.pulls) < listing.total_count:
            problem = f"{len(listing.pulls)} of {listing.total_count} were listed"
        if head["ref"] is None:
            raise RefusedError(f"{self.repository} has no branch {branch}")
        try:
            base = self._branch(head["ref"])
            holds = head["holds"]["nodes"] if policy.hold_issue_label else []
            return Snapshot(
                repository=self.repository,
                branch=base,
                pulls=tuple(listing.pulls.values()),
                complete=not problem,
                incomplete_reason=problem,
                resume_at=listing.resume_at,
                limited=listing.limited,
                hold_issues=tuple(f"#{item['number']} {item['title']}" for item in holds),
                deletes_branch_on_merge=head["deleteBranchOnMerge"],
                archived=head["isArchived"],
            )
        except MALFORMED as error:
            raise ForgeError(f"the answer has another shape than expected: {error!r}") from error

    def _in_full(self, pulls: Sequence[PullRequest]) -> dict[int, PullRequest]:
        """Read pulls in full; one that cannot be read says so in ``unreadable``."""
        if not pulls:
            return {}
        variables = {"ids": [pull.id for pull in pulls], **self._wants}
        try:
            nodes, broken = self._nodes(queries.FULL, variables)
        except (UncertainError, PartialError, *MALFORMED) as error:
            nodes, broken = [], {0: str(error)}
        joined = {
            pull.number: self._joined(pull, node)
            for index, (pull, node) in enumerate(zip(pulls, nodes, strict=False))
            if index not in broken
        }
        again = [pull for pull in pulls if pull.number not in joined]
        if joined:
            # What was too much at once may be read by itself; the others are whole.
            return {**joined, **self._in_full(again)}
        if len(pulls) > 1:
            middle = len(pulls) // 2
            return {**self._in_full(pulls[:middle]), **self._in_full(pulls[middle:])}
        why = broken.get(0, "there is no answer")
        return {pulls[0].number: replace(pulls[0], unreadable=f"could not be read: {why}")}

    def _nodes(
        self, query: str, variables: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str | int, str]]:
        """Ask for nodes by id; return them and, by index, what went wrong with some."""
        try:
            return self._transport.graphql(query, variables)["nodes"], {}
        except PartialError as error:
            return (error.data or {})["nodes"], error.below("nodes")

    def _with_labelled_heads(self, pull: PullRequest, detail: Detail) -> Detail:
        """Add to which head each label was given that makes an exception."""
        asked = [
            label
            for label, told in detail.labellings.items()
            if label in pull.labels & self._policy.exception_labels
            and authority.another_person(self._policy, pull, told.actor, by_person=told.by_person)
        ]
        if not asked or not detail.head_repository:
            return detail
        ref = quote(f"refs/heads/{pull.head_ref}", safe="")
        path = f"/repos/{quote(detail.head_repository)}/activity?ref={ref}&per_page=100"
        try:
            moves = self._transport.rest("GET", path)
            heads = {
                label: parsing.head_at(moves, pull.head_oid, detail.labellings[label].at)
                for label in asked
            }
        except (RefusedError, UncertainError, *MALFORMED):
            return detail
        told = {
            label: replace(detail.labellings[label], head_oid=head) for label, head in heads.items()
        }
        return replace(detail, labellings={**detail.labellings, **told})

    def _joined(self, pull: PullRequest, node: Mapping[str, Any] | None) -> PullRequest:
        if node is None or node.get("headRefOid") != pull.head_oid:
            return replace(pull, unreadable="its head moved while it was read")
        try:
            detail = parsing.detail(node)
        except MALFORMED as error:
            return replace(pull, unreadable=f"unexpected answer: {error!r}")

        def more(after: str) -> Mapping[str, Any] | None:
            variables = {"id": pull.id, "after": after}
            found = self._transport.graphql(queries.MORE_CONTEXTS, variables)["node"]
            return found["checked"] if found["headRefOid"] == pull.head_oid else None

        commit = (node["checked"] or {}).get("commit") or {}
        if commit.get("oid", pull.head_oid) == pull.head_oid:
            whole = _every_page(detail.checks, node["checked"], more)
            detail = replace(detail, checks=whole)
        return replace(pull, detail=self._with_labelled_heads(pull, detail))

    def _commit(self, oid: str, after: str | None) -> Mapping[str, Any] | None:
        variables = {"owner": self._owner, "name": self._name, "oid": oid, "after": after}
        found = self._transport.graphql(queries.COMMIT, variables)["repository"]["object"]
        return None if found is None else found.get("statusCheckRollup")

    def _branch(self, node: Mapping[str, Any]) -> Branch:
        """Read the base branch with every check of its head."""
        branch = parsing.branch(node)
        rollup = node["target"].get("statusCheckRollup")
        whole = _every_page(branch.checks, rollup, lambda after: self._commit(branch.oid, after))
        return replace(branch, checks=whole)

    def reread(
        self, branch: str, numbers: Sequence[int]
    ) -> tuple[Branch, Mapping[int, PullRequest | None]]:
        """Return the branch and these pull requests in full; see ``Forge``."""
        variables = {
            "owner": self._owner,
            "name": self._name,
            "branch": f"refs/heads/{branch}",
            **self._wants,
            **{f"n{index}": number for index, number in enumerate(numbers)},
        }
        broken: dict[str | int, str] = {}
        try:
            found = self._transport.graphql(queries.reread(len(numbers)), variables)["repository"]
        except PartialError as error:
            broken = error.below("repository")
            found = (error.data or {}).get("repository")
            if found is None or found.get("ref") is None or broken.keys() & {"ref"}:
                raise
        try:
            pulls: dict[int, PullRequest | None] = {}
            for index, number in enumerate(numbers):
                node = found[f"p{index}"]
                if f"p{index}" in broken:
                    continue
                pulls[number] = None
                if node is not None and node["state"] == "OPEN":
                    pulls[number] = self._joined(parsing.thin(node), node)
            base = self._branch(found["ref"])
        except MALFORMED as error:
            raise ForgeError(f"the answer has another shape than expected: {error!r}") from error
        return self._bound(base, pulls.values()), pulls

    def outcome(self, number: int) -> PullRequestOutcome:
        """Return what became of a pull request, and who depends on its branch."""
        names = {"owner": self._owner, "name": self._name}
        found = self._transport.graphql(queries.OUTCOME, {**names, "number": number})
        try:
            node = found["repository"]["pullRequest"]
            dependants: Mapping[str, Any] = {"nodes": [], "totalCount": 0}
            if node["state"] == "MERGED" and not node["isCrossRepository"]:
                variables = {**names, "base": node["headRefName"]}
                answer = self._transport.graphql(queries.DEPENDANTS, variables)
                dependants = answer["repository"]["pullRequests"]
            ref = node["headRef"] or {"id": "", "target": {"oid": ""}, "refUpdateRule": None}
            return PullRequestOutcome(
                number=number,
                state=node["state"],
                head_oid=node["headRefOid"],
                head_ref=node["headRefName"],
                head_ref_oid=ref["target"]["oid"],
                head_ref_id=ref["id"],
                head_protected=ref["refUpdateRule"] is not None,
                is_fork=node["isCrossRepository"],
                base_ref=node["baseRefName"],
                merge_oid=(node["mergeCommit"] or {}).get("oid", ""),
                dependants=tuple((item["number"], item["title"]) for item in dependants["nodes"]),
                dependants_complete=len(dependants["nodes"]) == dependants["totalCount"],
                comments=tuple(item["body"] for item in node["comments"]["nodes"]),
                title=node["title"],
                labels=frozenset(i["name"].casefold() for i in (node["labels"] or {})["nodes"]),
            )
        except MALFORMED as error:
            raise ForgeError(f"the answer has another shape than expected: {error!r}") from error

    def commit_checks(self, oid: str) -> Checks:
        """Return the checks of one commit, every page; what could not be read is not complete."""
        try:
            rollup = self._commit(oid, None)
            first = parsing.checks(rollup)
        except (UncertainError, PartialError, *MALFORMED):
            return Checks(complete=False)
        return _every_page(first, rollup, lambda after: self._commit(oid, after))

    def ran(self, job_id: int) -> bool:
        """Whether a job of Actions did anything; what cannot be told counts as yes."""
        try:
            answer = self._transport.rest("GET", f"{self._rest}/actions/jobs/{job_id}")
            return bool(answer["steps"] or answer["runner_name"])
        except (RefusedError, UncertainError, *MALFORMED):
            return True

    def pulse(self, branch: str, ids: Sequence[str]) -> object:
        """Return what differs once CI has said something of these; see ``Forge``."""
        variables = {"owner": self._owner, "name": self._name, "ids": list(ids)}
        variables["branch"] = f"refs/heads/{branch}"
        answer = self._transport.graphql(queries.PULSE, variables)
        return answer["repository"], answer["nodes"]

    # -- writing ------------------------------------------------------------------

    def _write(self, method: str, path: str, body: Any = None) -> Any:
        self.meter.writes_count += 1
        return self._transport.rest(method, f"{self._rest}{path}", body)

    def merge(self, pull: PullRequest, method: str) -> str:
        """Merge exactly the judged head."""
        body = {"sha": pull.head_oid, "merge_method": method}
        if method != "rebase":
            body["commit_title"] = f"{pull.title} (#{pull.number})"
        try:
            answer = self._write("PUT", f"/pulls/{pull.number}/merge", body)
        except RefusedError as error:
            if error.status == 409:
                raise MovedError(str(error)) from error
            if error.status == 405:
                raise NotMergeableError(str(error), transient=_TRANSIENT in str(error)) from error
            raise
        return str((answer or {}).get("sha", ""))

    def enqueue(self, pull: PullRequest) -> None:
        """Put exactly the judged head into GitHub's merge queue."""
        self.meter.writes_count += 1
        variables = {"id": pull.id, "head": pull.head_oid}
        try:
            self._transport.graphql(queries.ENQUEUE, variables)
        except PartialError as error:
            if _MOVED in str(error):
                raise MovedError(str(error)) from error
            raise NotMergeableError(str(error)) from error

    def rerun(self, run_id: int) -> None:
        """Run again what failed of a run of Actions."""
        self._write("POST", f"/actions/runs/{run_id}/rerun-failed-jobs")

    def update_branch(self, pull: PullRequest) -> None:
        """Merge the base into the head, if it still is the judged one."""
        body = {"expected_head_sha": pull.head_oid}
        self._write("PUT", f"/pulls/{pull.number}/update-branch", body)

    def add_label(self, number: int, label: str) -> None:
        """Add a label; GitHub creates a missing one."""
        self._write("POST", f"/issues/{number}/labels", {"labels": [label]})

    def remove_label(self, number: int, label: str) -> None:
        """Remove a label; a missing one is fine."""
        self._gone_is_fine("DELETE", f"/issues/{number}/labels/{quote(label, safe='')}")

    def comment(self, number: int, body: str) -> None:
        self._write("POST", f"/issues/{number}/comments", {"body": body})

    def open_pull(self, base: str, head: str, title: str, body: str) -> None:
        """Open a pull request; one that is open already is fine."""
        try:
            words = {"base": base, "head": head, "title": title, "body": body}
            self._write("POST", "/pulls", words)
        except RefusedError as error:
            if "already exists" not in str(error):
                raise

    def close(self, number: int) -> None:
        self._write("PATCH", f"/pulls/{number}", {"state": "closed"})

    def retarget(self, number: int, base: str) -> None:
        """Change the base branch of a pull request."""
        self._write("PATCH", f"/pulls/{number}", {"base": base})

    def delete_branch(self, ref: str) -> None:
        """Delete a branch; a missing one is fine."""
        self._gone_is_fine("DELETE", f"/git/refs/heads/{quote(ref)}")

    def _gone_is_fine(self, method: str, path: str) -> None:
        try:
            self._write(method, path)
        except RefusedError as error:
            if error.status not in (404, 422):
                raise


def _every_page(
    first: Checks,
    rollup: Mapping[str, Any] | None,
    more: Callable[[str], Mapping[str, Any] | None],
) -> Checks:
    """Read on where a page of a commit's checks ends; incomplete when one could not be read."""
    if first.complete or rollup is None:
        return first
    items, page = list(first.items), rollup["contexts"]
    try:
        while page["pageInfo"]["hasNextPage"]:
            found = more(page["pageInfo"]["endCursor"])
            page = (found or {})["contexts"]
            items += [parsing.check(node) for node in page["nodes"]]
    except (UncertainError, PartialError, *MALFORMED):
        return Checks(tuple(items), complete=False)
    return Checks(tuple(items), complete=len(items) == page["totalCount"])


def _deserving(
    policy: MergePolicy, snapshot: Snapshot, wanted: Mapping[int, str], always: Collection[int]
) -> list[PullRequest]:
    """Choose whom to read in full: who may land first, then who has waited unseen.

    ``wanted`` maps a number to the fingerprint under which it was last found waiting, the
    longest unseen first: as long as nothing about it changed it goes to the end, so that thirty waiting ones
    never hide the one behind them.
    """
    hopeful = [
        pull
        for pull in snapshot.pulls
        if pull.base_ref == snapshot.branch.name
        and not pull.is_draft
        and not pull.labels & set(policy.hold_labels)
        and pull.mergeable is not Mergeable.CONFLICTING
    ]

    turns = {number: turn for turn, number in enumerate(wanted, 1)}

    def key(pull: PullRequest) -> tuple[bool, int, bool, tuple[int, float, int]]:
        unchanged = wanted.get(pull.number) == pull.fingerprint
        turn = turns[pull.number] if unchanged else 0
        return (pull.number not in always, turn, pull.rollup != "SUCCESS", order_key(policy, pull))

    first = sorted(hopeful, key=key)[: policy.examined_per_cycle]
    rest = policy.examined_per_cycle - len(first)
    conflicting = [p for p in snapshot.pulls if p.mergeable is Mergeable.CONFLICTING]
    return first + sorted(conflicting, key=lambda pull: pull.number)[:rest]
