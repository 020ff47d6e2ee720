"""Git, called so that a hostile repository can neither run code nor blur an answer."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from .errors import FactoryError
from .ports import Completed, Run
from .run import ended

LOCAL_SECONDS = 600.0
REMOTE_SECONDS = 120.0

_SETTINGS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.untrackedCache=false",
    "core.quotePath=false",
    "core.preloadIndex=true",
    # Settings that make git see less: two names as one, no change of a mode, or none that keeps
    # size and time. The repository may be set so for comfort, or for another
    # system; what would be deleted is on this one.
    "core.ignoreCase=false",
    "core.fileMode=true",
    "core.symlinks=true",
    "core.precomposeUnicode=false",
    "core.checkStat=default",
    "core.trustCtime=true",
    "core.ignoreStat=false",
    "status.showUntrackedFiles=all",
    "status.relativePaths=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "fetch.prune=false",
    # As a pack: unpacking would touch objects that the repository has already.
    "fetch.unpackLimit=1",
    "maintenance.auto=false",
    "gc.auto=0",
    "protocol.ext.allow=never",
    "log.showSignature=false",
)
_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_PAGER": "cat",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    # Under sudo git would take the caller's repositories for root's.
    "SUDO_UID": "",
}


# Variables that hold what --config-env sets.
_NOTHING, _FALSE = "AINA_FACTORY_NOTHING", "AINA_FACTORY_FALSE"
_ENVIRONMENT |= {_NOTHING: "", _FALSE: "false"}


class GitError(FactoryError):
    """Git failed; the message quotes it."""


class Git:
    """Git on one repository of the caller; git itself refuses those of others.

    Root becomes the owner first (see ``owner``): whoever can write a repository's settings
    could otherwise run programs as root.
    """

    def __init__(self, run: Run, directory: str) -> None:
        """Bind to the working directory or git directory ``directory``."""
        self._run = run
        self.directory = directory
        self._environment: Mapping[str, str] = {}
        self._overrides: tuple[str, ...] = ()
        # Whether settings are included from elsewhere, perhaps for some worktrees only.
        self.includes = False

    def at(self, directory: str) -> Git:
        """Return the same git on another directory of the same repository."""
        other = Git.__new__(Git)
        other._run = self._run
        other.directory = directory
        other._environment = {}
        other._overrides = self._overrides
        other.includes = self.includes
        return other

    def in_tree(self, directory: str) -> Git:
        """Return the same git on the work tree ``directory``, whatever ``core.worktree`` says."""
        other = self.at(directory)
        other._environment = {"GIT_WORK_TREE": directory}
        return other

    def defuse(self) -> None:
        """Switch off every filter and merge driver that the configuration names."""
        pattern = r"^(filter\..*|merge\..*|include|includeif\..*)\."
        found = self.call("config", "-z", "--name-only", "--get-regexp", pattern)
        names = {os.fsdecode(name) for name in found.stdout.split(b"\0") if name}
        self.includes = any(name.startswith("include") for name in names)
        overrides = []
        for name in sorted(names):
            kind, key = name.split(".", 1)[0], name.rsplit(".", 1)[1]
            # Not -c: it would end the name at the first "=", and a driver may be called "a=b".
            if kind == "filter" and key in {"clean", "smudge", "process"}:
                overrides.append(f"--config-env={name}={_NOTHING}")
            elif (kind, key) in {("filter", "required"), ("merge", "driver")}:
                overrides.append(f"--config-env={name}={_FALSE}")
        self._overrides = tuple(overrides)

    def call(
        self,
        *words: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = LOCAL_SECONDS,
    ) -> Completed:
        """Run git to its end, whatever its exit status.

        Raises:
            GitError: git could not be started or did not end in time.

        """
        settings = [part for item in _SETTINGS for part in ("-c", item)]
        argv = ["git", *settings, *self._overrides, "-C", self.directory, *words]
        return ended(
            self._run,
            argv,
            name=f"git {words[0]} in {self.directory}",
            error=GitError,
            stdin=stdin,
            environment={**_ENVIRONMENT, **self._environment, **(environment or {})},
            timeout_seconds=timeout_seconds,
        )

    def output(
        self,
        *words: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float = LOCAL_SECONDS,
    ) -> bytes:
        """Return what git prints.

        Raises:
            GitError: git failed, could not be started or did not end in time.

        """
        done = self.call(
            *words, stdin=stdin, environment=environment, timeout_seconds=timeout_seconds
        )
        if not done.ok:
            raise GitError(f"git {words[0]} in {self.directory}: {done.said}")
        return done.stdout

    def commits_among(
        self, oids: Iterable[str], environment: Mapping[str, str] | None = None
    ) -> set[str]:
        """Return those of ``oids`` that are commits of this repository.

        Raises:
            GitError: git cannot say.

        """
        said = self.output(
            "cat-file", "--batch-check", stdin=lines(sorted(oids)), environment=environment
        )
        answers = (line.split() for line in said.decode().splitlines())
        return {words[0] for words in answers if words[1:2] == ["commit"]}

    @contextmanager
    def scratch_objects(self, common_dir: str) -> Iterator[dict[str, str]]:
        """Give an environment in which new objects go to a directory that is thrown away."""
        with tempfile.TemporaryDirectory(prefix="factory-reap-", dir=_roomiest()) as directory:
            yield {
                "GIT_OBJECT_DIRECTORY": directory,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{_quoted(common_dir)}/objects"',
            }


def _roomiest() -> str:
    """Return the directory for scratch files with most room: a full disk shall not matter."""
    free = {}
    for directory in (tempfile.gettempdir(), "/dev/shm"):  # noqa: S108 - a private directory in it
        if os.access(directory, os.W_OK):
            status = os.statvfs(directory)
            free[directory] = status.f_bavail * status.f_frsize
    return max(free, key=lambda directory: free[directory]) if free else tempfile.gettempdir()


def _quoted(path: str) -> str:
    return path.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def fields(output: bytes) -> list[str]:
    """Split NUL-separated output; a path that is not UTF-8 keeps its bytes as surrogates."""
    return [os.fsdecode(part) for part in output.split(b"\0") if part]


def lines(words: Sequence[str]) -> bytes:
    """Return standard input for a ``--stdin`` option."""
    return "".join(f"{word}\n" for word in words).encode()
