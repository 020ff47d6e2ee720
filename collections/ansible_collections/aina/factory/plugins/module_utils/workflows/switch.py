"""The repository variable that moves the jobs: where it stands, and who would take them."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..base.errors import FactoryError
from ..base.github.errors import ForgeError, RefusedError
from .settings import RunsOn

_PAGE = 100
_PAGES_MAX_COUNT = 10
_SHOWN_MAX_CHARACTERS = 120
_SHOWN_MAX_COUNT = 10
_NOT_FOUND = 404
_HOSTED = re.compile(r"(?:ubuntu|windows|macos)-", re.IGNORECASE)

Ask = Callable[[str, str, Any], Any]


class SwitchError(FactoryError):
    """The variable was not set, or not deleted; says why."""


class Position(StrEnum):
    """What the variable says now."""

    UNSET = "unset"
    DECLARED = "declared"
    OTHER = "other"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    NONE = "none"


@dataclass(frozen=True)
class Runner:
    """A runner that is online; its labels in lower case."""

    name: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Switch:
    """Where the variable stands, and who would take the jobs."""

    runs_on: RunsOn
    position: Position
    value: str = ""
    of_organization: bool = False
    runners: tuple[Runner, ...] = ()
    # Whether these are all that there may be.
    all_seen: bool = True

    def online(self, labels: Sequence[str]) -> list[str] | None:
        """Return the runners that take jobs with these labels; ``None`` where nobody could say."""
        wanted = {label.casefold() for label in labels}
        found = [runner.name for runner in self.runners if wanted <= runner.labels]
        return found if found or self.all_seen else None

    @property
    def problem(self) -> str:
        """What is wrong for jobs that run now; "" for nothing."""
        name = self.runs_on.variable
        if self.position is Position.BROKEN:
            return (
                f"the variable {name} holds {self._shown}, which is no label, list of labels or group in JSON:"
                " every job that reads it fails; set it again, or delete it"
            )
        labels = _labels(self.value)
        is_hosted = any(_HOSTED.match(label) for label in labels)
        if labels and not is_hosted and self.online(labels) == []:
            return (
                f"the variable {name} asks for {list(labels)}, and no runner with these labels is online:"
                " every job that reads it waits; start one, or delete the variable"
            )
        return ""

    @property
    def lines(self) -> list[str]:
        """What a person is told."""
        name, place = (
            self.runs_on.variable,
            "organization" if self.of_organization else "repository",
        )
        said = {
            Position.UNSET: f"The variable {name} is not set: all jobs run on hosted runners.",
            Position.DECLARED: f"The variable {name} of the {place} asks for the declared runner.",
            Position.OTHER: f"The variable {name} of the {place} holds {self._shown}, not the declared labels.",
            Position.BROKEN: f"The variable {name} of the {place} holds {self._shown}, which is not to be read.",
            Position.UNKNOWN: f"Nobody could say whether the variable {name} is set.",
        }
        found = [said[self.position]] if self.position in said else []
        labels = list(self.runs_on.labels)
        online = self.online(labels)
        if online is None:
            return [*found, f"Nobody could say whether a runner with {labels} is online."]
        if not online:
            return [*found, f"No runner with {labels} is online."]
        names = ", ".join(online[:_SHOWN_MAX_COUNT])
        return [*found, f"Online with {labels}: {names} ({len(online)})."]

    @property
    def _shown(self) -> str:
        return repr(self.value[:_SHOWN_MAX_CHARACTERS])


def look(ask: Ask, repository: str, runs_on: RunsOn, *, in_organization: bool) -> Switch:
    """Ask GitHub where the variable stands, and which runners are online."""
    position, value, of_organization = Position.NONE, "", False
    if runs_on.strategy == "variable":
        value, of_organization, is_known = _variable(
            ask, repository, runs_on.variable, in_organization
        )
        position = _position(value, runs_on) if is_known else Position.UNKNOWN
    places = [f"/repos/{repository}"]
    places += [f"/orgs/{repository.partition('/')[0]}"] if in_organization else []
    listed = [_all(ask, f"{place}/actions/runners", "runners") for place in places]
    runners = tuple(_runner(item) for part in listed for item in part or () if _is_online(item))
    return Switch(runs_on, position, value, of_organization, runners, None not in listed)


def turn(ask: Ask, repository: str, now: Switch, *, declared: bool) -> None:
    """Set the variable to the declared labels, or delete it.

    Raises:
        SwitchError: nobody would take the jobs, or GitHub refuses.

    """
    runs_on = now.runs_on
    path = f"/repos/{repository}/actions/variables"
    one = f"{path}/{urllib.parse.quote(runs_on.variable)}"
    body = {"name": runs_on.variable, "value": json.dumps(list(runs_on.labels))}
    try:
        is_there = now.position is not Position.UNSET and not now.of_organization
        if not declared:
            ask("DELETE", one, None)
        elif is_there:
            ask("PATCH", one, body)
        else:
            ask("POST", path, body)
    except ForgeError as error:
        raise SwitchError(f"the variable {runs_on.variable}: {error}") from error


def is_due(now: Switch, *, declared: bool) -> bool:
    """Whether the variable stands where it shall not."""
    return now.position is not (Position.DECLARED if declared else Position.UNSET)


def refuse(now: Switch, *, declared: bool) -> None:
    """Refuse a turn after which jobs would wait for nobody, or which is not ours to make.

    Raises:
        SwitchError: says why.

    """
    name = now.runs_on.variable
    if now.position is Position.NONE:
        raise SwitchError("the strategy labels has no variable; there is nothing to turn")
    if now.position is Position.UNKNOWN:
        raise SwitchError(
            f"nobody could say whether the variable {name} is set; the login needs the right to read and write"
            " variables (actions_variables)"
        )
    if not declared and now.of_organization:
        raise SwitchError(
            f"the variable {name} is the organization's, for other repositories too; delete it there"
        )
    if declared and not now.online(now.runs_on.labels):
        raise SwitchError(
            f"no runner with the labels {list(now.runs_on.labels)} is seen online, so that every job would wait;"
            " start one first (factory runner list), and see to it that the login may list runners"
        )


def _variable(
    ask: Ask, repository: str, name: str, in_organization: bool
) -> tuple[str, bool, bool]:
    """Return the value, whether it is the organization's, and whether that is known."""
    try:
        found = ask(
            "GET", f"/repos/{repository}/actions/variables/{urllib.parse.quote(name)}", None
        )
        return str(found["value"]), False, True
    except RefusedError as error:
        if error.status != _NOT_FOUND:
            return "", False, False
    except (ForgeError, KeyError, TypeError):
        return "", False, False
    if not in_organization:
        return "", False, True
    listed = _all(ask, f"/repos/{repository}/actions/organization-variables", "variables")
    if listed is None:
        return "", False, False
    for item in listed:
        if str(item.get("name", "")).casefold() == name.casefold():
            return str(item.get("value", "")), True, True
    return "", False, True


