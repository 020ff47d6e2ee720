"""Find the secrets that this server was given, by name."""

from __future__ import annotations

import os
from pathlib import Path

from factory.outcome import UsageError

# What host_baseline_secrets declares; each readable by its user alone.
STORE = Path("/etc/aina-factory/secrets")


def path_of(name: str) -> Path:
    """Return the file that holds a credential: what systemd passed, else the host's store.

    Raises:
        UsageError: there is none, or others may read it.

    """
    passed = os.environ.get("CREDENTIALS_DIRECTORY")
    for directory in (Path(passed) if passed else None, STORE):
        path = directory / name if directory else None
        if path is not None and path.is_file():
            if directory == STORE and path.stat().st_mode & 0o077:
                raise UsageError(
                    f"{path} can be read by others; chmod 0600 it and change the secret"
                )
            return path
    raise UsageError(
        f"there is no credential {name}: declare it in host_baseline_secrets, or give it to the job "
        f"(credentials: [{name}:/path])"
    )
