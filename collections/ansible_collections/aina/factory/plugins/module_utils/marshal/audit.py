"""The audit log: JSON lines in which every record carries the hash of the one before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

GENESIS = "0" * 64


def line(record: Mapping[str, Any], previous: str) -> tuple[str, str]:
    """Return the line for a record and its hash, which the next record will carry."""
    body = {**record, "previous": previous}
    digest = _digest(body)
    return json.dumps({**body, "hash": digest}, sort_keys=True) + "\n", digest


def verify(lines: Iterable[str], begins: str = GENESIS, holds: str = "") -> str:
    """Return the hash of the last record of a log that goes on from the hash ``begins``.

    Raises:
        ValueError: a line is damaged, missing, added or out of order; names its number. Or the log
            ends before the record with the hash ``holds``.

    """
    previous, held = begins, holds in ("", begins)
    for number, text in enumerate(lines, 1):
        try:
            body = json.loads(text)
            digest = body.pop("hash")
            intact = body["previous"] == previous and _digest(body) == digest
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"line {number} is no audit record") from error
        if not intact:
            raise ValueError(f"line {number} breaks the chain")
        previous, held = digest, held or digest == holds
    if not held:
        raise ValueError("its end is gone: records were there when the state was saved last")
    return previous


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
