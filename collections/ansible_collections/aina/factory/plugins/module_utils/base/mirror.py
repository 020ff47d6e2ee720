"""A bare repository of the server's own, in which nobody's settings count and nothing is checked out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypedDict, Unpack

from .errors import FactoryError
from .git import GitError
from .ports import Completed, Run
from .run import ended

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class TriedMerge:
    """A merge tried in memory."""

    clean: bool
    tree: str
    conflict_paths: tuple[str, ...] = ()


class GitOptions(TypedDict, total=False):
    """How git is run; ``before`` is the program that starts it."""

    stdin: bytes
    environment: Mapping[str, str] | None
    settings: Sequence[str]
    before: Sequence[str]


@dataclass
class BareRepository:
    """The bare copy at ``directory`` of the repository at ``url``; ``environment`` goes to each git."""

    run: Run
    directory: Path
    url: str
    environment: Mapping[str, str] = field(default_factory=dict)

    error: ClassVar[type[FactoryError]] = GitError
    timeout_seconds: ClassVar[float] = 600.0

    def git(self, *arguments: str, **options: Unpack[GitOptions]) -> Completed:
        """Run git to its end, whatever its exit status.

        Raises:
            FactoryError: (``error``) git did not run, or not to its end.

        """
        words = ["git", f"--git-dir={self.directory}", *options.get("settings", ()), *arguments]
        return ended(
            self.run,
            [*options.get("before", ()), *words],
            name=f"git {arguments[0]}",
            error=self.error,
            stdin=options.get("stdin", b""),
            environment={**_ENVIRONMENT, **self.environment, **(options.get("environment") or {})},
            timeout_seconds=self.timeout_seconds,
        )

    def out(self, *arguments: str, **options: Unpack[GitOptions]) -> bytes:
        """Run git, which must succeed, and return what it printed.

        Raises:
            FactoryError: (``error``) it failed.

        """
        done = self.git(*arguments, **options)
        if not done.ok:
            raise self.error(f"git {arguments[0]} ended with {done.returncode}: {done.said}")
        return done.stdout

    def text(self, *arguments: str, **options: Unpack[GitOptions]) -> str:
        """Return what git printed, as :meth:`out` runs it."""
        return self.out(*arguments, **options).decode(errors="replace").strip()

    def ensure(self) -> None:
        """Make the repository when it is not there."""
        if not (self.directory / "HEAD").exists():
            self.out("init", "--bare", "--quiet", "--initial-branch=none")

    def is_ancestor(self, commit: str, of: str) -> bool:
        """Whether ``of`` is the commit, or builds on it."""
        return self.git("merge-base", "--is-ancestor", commit, of).ok

    def merge(self, ours: str, theirs: str) -> TriedMerge:
        """Try to merge two commits in memory.

        Raises:
            FactoryError: (``error``) git does not say.

        """
        words = ("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
        done = self.git(*words)
        # The tree comes first, if git could merge at all: 1 is also how it ends when it could not.
        tree, *paths = done.stdout.decode(errors="replace").split("\0")
        if done.returncode not in (0, 1) or not tree:
            raise self.error(f"git merge-tree of {ours} and {theirs}: {done.said}")
        return TriedMerge(done.ok, tree, tuple(path for path in paths if path))
