"""Rate limits: primary buckets of an hour, and the secondary limits of a minute."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 3600.0
MINUTE_SECONDS = 60.0
RESOURCES = {"core": 5000, "graphql": 5000, "search": 30, "actions_runner_registration": 10000}
ANONYMOUS = {"core": 60, "graphql": 0, "search": 10, "actions_runner_registration": 0}
SECONDARY_POINTS = {"core": 900, "graphql": 2000, "search": 900, "actions_runner_registration": 900}
CONTENT_PER_MINUTE = 80
CONTENT_PER_HOUR = 500


@dataclass
class Bucket:
    """One caller's points of one resource."""

    limit: int
    reset_at: float
    used: int = 0

    @property
    def remaining(self) -> int:
        """What is left until ``reset_at``."""
        return max(0, self.limit - self.used)


@dataclass
class Limits:
    """All callers' buckets. ``enforce_secondary`` makes the minute's limits bite."""

    enforce_secondary: bool = False
    overrides: dict[str, int] = field(default_factory=dict)
    buckets: dict[tuple[str, str], Bucket] = field(default_factory=dict)
    _points: dict[tuple[str, str], deque[tuple[float, int]]] = field(default_factory=dict)
    _content: dict[str, deque[float]] = field(default_factory=dict)
    secondary_violations: int = 0

    def bucket(self, caller: str, resource: str, now: float) -> Bucket:
        """Return the caller's bucket, a fresh one when its hour has passed."""
        found = self.buckets.get((caller, resource))
        if found is None or found.reset_at <= now:
            limits = ANONYMOUS if caller == "anonymous" else RESOURCES
            limit = self.overrides.get(resource, limits[resource])
            found = Bucket(limit, math.floor(now) + WINDOW_SECONDS)
            self.buckets[caller, resource] = found
        return found

    def exhausted(self, caller: str, resource: str, now: float) -> bool:
        """Say whether the caller has nothing left."""
        return self.bucket(caller, resource, now).remaining == 0

    def spend(self, caller: str, resource: str, points: int, now: float) -> None:
        """Take points from the bucket."""
        self.bucket(caller, resource, now).used += points

    def secondary(
        self, caller: str, resource: str, *, write: bool, content: bool, now: float
    ) -> int | None:
        """Count against the secondary limits; return the seconds to wait when one is passed."""
        points = self._points.setdefault((caller, resource), deque())
        while points and points[0][0] <= now - MINUTE_SECONDS:
            points.popleft()
        points.append((now, 5 if write else 1))
        over = sum(count for _, count in points) > SECONDARY_POINTS[resource]
        if content:
            times = self._content.setdefault(caller, deque())
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
            times.append(now)
            recent = sum(1 for moment in times if moment > now - MINUTE_SECONDS)
            over = over or recent > CONTENT_PER_MINUTE or len(times) > CONTENT_PER_HOUR
        if not over:
            return None
        self.secondary_violations += 1
        return int(MINUTE_SECONDS) if self.enforce_secondary else None

    def headers(self, caller: str, resource: str, now: float) -> dict[str, str]:
        """Return the headers of every answer."""
        bucket = self.bucket(caller, resource, now)
        return {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(bucket.remaining),
            "X-RateLimit-Used": str(bucket.used),
            "X-RateLimit-Reset": str(int(bucket.reset_at)),
            "X-RateLimit-Resource": resource,
        }
