"""How the command speaks to people."""

from __future__ import annotations

import sys
from collections.abc import Callable

_BAR_WIDTH = 30


def progress_bar(title: str) -> Callable[[str, int, int], None]:
    """Return a function (stage, done, total) that draws on a terminal, and else does nothing.

    An empty stage removes the bar.
    """

    def draw(stage: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        filled = _BAR_WIDTH * done // total if total else 0
        line = f"{title}: {stage} [{'█' * filled}{' ' * (_BAR_WIDTH - filled)}] {done}/{total}"
        print(f"\r\033[K{line if stage else ''}", end="", file=sys.stderr, flush=True)

    return draw
