"""What programs know in the words of people; pure."""

from __future__ import annotations

from collections.abc import Mapping

_LENGTHS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))


def size(count: float) -> str:
    """Return bytes for people, in binary units; a sign is kept."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(amount) < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def printable(text: str) -> str:
    """Return a file name that cannot move the cursor, whatever bytes it holds."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def duration(seconds: float) -> str:
    """Return a length of time for people."""
    for length, unit in _LENGTHS:
        if abs(seconds) >= length:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def waits(item: Mapping[str, str]) -> str:
    """Return what waits, as results list ``waiting``, in one sentence."""
    return f"{item['what']} waits for {item['for']}: {item['remedy']}"
