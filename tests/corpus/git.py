"""Run git hermetically: no configuration of the machine, a clock that we set."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

PERSON = "Lane"
MAIL = "lane@example.com"


class GitError(RuntimeError):
    """A git command failed; the message holds its words."""


class Git:
    """Starts git; ``seconds`` is the time that commits and reflogs will carry."""

    def __init__(self, seconds: int) -> None:
        """Begin the clock at ``seconds`` since the epoch."""
        self.seconds = seconds

    def environment(self) -> dict[str, str]:
        """Return an environment in which the machine's own settings do not count."""
        stamp = f"@{self.seconds} +0000"
        keep = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        settings = {
            "protocol.file.allow": "always",
            "gc.auto": "0",
            "maintenance.auto": "false",
            "advice.detachedHead": "false",
            "init.defaultBranch": "main",
        }
        counted = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return keep | counted | {
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": PERSON,
            "GIT_AUTHOR_EMAIL": MAIL,
            "GIT_COMMITTER_NAME": PERSON,
            "GIT_COMMITTER_EMAIL": MAIL,
            "GIT_AUTHOR_DATE": stamp,
            "GIT_COMMITTER_DATE": stamp,
            "GIT_EDITOR": "true",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C.UTF-8",
        }  # fmt: skip

    def __call__(
        self,
        directory: Path,
        *arguments: str,
        stdin: bytes = b"",
        fails: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Return what git printed, stripped; a failure is an error unless ``fails``.

        Raises:
            GitError: git failed although it should not, or the other way round.

        """
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            input=stdin,
            env=self.environment() | dict(environment or {}),
            capture_output=True,
            check=False,
        )
        if (done.returncode != 0) != fails:
            words = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise GitError(f"git {' '.join(arguments)} in {directory}: {done.returncode}: {words}")
        return os.fsdecode(done.stdout).strip()
