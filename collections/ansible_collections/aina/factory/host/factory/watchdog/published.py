"""The status that the watchdog last wrote, for everybody who shows it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.core.watchdog.settings import WatchdogSettings
from factory.watchdog.store import Reserve, Store

SCHEMA = 1


@dataclass(frozen=True)
class Published:
    """The document and a mark of its content; or, where there is none, why."""

    document: dict[str, Any] | None
    mark: str = ""
    problem: str = ""


def newest(policy: WatchdogSettings, path: str) -> Path:
    """Return where a file of the watchdog lies: on a disk that is full it is in memory."""
    return Store(Reserve(Path(policy.state_dir, "reserve"), 0)).newest(Path(path))


def read(policy: WatchdogSettings) -> Published:
    """Return the newest status."""
    path = newest(policy, policy.status_path)
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except FileNotFoundError:
        words = "the job watchdog writes it (factory jobs: when), or run factory watchdog"
        return Published(None, problem=f"{path} does not exist yet; {words}")
    except (OSError, ValueError) as error:
        return Published(None, problem=f"{path} cannot be read: {error}")
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        problem = f"{path} is not of schema {SCHEMA}; run factory watchdog"
        return Published(None, problem=problem)
    return Published(document, hashlib.sha256(content).hexdigest()[:16])
