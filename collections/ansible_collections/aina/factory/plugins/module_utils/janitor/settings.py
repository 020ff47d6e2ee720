"""Section ``janitor`` of the configuration: what the server may forget, and when.

Here all kinds are listed, in the order in which they give up space: the cheapest loss first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..base.settings import setting
from .host import Host, Settings
from .kinds import (
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
from .model import Kind, Watermarks


@dataclass(frozen=True)
class Janitor:
    """What the server may forget, and when."""

    renamed: ClassVar[Mapping[str, str]] = {"worktrees": "worktrees_enabled"}

    disk_path: str = setting("/", "A path on the filesystem whose use counts.", kind="path")
    disk_used_high_percent: float = setting(
        80,
        "Above this use the janitor also gives up what is within its limits.",
        minimum=1,
        maximum=99,
    )
    disk_used_low_percent: float = setting(
        70, "At this use it stops giving up what is within its limits.", minimum=1, maximum=99
    )
    image_use_path: str = setting(
        "/var/lib/aina-factory/image-use.json",
        "Where is kept when each image was last used.",
        kind="path",
        by="role",
    )
    image_heard_path: str = setting(
        "/var/lib/aina-factory/image-heard.json",
        "Where the listener of the engine's events writes down which images it hears of.",
        kind="path",
        by="role",
    )
    worktrees_enabled: bool = setting(True, "Whether worktrees whose work has landed are reaped.")
    apt_cache: apt_cache.AptCacheSettings = setting(
        apt_cache.DEFAULT, "Package files that apt has installed."
    )
    pip_caches: pip_caches.PipCachesSettings = setting(
        pip_caches.DEFAULT, "Caches of pip and uv in the homes of users."
    )
    journal: journal.JournalSettings = setting(
        journal.DEFAULT, "Archived files of the systemd journal."
    )
    temporary: temporary.TemporarySettings = setting(
        temporary.DEFAULT, "Direct entries of directories of leftovers."
    )
    runner: runner.RunnerSettings = setting(
        runner.DEFAULT, "Leftovers of runner installations, the roots."
    )
    logs: logs.LogsSettings = setting(logs.DEFAULT, "Logs.")
    codex_sessions: codex_sessions.CodexSessionsSettings = setting(
        codex_sessions.DEFAULT, "Session files below agent homes, the roots."
    )
    package_stores: tuple[package_stores.PackageStore, ...] = setting(
        (), "Stores of pnpm whose unreferenced packages go."
    )
    docker: docker.DockerSettings = setting(
        docker.DockerSettings(), "Leftovers of the Docker engine."
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a low mark that is not below the high one."""
        if self.disk_used_low_percent >= self.disk_used_high_percent:
            high = self.disk_used_high_percent
            yield "disk_used_low_percent", f"be below disk_used_high_percent, which is {high:g}"

    @property
    def watermarks(self) -> Watermarks:
        """The marks as a plan takes them."""
        return Watermarks(self.disk_used_high_percent, self.disk_used_low_percent)

    def kinds(self, host: Host) -> list[Kind]:
        """Return all kinds as they are on a host."""
        declared: tuple[Settings, ...] = (
            worktrees.WorktreesSettings(self.worktrees_enabled),
            self.apt_cache,
            self.pip_caches,
            self.journal,
            self.temporary,
            self.runner,
            self.logs,
            self.codex_sessions,
            package_stores.PackageStoresSettings(self.package_stores),
            self.docker,
        )
        return [kind for settings in declared for kind in settings.kinds(host)]
