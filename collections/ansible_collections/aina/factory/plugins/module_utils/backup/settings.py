"""Section ``backup`` of the configuration: what is backed up, and where."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..base.settings import setting

# A user, and maybe a password, in an address.
USER_PART = re.compile(r"(?<=//)[^/@\s]+@")
_CREDENTIAL = (r"[A-Za-z0-9_.-]+", "be the name of a credential")


@dataclass(frozen=True)
class KeptSnapshots:
    """How many snapshots stay."""

    daily: int = setting(7, "The last ones of so many days.", minimum=0)
    weekly: int = setting(4, "The last ones of so many weeks.", minimum=0)
    monthly: int = setting(6, "The last ones of so many months.", minimum=0)

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield that nothing would stay."""
        if not any((self.daily, self.weekly, self.monthly)):
            yield "daily", "be more than 0, or weekly or monthly: keep at least one snapshot"


@dataclass(frozen=True)
class BackupSettings:
    """What restic backs up, and where. Secrets are names of credentials, never values."""

    repository: str = setting(
        "",
        "Where restic keeps the snapshots; a path or an address without user and password. Nothing"
        " is backed up without one.",
    )
    password_credential: str = setting(
        "restic-password",
        "Name of the credential with the repository's password.",
        form=_CREDENTIAL,
    )
    environment_credentials: Mapping[str, str] = setting(
        {},
        "Variables that restic is given besides, and the names of the credentials that hold them.",
        names=("[A-Z][A-Z0-9_]*", "map a variable's name to a credential's name"),
        form=_CREDENTIAL,
    )
    paths: tuple[str, ...] = setting((), "What is backed up, absolute paths.", kind="path")
    excludes: tuple[str, ...] = setting((), "Patterns of what is left out.")
    before: tuple[object, ...] = setting(
        (), "Commands that run first, each a list of words, such as a database's own dump."
    )
    keep: KeptSnapshots = setting(KeptSnapshots(), "How many snapshots stay.")
    check_subset_percent: int = setting(
        5, "How much of the repository's data one verification reads.", minimum=1, maximum=100
    )

    @property
    def commands(self) -> tuple[list[str], ...]:
        """The commands that run first."""
        return tuple(
            [str(word) for word in argv] for argv in self.before if isinstance(argv, list | tuple)
        )

    def contradictions(self) -> Iterator[tuple[str, str] | tuple[str, str, str]]:
        """Yield what a backup cannot do without, and what nobody may read here."""
        if not self.repository:
            yield "repository", "say where the snapshots are kept"
        if USER_PART.search(self.repository):
            yield (
                "repository",
                "hold no user name or password; name a credential in environment_credentials, such"
                " as RESTIC_REST_PASSWORD, instead",
                USER_PART.sub("", self.repository),
            )
        if not self.paths:
            yield "paths", "name at least one path"
        for argv in self.before:
            words = argv if isinstance(argv, list | tuple) else []
            if not words or not all(isinstance(word, str) for word in words):
                yield "before", "be a list of commands, each a list of words"