def _position(value: str, runs_on: RunsOn) -> Position:
    if not value:
        return Position.UNSET
    labels = _labels(value)
    if not labels:
        return Position.OTHER if isinstance(_read(value), dict) else Position.BROKEN
    same = {label.casefold() for label in labels} == {label.casefold() for label in runs_on.labels}
    return Position.DECLARED if same else Position.OTHER


def _labels(value: str) -> tuple[str, ...]:
    """Return the labels that a value of the variable names; none where it names none."""
    found = _read(value)
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, list) or not all(isinstance(item, str) and item for item in found):
        return ()
    return tuple(found)


def _read(value: str) -> Any:
    try:
        return json.loads(value) if value else None
    except (ValueError, RecursionError):
        return None


def _is_online(item: dict[str, Any]) -> bool:
    return item.get("status") == "online"


def _runner(item: dict[str, Any]) -> Runner:
    labels = item.get("labels")
    names = [str(label.get("name", "")) for label in labels or () if isinstance(label, dict)]
    shown = str(item.get("name", ""))[:_SHOWN_MAX_CHARACTERS]
    return Runner(shown, frozenset(name.casefold() for name in names))


def _all(ask: Ask, path: str, key: str) -> list[dict[str, Any]] | None:
    """Return what all pages list; ``None`` where nobody could say."""
    found: list[dict[str, Any]] = []
    for page in range(1, _PAGES_MAX_COUNT + 1):
        try:
            answer = ask("GET", f"{path}?per_page={_PAGE}&page={page}", None)
        except ForgeError:
            return None
        if not isinstance(answer, dict) or not isinstance(answer.get(key), list):
            return None
        items = [item for item in answer[key] if isinstance(item, dict)]
        found += items
        if len(answer[key]) < _PAGE:
            return found
    return None
