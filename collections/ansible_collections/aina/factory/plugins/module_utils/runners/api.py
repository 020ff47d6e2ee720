"""What GitHub is asked about runners; each answer typed, each failure an error of ``github.errors``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar
from urllib.parse import quote

from ..base import times
from ..base.github.errors import RefusedError, UncertainError
from ..base.github.transport import Transport

_PAGE = 100
_PAGES = 20
_RUNS_LOOKED_INTO = 5
T = TypeVar("T")


@dataclass(frozen=True)
class Registered:
    """A runner as GitHub shows it; ``custom_labels`` are lower case, as they are compared."""

    id: int
    name: str
    online: bool
    busy: bool
    custom_labels: frozenset[str]
    has_default_labels: bool
    group_id: int | None
    version: str | None


@dataclass(frozen=True)
class Jit:
    """A just-in-time registration; ``config`` is a secret and never shown."""

    id: int
    name: str
    config: str

    def __repr__(self) -> str:
        return f"Jit(id={self.id}, name={self.name!r})"


class Deletion(Enum):
    """What became of a deletion: done (it was idle and takes no job any more), or why not."""

    CLOSED = auto()
    BUSY = auto()
    GONE = auto()


class Runners:
    """The runners of one repository (owner/name) or organization."""

    def __init__(self, transport: Transport, target: str) -> None:
        self.target = target
        self.is_organization = "/" not in target
        self._transport = transport
        self.base = f"/{'orgs' if self.is_organization else 'repos'}/{quote(target)}"
        self._runners = f"{self.base}/actions/runners"

    def ask(self, path: str) -> Any:
        """Return the document at a path below the target, or anywhere with a leading slash."""
        return self._transport.rest("GET", path if path.startswith("/") else f"{self.base}/{path}")

    # --- reading ------------------------------------------------------------

    def get(self, identifier: int) -> Registered | None:
        """Return a runner by its number; None when GitHub does not know it."""
        try:
            document = self._transport.rest("GET", f"{self._runners}/{identifier}")
        except RefusedError as error:
            if error.status == 404:
                return None
            raise
        return _parsed(_registered, document)

    def named(self, name: str) -> Registered | None:
        """Return the runner of exactly this name."""
        document = self._transport.rest("GET", f"{self._runners}?name={quote(name)}&per_page=100")
        found = _parsed(lambda d: [_registered(item) for item in d["runners"]], document)
        return next((runner for runner in found if runner.name.lower() == name.lower()), None)

    def listed(self) -> list[Registered]:
        found: list[Registered] = []
        for page in range(1, _PAGES + 1):
            path = f"{self._runners}?per_page={_PAGE}&page={page}"
            document = self._transport.rest("GET", path)
            items = _parsed(lambda d: [_registered(item) for item in d["runners"]], document)
            found += items
            if len(items) < _PAGE:
                return found
        raise UncertainError(f"{self.target} has more than {_PAGE * _PAGES} runners")

    def group_id(self, name: str) -> int:
        """Return the number of a runner group; a repository knows only its own, 1.

        Raises:
            RefusedError: the organization has no such group.

        """
        if self.is_organization:
            for group in self.groups():
                if str(group["name"]).lower() == name.lower():
                    return int(group["id"])
            raise RefusedError(f"{self.target} has no runner group {name!r}", 404)
        return 1

    def groups(self) -> list[dict[str, Any]]:
        """Return the organization's runner groups."""
        document = self.ask("actions/runner-groups?per_page=100")
        return _parsed(lambda d: [dict(item) for item in d["runner_groups"]], document)

    def oldest_queued(self, labels: Iterable[str]) -> float | None:
        """Return since when the longest waiting job that such a runner could take has been queued.

        None when nothing waits. Looks into the few oldest runs alone.
        """
        has = {label.lower() for label in labels}
        document = self.ask("actions/runs?status=queued&per_page=100")
        runs = _parsed(
            lambda d: sorted(
                (str(run["created_at"]), int(run["id"])) for run in d["workflow_runs"]
            ),
            document,
        )
        for _created, run in runs[:_RUNS_LOOKED_INTO]:
            jobs = self.ask(f"actions/runs/{run}/jobs?per_page=100")
            waiting = _parsed(lambda d: [_waiting(job, has) for job in d["jobs"]], jobs)
            since = [moment for moment in waiting if moment is not None]
            if since:
                return min(since)
        return None

    # --- writing ------------------------------------------------------------

    def delete(self, identifier: int) -> Deletion:
        """Delete a runner unless it has a job: the one way to learn that it is idle and stays so."""
        try:
            self._transport.rest("DELETE", f"{self._runners}/{identifier}")
        except RefusedError as error:
            if error.status == 404:
                return Deletion.GONE
            if error.status == 422:
                return Deletion.BUSY
            raise
        return Deletion.CLOSED

    def set_labels(self, identifier: int, labels: Iterable[str]) -> None:
        path = f"{self._runners}/{identifier}/labels"
        self._transport.rest("PUT", path, {"labels": sorted(labels)})

    def registration_token(self) -> str:
        """Return a secret with which runners are registered for an hour."""
        document = self._transport.rest("POST", f"{self._runners}/registration-token")
        return _parsed(lambda d: str(d["token"]), document)

    def jit_config(self, name: str, labels: Iterable[str], group_id: int) -> Jit:
        """Register a runner for one job."""
        body = {
            "name": name,
            "runner_group_id": group_id,
            "labels": list(labels),
            "work_folder": "_work",
        }
        document = self._transport.rest("POST", f"{self._runners}/generate-jitconfig", body)
        return _parsed(
            lambda d: Jit(int(d["runner"]["id"]), name, str(d["encoded_jit_config"])), document
        )


def _parsed(reader: Callable[[Any], T], document: Any) -> T:
    try:
        return reader(document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UncertainError(f"the answer has another shape than expected: {error!r}") from error


def _registered(document: Any) -> Registered:
    labels = document["labels"]
    version = document.get("version")
    return Registered(
        id=int(document["id"]),
        name=str(document["name"]),
        online=document["status"] == "online",
        busy=bool(document["busy"]),
        custom_labels=frozenset(
            str(label["name"]).lower() for label in labels if label.get("type") == "custom"
        ),
        has_default_labels=any(label.get("type") == "read-only" for label in labels),
        group_id=document.get("runner_group_id"),
        version=str(version) if version else None,
    )


def _waiting(job: Any, has: set[str]) -> float | None:
    if job["status"] != "queued" or not {str(label).lower() for label in job["labels"]} <= has:
        return None
    return times.seconds(str(job["created_at"]))
