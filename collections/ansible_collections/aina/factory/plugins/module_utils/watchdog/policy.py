"""Section ``watchdog`` of the configuration: limits and alerts by the names of the checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, make_dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ..base import brought, settings
from ..base.configuration import ConfigurationError, Section
from ..base.settings import setting
from . import checks, silences
from .limits import Limit
from .settings import WatchdogSettings


class _Limits(Mapping[str, Limit]):
    """Where an alert is raised, and where it is cleared, by quantity."""

    def __getitem__(self, name: str) -> Limit:
        found: Limit = vars(self)[name]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))


if TYPE_CHECKING:
    Limits = _Limits
else:
    # A check declares its limits; here they become the keys that they are.
    Limits = make_dataclass(
        "Limits",
        [(limit.name, Limit, setting(limit, limit.text)) for limit in checks.LIMITS],
        bases=(_Limits,),
        frozen=True,
    )
    Limits.__doc__, Limits.__module__ = _Limits.__doc__, __name__


@dataclass(frozen=True)
class WatchdogSection(WatchdogSettings):
    """What the watchdog watches, whom it tells, and what it may repair."""

    renamed: ClassVar[Mapping[str, str]] = {
        "clear_runs": "clear_runs_count",
        "unknown_runs": "unknown_runs_count",
    }

    limits: Limits = setting(Limits(), "Where alerts are raised and cleared.")

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """Yield alerts that no check raises."""
        for index, silence in enumerate(self.silences):
            if not silence.fits(checks.BY_NAME):
                yield f"silences[{index}].match", silences.FITTING, silence.match
        for index, order in enumerate(self.heal.lanes):
            if order.alert.partition(":")[0] not in checks.BY_NAME:
                rule = "begin with a check's name, such as main_red or main_red:demo"
                yield f"heal.lanes[{index}].alert", rule, order.alert


def from_section(section: Section) -> WatchdogSection:
    """Read the section; every key has a default.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown; the message names it.

    """
    return settings.read(WatchdogSection, section)


def of(whole: Section) -> tuple[WatchdogSettings, tuple[str, ...]]:
    """Return the policy with what the roles have brought, as :func:`tolerant` does."""
    policy, errors = tolerant(whole.section("watchdog", {}))
    try:
        found = brought.read(whole)
    except ConfigurationError as error:
        return policy, (*errors, *error.problems)
    units = tuple(dict.fromkeys((*policy.heal.units, *found.units)))
    certificates = tuple(dict.fromkeys((*policy.certificates, *found.certificates)))
    heal = replace(policy.heal, units=units)
    return replace(policy, heal=heal, certificates=certificates), errors


def tolerant(section: Section) -> tuple[WatchdogSettings, tuple[str, ...]]:
    """Return the policy without the parts that are wrong, and what is wrong with them.

    A watchdog that refused its whole configuration would say nothing at all.
    """
    values = dict(section.items())
    errors: list[str] = []
    while True:
        try:
            return from_section(Section(values, section.path)), tuple(errors)
        except ConfigurationError as error:
            errors += error.problems
            before = len(values)
            for problem in error.problems:
                key = problem.removeprefix(f"{section.path}.").partition(" ")[0]
                key = key.partition(".")[0].partition("[")[0]
                values.pop(key, None)
            if len(values) == before:
                raise
