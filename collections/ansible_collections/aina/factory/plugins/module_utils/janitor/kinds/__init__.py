"""The one list of all kinds: each is a file beside this one, in the order in which they give up space.

The cheapest loss comes first. A file has ``read``, which takes its own keys out of the section
``janitor``, and settings whose ``kinds`` are the kinds as they are on a host.
"""

from __future__ import annotations

from collections.abc import Callable

from ...base.configuration import Section
from ..host import Settings
from . import (
    apt_cache,
    codex_sessions,
    docker,
    journal,
    logs,
    package_stores,
    pip_caches,
    runner,
    temporary,
    worktrees,
)

READERS: tuple[Callable[[Section], Settings], ...] = (
    worktrees.read,
    apt_cache.read,
    pip_caches.read,
    journal.read,
    temporary.read,
    runner.read,
    logs.read,
    codex_sessions.read,
    package_stores.read,
    docker.read,
)
