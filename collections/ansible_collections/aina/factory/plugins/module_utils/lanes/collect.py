"""Git on the host's side: the read-only mirror, and what a lane hands over.

Git never runs in a directory that a lane has written: a bundle is bytes, checked object by
object on the way into a bare repository of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.aina.factory.plugins.module_utils.ports import Completed, Run

FETCH_SECONDS = 600.0
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0")


class CollectError(Exception):
    """Git refused; the message quotes it."""


@dataclass(frozen=True)
class Work:
    """What a bundle holds against its base."""

    head: str
    commits_count: int
    paths: tuple[str, ...]
    subject: str
    summary: str


@dataclass
class Repository:
    """A bare repository of one project; ``login`` is the environment that lets git log in.

    ``prefix`` is the argument list that turns the program into one of an unprivileged user.
    """

    run: Run
    directory: Path
    url: str
    login: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()

    def _git(self, *arguments: str, login: bool = False) -> Completed:
        environment = {**_ENVIRONMENT, **(self.login if login else {})}
        argv = [*self.prefix, "git", f"--git-dir={self.directory}", *_SAFE, *arguments]
        try:
            return self.run(argv, environment=environment, timeout_seconds=FETCH_SECONDS)
        except (OSError, TimeoutError) as error:
            raise CollectError(f"git {arguments[0]}: {error}") from error

    def out(self, *arguments: str, login: bool = False) -> str:
        """Run git and return what it printed.

        Raises:
            CollectError: it failed.

        """
        done = self._git(*arguments, login=login)
        if not done.ok:
            words = done.stderr.decode(errors="replace").strip()[-500:]
            raise CollectError(f"git {arguments[0]} ended with {done.returncode}: {words}")
        return done.stdout.decode(errors="replace").strip()

    def ensure(self) -> None:
        """Make the repository when it is not there."""
        if not (self.directory / "HEAD").exists():
            self.out("init", "--bare", "--quiet", "--initial-branch=none")

    def update(self, branch: str) -> str:
        """Fetch the newest ``branch`` and return its commit; the caller holds the mirror's lock."""
        self.ensure()
        refspec = f"+refs/heads/{branch}:refs/heads/{branch}"
        self.out("fetch", "--quiet", "--no-tags", "--prune", self.url, refspec, login=True)
        return self.out("rev-parse", "--verify", f"refs/heads/{branch}^{{commit}}")

    def repack(self, keep_days: float) -> None:
        """Make the repository small again; what a running lane may still read stays."""
        self.out("repack", "-A", "-d", "-q", f"--unpack-unreachable={keep_days:.0f}.days.ago")
        self.out("prune", f"--expire={keep_days:.0f}.days.ago")

    def show(self, branch: str, path: str) -> str | None:
        """Return a file of a branch; ``None`` when it has none of that name."""
        done = self._git("show", f"refs/heads/{branch}:{path}")
        return done.stdout.decode(errors="replace") if done.ok else None

    def take(self, bundle: Path, base: str, lane: str) -> Work:
        """Check a bundle and take its one branch over as ``refs/lanes/<lane>``.

        Raises:
            CollectError: it is no bundle, holds something broken, or does not build on ``base``.

        """
        ref = f"refs/lanes/{lane}"
        strict = ("-c", "fetch.fsckObjects=true", "-c", "transfer.fsckObjects=true")
        self.out("bundle", "verify", "--quiet", str(bundle))
        self.out(*strict, "fetch", "--quiet", "--no-tags", str(bundle), f"+refs/heads/lane:{ref}")
        head = self.out("rev-parse", "--verify", f"{ref}^{{commit}}")
        if not self._git("merge-base", "--is-ancestor", base, head).ok:
            self.forget(lane)
            raise CollectError(f"the bundle does not build on {base}")
        paths = self.out("diff-tree", "-r", "-z", "--no-renames", "--name-only", base, head)
        return Work(
            head=head,
            commits_count=int(self.out("rev-list", "--count", f"{base}..{head}")),
            paths=tuple(path for path in paths.split("\0") if path),
            subject=self.out("log", "-1", "--format=%s", head),
            summary=self.out("diff", "--shortstat", "--no-ext-diff", "--no-textconv", base, head),
        )

    def push(self, lane: str, branch: str) -> None:
        """Push a lane's work; a branch that is another's is never overwritten."""
        refspec = f"refs/lanes/{lane}:refs/heads/{branch}"
        self.out("push", "--quiet", "--no-verify", self.url, refspec, login=True)

    def forget(self, lane: str) -> None:
        """Drop a lane's reference; its objects go with the next repack."""
        self.out("update-ref", "-d", f"refs/lanes/{lane}")


def guarded(paths: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """Return the paths under guard: a directory's with a slash at its end, a file of that name anywhere."""
    found = []
    for path in paths:
        for pattern in patterns:
            inside = pattern.endswith("/") and (
                path.startswith(pattern) or f"/{pattern}" in f"/{path}"
            )
            if inside or path == pattern or path.endswith(f"/{pattern}"):
                found.append(path)
                break
    return found
