"""Wait for what is about to happen: a machine may have other things to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


# A look at a host costs both machines a process: who has waited for long waits a little longer.
_PAUSE_SHARE = 0.1
_PAUSE_MAX_SECONDS = 1.5


def until(
    condition: Callable[[], Any],
    what: str = "it",
    seconds: float = 180.0,
    pause_seconds: float = 0.3,
) -> Any:
    """Return the condition's first true value; fail when it has none within ``seconds``.

    It is looked at every ``pause_seconds``, later after each tenth of the time that has passed.
    """
    begin = time.monotonic()
    while (passed_seconds := time.monotonic() - begin) < seconds:
        if value := condition():
            return value
        time.sleep(max(pause_seconds, min(passed_seconds * _PAUSE_SHARE, _PAUSE_MAX_SECONDS)))
    raise AssertionError(f"{what} did not happen within {seconds:g} s")
