"""Wait for what is about to happen: a machine may have other things to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# Who has waited for long waits a little longer.
_PAUSE_SHARE = 0.1


def until(
    condition: Callable[[], Any],
    what: str = "it",
    seconds: float = 180.0,
    pause_seconds: float = 0.3,
    pause_max_seconds: float = 1.5,
) -> Any:
    """Return the condition's first true value; fail when it has none within ``seconds``.

    The pause between two looks grows from the first to the second: each look at a host costs processes on both sides.
    """
    begin = time.monotonic()
    while (passed_seconds := time.monotonic() - begin) < seconds:
        if value := condition():
            return value
        time.sleep(max(pause_seconds, min(passed_seconds * _PAUSE_SHARE, pause_max_seconds)))
    raise AssertionError(f"{what} did not happen within {seconds:g} s")
