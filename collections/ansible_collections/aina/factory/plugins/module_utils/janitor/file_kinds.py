"""Kinds made of files: agent sessions, runner leftovers, temporary files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..base import paths
from ..base.disk import Removal
from ..base.paths import PathEntry
from ..base.presence import Presence
from ..base.processes import is_open_elsewhere
from .model import Candidate, KindLimits

# Never an agent's login, configuration or instructions, wherever a pattern may reach.
PROTECTED_NAMES = frozenset(
    {"auth.json", "config.toml", "config.json", "AGENTS.md", "instructions.md", "master.key"}
)
Listing = Callable[[], Iterable[PathEntry]]
Holder = Callable[[PathEntry], str]


def open_holder(presence: Presence) -> Holder:
    """Return a function that names why an entry must stay because of running processes."""

    def held_by(found: PathEntry) -> str:
        if presence.holds_any(found.inodes) or presence.inside(found.path):
            return "open"
        if presence.complete:
            return ""
        return {True: "open", False: "", None: "open_unknown"}[_open_by_lease(found)]

    return held_by


def _open_by_lease(found: PathEntry) -> bool | None:
    """Ask the kernel file by file; a process that merely sits in a directory goes unseen."""
    unknown = False
    for descriptor in paths.opened_files(found):
        answer = None if descriptor is None else is_open_elsewhere(descriptor)
        if answer:
            return True
        unknown = unknown or answer is None
    return None if unknown else False


class FileKind:
    """Entries of one or several directories that go by age, total size and watermark."""

    def __init__(
        self,
        name: str,
        limits: KindLimits,
        listing: Listing,
        presence: Callable[[], Presence],
        watched_device: int,
        *,
        busy: Callable[[], Holder] = lambda: lambda found: "",
        prune_parents: bool = False,
    ) -> None:
        """Describe the kind; ``presence`` and ``busy`` look at the processes anew each time."""
        self.name = name
        self.limits = limits
        self._listing = listing
        self._presence = presence
        self._watched_device = watched_device
        self._busy = busy
        self._prune_parents = prune_parents

    def inventory(self) -> Sequence[Candidate]:
        """List the entries; see ``Kind``."""
        found = list(self._listing())
        held_by = self._holder()
        return [self._candidate(item, held_by) for item in found]

    def _holder(self) -> Holder:
        busy, open_elsewhere = self._busy(), open_holder(self._presence())

        def held_by(found: PathEntry) -> str:
            mounted = "mount_inside" if found.mounted_inside else ""
            return mounted or busy(found) or open_elsewhere(found)

        return held_by

    def _candidate(self, found: PathEntry, held_by: Holder) -> Candidate:
        protected = found.parts[-1] in PROTECTED_NAMES
        return Candidate(
            kind=self.name,
            target=found.path,
            bytes=found.bytes,
            last_used=found.last_used,
            held_by="protected" if protected else held_by(found),
            counted=found.device == self._watched_device,
            handle=found,
        )

    def remove(self, candidate: Candidate) -> Removal:
        """Remove the entry unless somebody opened or changed it since; see ``Kind``."""
        found = candidate.handle
        if not isinstance(found, PathEntry):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        reason = self._holder()(found)
        if reason:
            return Removal(False, 0, reason)
        if not paths.remove(found):
            return Removal(False, 0, "changed")
        if self._prune_parents:
            paths.remove_empty_parents(found)
        return Removal(True, candidate.bytes, "")
