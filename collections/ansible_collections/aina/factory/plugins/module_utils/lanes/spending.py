"""What lanes may spend, and have: in tokens and in money, of a lane, a project and the host."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..base.settings import setting

_MILLION = 1_000_000
# Of a token that was read from a cache, where no price says it: what the large providers bill.
_CACHED_PART = 0.1


@dataclass(frozen=True)
class Price:
    """What a million tokens of a model cost."""

    input_usd: float = setting(0.0, "What a million tokens cost that go in, in USD.", minimum=0)
    cached_usd: float = setting(
        0.0, "The same for those that are read from the provider's cache.", minimum=0
    )
    output_usd: float = setting(0.0, "The same for those that come out.", minimum=0)

    def tokens(self, usage: Mapping[str, int]) -> int:
        """Return the tokens that a request is charged with; one from a cache is part of one."""
        cached = min(usage.get("cached_tokens", 0), usage.get("input_tokens", 0))
        part = self.cached_usd / self.input_usd if self.input_usd else _CACHED_PART
        new = usage.get("input_tokens", 0) - cached
        return new + round(cached * part) + usage.get("output_tokens", 0)

    def usd(self, usage: Mapping[str, int]) -> float:
        """Return what a request costs, in USD."""
        cached = min(usage.get("cached_tokens", 0), usage.get("input_tokens", 0))
        new = usage.get("input_tokens", 0) - cached
        sums = (
            new * self.input_usd,
            cached * self.cached_usd,
            usage.get("output_tokens", 0) * self.output_usd,
        )
        return sum(sums) / _MILLION


@dataclass
class Spent:
    """What was spent on one day (UTC); another day begins with nothing."""

    day: str = ""
    tokens: int = 0
    cost_usd: float = 0.0

    def on(self, now: float) -> Spent:
        """Return it for the day of ``now``, in seconds since the epoch."""
        if self.day != day_of(now):
            self.day, self.tokens, self.cost_usd = day_of(now), 0, 0.0
        return self

    def add(self, now: float, tokens: int, cost_usd: float) -> None:
        """Count what was spent at ``now``, in seconds since the epoch."""
        self.on(now)
        self.tokens += tokens
        self.cost_usd += cost_usd


@dataclass(frozen=True)
class Limit:
    """What may be spent on one day (UTC); 0 for as much as anybody wants."""

    tokens_per_day: int = setting(0, "Tokens of a day (UTC); 0 for no limit.", minimum=0)
    usd_per_day: float = setting(
        0.0, "Money of a day (UTC), in USD by `lanes_prices`; 0 for no limit.", minimum=0
    )

    def passed(self, spent: Spent, whose: str, now: float) -> str:
        """Say that it is used up at ``now``, in seconds since the epoch; empty when it is not."""
        spent.on(now)
        if self.tokens_per_day and spent.tokens >= self.tokens_per_day:
            return (
                f"the day's tokens of {whose} are used up: {spent.tokens} of {self.tokens_per_day}"
            )
        if self.usd_per_day and spent.cost_usd >= self.usd_per_day:
            return (
                f"the day's money of {whose} is used up:"
                f" {spent.cost_usd:.2f} of {self.usd_per_day:.2f} USD"
            )
        return ""


def day_of(now: float) -> str:
    """Return the day (UTC) of a time in seconds since the epoch, such as 2026-11-30."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))
