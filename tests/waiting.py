"""Wait for what is about to happen: a machine may have other things to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(
    condition: Callable[[], Any],
    what: str = "it",
    seconds: float = 180.0,
    pause_seconds: float = 0.3,
) -> Any:
    """Return the condition's first true value; fail when it has none within ``seconds``."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if value := condition():
            return value
        time.sleep(pause_seconds)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")
