"""GitHub as lanes need it: one issue in, one pull request out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from ..base.github.errors import RefusedError, UncertainError
from ..base.github.transport import Transport
from .identity import issue_of_branch

_PAGE, _PAGES_MAX_COUNT = 100, 50
# Who may write to the repository, in GitHub's words.
_HEARD = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
# What is in each comment of the factory itself, and people do not see.
OWN_COMMENT = "<!-- aina-factory: lane -->"
_OWN_WORDS = "<!-- aina-factory"


@dataclass(frozen=True)
class Issue:
    """An open issue."""

    number: int
    title: str
    body: str
    author: str = ""


@dataclass(frozen=True)
class Comment:
    """What somebody said about an issue who may write here, or asked for it."""

    author: str
    body: str


@dataclass(frozen=True)
class Conflict:
    """An open pull request that a lane may push to: what it changes, and where."""

    number: int
    title: str
    body: str
    url: str
    branch: str
    base_branch: str
    # What is to be done about it besides, of a pull request that is in review.
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class OpenedPull:
    """A pull request that a lane opened."""

    number: int
    url: str


@dataclass
class LaneForge:
    """One repository at GitHub."""

    transport: Transport
    repository: str

    def issue(self, number: int) -> Issue:
        """Return an open issue.

        Raises:
            ForgeError: GitHub does not say, or it is closed, or a pull request.

        """
        document = self.transport.rest("GET", f"/repos/{self.repository}/issues/{number}")
        if document.get("pull_request") is not None:
            raise RefusedError(f"#{number} of {self.repository} is a pull request and no issue")
        if document.get("state") != "open":
            raise RefusedError(f"issue #{number} of {self.repository} is {document.get('state')}")
        author = str((document.get("user") or {}).get("login", ""))
        return Issue(number, str(document["title"]), str(document.get("body") or ""), author)

    def comments(self, issue: Issue) -> list[Comment]:
        """Return what was said about an issue by whoever may write here or asked for it.

        Raises:
            ForgeError: GitHub does not say.

        """
        found = []
        for item in self._all(f"issues/{issue.number}/comments", {}):
            author = str((item.get("user") or {}).get("login", ""))
            is_heard = item.get("author_association") in _HEARD or author == issue.author
            body = str(item.get("body") or "")
            if is_heard and body.strip() and _OWN_WORDS not in body:
                found.append(Comment(author, body))
        return found

    def comment(self, number: int, body: str) -> None:
        """Say something about an issue.

        Raises:
            ForgeError: GitHub refuses or does not answer.

        """
        path = f"/repos/{self.repository}/issues/{number}/comments"
        self.transport.rest("POST", path, {"body": body})

    def conflict(self, number: int) -> Conflict:
        """Return an open pull request whose branch lies in this repository.

        Raises:
            ForgeError: GitHub does not say, or it is not open, or its branch is a fork's.

        """
        document = self.transport.rest("GET", f"/repos/{self.repository}/pulls/{number}")
        if document.get("state") != "open":
            raise RefusedError(f"pull request #{number} is {document.get('state')}")
        head = document["head"]
        if not self._is_here(head):
            raise RefusedError(
                f"the branch of #{number} is not in {self.repository}, and stays alone"
            )
        return Conflict(
            number,
            str(document["title"]),
            str(document.get("body") or ""),
            str(document["html_url"]),
            str(head["ref"]),
            str(document["base"]["ref"]),
        )

    def review(self, number: int) -> Conflict:
        """Return a lane's open pull request with what was said about its newest commit.

        People who may write are heard, and checks that failed.

        Raises:
            ForgeError: GitHub does not say, or it is not open, or no lane made its branch.

        """
        found = self.conflict(number)
        if issue_of_branch(found.branch) is None:
            raise RefusedError(f"#{number} is on {found.branch}, which no lane made")
        head = str(self._get(f"pulls/{number}")["head"]["sha"])
        since = str(self._get(f"commits/{head}")["commit"]["committer"]["date"])
        remarks = []
        places = (
            f"issues/{number}/comments",
            f"pulls/{number}/comments",
            f"pulls/{number}/reviews",
        )
        for place in places:
            for item in self._all(place, {}):
                body = str(item.get("body") or "").strip()
                at = str(item.get("submitted_at") or item.get("created_at") or "")
                is_heard = item.get("author_association") in _HEARD and at > since
                if is_heard and body and _OWN_WORDS not in body:
                    line = item.get("line") or item.get("original_line")
                    where = f"{item['path']}:{line}: " if item.get("path") else ""
                    author = str((item.get("user") or {}).get("login", ""))
                    remarks.append(f"{author} said: {where}{body}")
        runs = self._get(f"commits/{head}/check-runs?per_page={_PAGE}").get("check_runs") or []
        for run in runs:
            if run.get("conclusion") in ("failure", "timed_out"):
                said = run.get("output") or {}
                about = " ".join(filter(None, (said.get("title"), said.get("summary"))))
                remarks.append(f"The check {run.get('name')} failed: {about}".rstrip(": "))
        return replace(found, remarks=tuple(remarks))

    def _get(self, what: str) -> dict[str, Any]:
        return dict(self.transport.rest("GET", f"/repos/{self.repository}/{what}"))

    def open_pulls(self) -> list[tuple[int, str]]:
        """Return the open pull requests from branches of this repository: number and branch.

        Anybody may propose the branch of a fork, and call that as a lane would.

        Raises:
            ForgeError: GitHub does not say.

        """
        found = self._all("pulls", {"state": "open"})
        own = [item for item in found if self._is_here(item["head"])]
        return [(int(item["number"]), str(item["head"]["ref"])) for item in own]

    def _is_here(self, head: Mapping[str, Any]) -> bool:
        of = str((head.get("repo") or {}).get("full_name", ""))
        return of.lower() == self.repository.lower()

    def open_issues(self, label: str) -> list[dict[str, Any]]:
        """Return the open issues that carry ``label``, the oldest first.

        Raises:
            ForgeError: GitHub does not say.

        """
        query = {"state": "open", "labels": label, "sort": "created", "direction": "asc"}
        return [item for item in self._all("issues", query) if item.get("pull_request") is None]

    def open_branches(self) -> list[str]:
        """Return the branches of this repository that open pull requests want to land.

        Raises:
            ForgeError: GitHub does not say.

        """
        return [branch for _number, branch in self.open_pulls()]

    def _all(self, what: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in range(1, _PAGES_MAX_COUNT + 1):
            words = urlencode({**query, "per_page": str(_PAGE), "page": str(page)}, quote_via=quote)
            items = self.transport.rest("GET", f"/repos/{self.repository}/{what}?{words}")
            found += items
            if len(items) < _PAGE:
                return found
        raise RefusedError(f"{self.repository} has more than {len(found)} open {what}")

    def open_pull_request(
        self, head: str, base: str, title: str, body: str, *, draft: bool
    ) -> OpenedPull:
        """Open a pull request, or return the one that an unanswered try has opened.

        Raises:
            ForgeError: GitHub refuses or does not answer.

        """
        wanted = {"head": head, "base": base, "title": title, "body": body, "draft": draft}
        try:
            document = self.transport.rest("POST", f"/repos/{self.repository}/pulls", wanted)
        except (UncertainError, RefusedError):
            existing = self._of_head(head)
            if existing is None:
                raise
            document = existing
        number = int(document["number"])
        return OpenedPull(number, str(document["html_url"]))

    def _of_head(self, head: str) -> dict[str, Any] | None:
        owner = self.repository.partition("/")[0]
        query = urlencode({"head": f"{owner}:{head}", "state": "open"}, quote_via=quote)
        found = self.transport.rest("GET", f"/repos/{self.repository}/pulls?{query}")
        return dict(found[0]) if isinstance(found, list) and found else None
