"""What is proved once an hour, by a job of its own: it costs more than a look may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import readings
from .facts import Known, Unknown
from .limits import Limit
from .sources import AbsentError, Host, parsed

AGE = Limit("proof_age_hours", "Age of the last hourly proof.", raise_at=3, clear_at=3)
FILE = "proofs.json"


def read(host: Host) -> Known[Any] | Unknown:
    """Return the document of the last proof, if it is not too old.

    Raises:
        AbsentError: the host is too new for one.
        OSError: it cannot be read.
        ValueError: it is damaged.

    """
    path = Path(host.policy.data_dir, FILE)
    if not path.exists():
        if host.is_new(AGE):
            raise AbsentError("nothing was proved yet")
        return Unknown(f"{path} does not exist; did the job proofs ever run?")
    section = readings.section(parsed(path), "proofs")
    at = readings.time(section, "checked_at")
    return host.written(dict(section.items()), at, "the hourly proof", AGE)
