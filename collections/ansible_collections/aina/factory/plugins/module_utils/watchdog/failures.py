"""Units that have failed, and the notes that are left of failures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..base.configuration import Section
from .facts import HOUR, Known
from .sources import Host, documents

RECENT_SECONDS = HOUR


@dataclass(frozen=True)
class FailedUnit:
    """A unit that has failed; ``failed`` is its present state, else it has come back since.

    ``run`` names the run of it that failed, where that is known.
    """

    name: str
    failed: bool
    at: float | None
    result: str
    run: str = ""


def notes(host: Host) -> list[FailedUnit]:
    """Return the newest failure of each unit that was ever written down."""
    found = []
    for name, document in documents(Path(host.policy.data_dir, "failures")).items():
        if isinstance(document, Known):
            section = Section(document.value, name)
            at, unit = section.number("failed_at_seconds"), section.text("unit")
            run = section.text("invocation_id", "") or str(at)
            found.append(FailedUnit(unit, False, at, section.text("result", "unknown"), run))
        else:
            found.append(FailedUnit(name, False, None, "the note of it cannot be read", "-"))
    return found


def systemctl(host: Host, *words: str) -> str:
    """Return what ``systemctl`` prints.

    Raises:
        OSError: it failed.

    """
    done = host.run(
        ["systemctl", words[0], "--timestamp=unix", *words[1:]],
        environment={"LC_ALL": "C", "TZ": "UTC"},
        timeout_seconds=host.policy.gather_seconds,
    )
    if not done.ok:
        raise OSError(f"systemctl {words[0]}: {done.said}")
    return done.stdout.decode(errors="replace")
