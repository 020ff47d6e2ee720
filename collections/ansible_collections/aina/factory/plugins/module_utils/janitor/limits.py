"""Read the limits that every kind has."""

from __future__ import annotations

from ..base.configuration import ConfigurationError, Section
from .model import Limits

MIB = 1 << 20
HOUR = 3600.0
DAY = 86400.0


def read(
    section: Section,
    *,
    max_age_days: float = 0,
    min_age_hours: float = 24,
    max_total_mib: float = 0,
) -> Limits:
    """Read one kind's limits; zero switches ``max_age_days`` and ``max_total_mib`` off."""
    age = section.number("max_age_days", max_age_days, minimum=0) * DAY
    protected = section.number("min_age_hours", min_age_hours, minimum=0) * HOUR
    total = int(section.number("max_total_mib", max_total_mib, minimum=0) * MIB)
    if age and age < protected:
        raise ConfigurationError(
            f"{section.path}.max_age_days is {age / DAY:g}; it must not be below "
            f"min_age_hours, which is {protected / HOUR:g} hours"
        )
    return Limits(
        max_age_seconds=age or None,
        min_age_seconds=protected,
        max_total_bytes=total or None,
        max_per_run=section.integer("max_per_run", 1000, minimum=1),
        watermark=section.boolean("watermark", True),
    )


def read_alone(
    section: Section,
    *,
    max_age_days: float = 0,
    min_age_hours: float = 0,
    max_total_mib: float = 0,
) -> Limits:
    """Read the limits of a kind that has nothing else to say."""
    limits = read(
        section,
        max_age_days=max_age_days,
        min_age_hours=min_age_hours,
        max_total_mib=max_total_mib,
    )
    section.done()
    return limits
