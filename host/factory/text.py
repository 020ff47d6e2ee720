"""How the command speaks to people."""

from __future__ import annotations

import sys
from collections.abc import Callable

_BAR_WIDTH = 30


def size(count: int) -> str:
    """Return bytes for people, in binary units."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def printable(text: str) -> str:
    """Return a file name that cannot move the cursor, whatever bytes it holds."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def progress_bar(title: str) -> Callable[[str, int, int], None]:
    """Return a function (stage, done, total) that draws on a terminal, and else does nothing.

    An empty stage removes the bar.
    """

    def draw(stage: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        filled = _BAR_WIDTH * done // total if total else 0
        bar = f"{title}: {stage} [{'█' * filled}{' ' * (_BAR_WIDTH - filled)}] {done}/{total}"
        print(f"\r\033[K{bar if stage else ''}", end="", file=sys.stderr, flush=True)

    return draw
