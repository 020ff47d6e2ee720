"""Build an origin, a checkout and lanes; land lanes the way a forge does it."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corpus.git import Git, GitError
from corpus.labels import Label

DAY_SECONDS = 86_400
LINES = 40

# None deletes the file.
Files = Mapping[str, str | bytes | None]


@dataclass(frozen=True)
class Shape:
    """How large each worktree is: files tracked by git, and files of dependencies."""

    tracked_files: int
    dependency_files: int


SHAPES = {"small": Shape(20, 12), "realistic": Shape(3_000, 20_000)}


def text(*changes: tuple[int, str]) -> str:
    """Return a file of numbered lines with some of them replaced."""
    lines = [f"line {number}" for number in range(1, LINES + 1)]
    for number, words in changes:
        lines[number - 1] = words
    return "\n".join(lines) + "\n"


class Lane:
    """One worktree under construction."""

    def __init__(self, factory: Factory, path: Path, branch: str | None, area: str) -> None:
        """Describe the worktree at ``path``; it exists already."""
        self.factory = factory
        self.path = path
        self.branch = branch
        self.area = area
        """The prefix of files that no other lane touches."""
        self.base = self.git("rev-parse", "HEAD")
        self.landed: list[str] = []
        self.age_seconds: int | None = None

    def git(self, *arguments: str, stdin: bytes = b"", fails: bool = False) -> str:
        """Run git in the worktree."""
        return self.factory.git(self.path, *arguments, stdin=stdin, fails=fails)

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")

    @property
    def admin(self) -> Path:
        """Git's own directory of this worktree."""
        return Path(self.git("rev-parse", "--absolute-git-dir"))

    def unique(self) -> str:
        """Return words that stand nowhere else."""
        return f"{self.area} {self.factory.random.getrandbits(64):016x}"

    def write(self, files: Files) -> None:
        """Write or delete files of the worktree."""
        put(self.path, files)

    def commit(self, files: Files, message: str = "Work", *options: str) -> str:
        """Commit ``files`` and return the commit's id."""
        self.write(files)
        self.git("add", "--all", "--", *files)
        self.git("commit", "-q", "-m", message, *options)
        return self.head

    def work(self, commits: int = 1) -> None:
        """Make the usual changes: a new file and an edited one."""
        for number in range(commits):
            self.commit(
                {
                    f"{self.area}-new{number}.ts": self.unique(),
                    f"{self.area}-text.ts": text((5 + number, self.unique())),
                }
            )

    def push(self, *references: str, revision: str = "HEAD") -> None:
        """Push a revision to references of the origin."""
        self.git("push", "-q", "origin", *[f"+{revision}:{name}" for name in references])


def put(directory: Path, files: Files) -> None:
    """Write or delete files below ``directory``."""
    for name, content in files.items():
        path = directory / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


class Factory:
    """The origin, the checkout, and the place where landings happen."""

    def __init__(self, root: Path, *, style: str, seed: int, shape: Shape, now: int) -> None:
        """Create the repositories; ``now`` is the present, in seconds since the epoch."""
        self.root = root
        self.style = style
        self.shape = shape
        self.random = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self.now = now
        self.git = Git(now - 60 * DAY_SECONDS)
        self.origin = root / "origin.git"
        self.checkout = root / "repository"
        self.workspaces = root / "agent-workspaces"
        self.outside = root / "outside"
        self.canary = root / "canary"
        self.landing = root / "landing"
        self._numbers = iter(range(1, 1_000_000))
        self.pull_requests: list[dict[str, object]] = []
        self._damages: list[Callable[[], object]] = []
        self._start()

    def _start(self) -> None:
        self.root.mkdir(parents=True)
        self.workspaces.mkdir()
        put(self.outside, {"precious.txt": "outside of every worktree\n"})
        self.git(self.root, "init", "-q", "--bare", "-b", "main", str(self.origin))
        tree = self.git(self.origin, "hash-object", "-t", "tree", "-w", "--stdin")
        first = self.git(self.origin, "commit-tree", "-m", "Start", tree)
        self.git(self.origin, "update-ref", "refs/heads/main", first)
        # Landings happen in a worktree of the origin: no objects need to travel.
        self.git(self.origin, "worktree", "add", "-q", "--detach", str(self.landing), "main")
        files: dict[str, str | bytes] = {
            ".gitignore": "node_modules/\ndist/\n.next/\n__pycache__/\n*.tsbuildinfo\n"
            ".env\n*.sqlite\n.cache/\nscratch/\n"
            "build/\ncoverage/\nout/\ntarget/\n.venv/\n.mypy_cache/\n",
            "README.md": "A project\n",
            "docs/index.md": "Documents\n",
        }
        for number in range(self.shape.tracked_files):
            files[f"src/package{number // 50}/module{number}.ts"] = f"export const n = {number}\n"
        put(self.landing, files)
        self.git(self.landing, "add", "--all")
        self.git(self.landing, "commit", "-q", "-m", "Begin")
        self._publish()
        self.git(self.root, "clone", "-q", str(self.origin), str(self.checkout))

    def tick(self) -> None:
        self.git.seconds += 3_600

    def lane(
        self,
        name: str | None = None,
        *,
        place: Path | None = None,
        start: str = "origin/main",
        detached: bool = False,
        branch: str | None = None,
        options: tuple[str, ...] = (),
        text_on_main: bool = False,
    ) -> Lane:
        """Add a worktree as a dispatcher of lanes does."""
        number = next(self._numbers)
        area = f"area{number:03}"
        if text_on_main:
            self.main({f"{area}-text.ts": text((1, area))}, "Add a text")
            self.fetch()
        self.tick()
        path = (place or self.workspaces) / (name or f"lane-{number:03}")
        path.parent.mkdir(parents=True, exist_ok=True)
        chosen = None if detached else branch or f"lane/{number:03}"
        kind = ["--detach"] if chosen is None else ["-b", chosen]
        self.git(self.checkout, "worktree", "add", "-q", *options, *kind, "--", str(path), start)
        return Lane(self, path, chosen, area)

    # Landings. The lane's commits reach the origin as a pull request's head does.

    def _propose(self, lane: Lane) -> str:
        number = next(self._numbers)
        reference = f"refs/pull/{number}/head"
        lane.push(reference)
        self.git(self.landing, "reset", "-q", "--hard", "refs/heads/main")
        self.pull_requests.append(
            {"number": number, "branch": lane.branch, "head": lane.head, "merged": True}
        )
        return reference

    def _publish(self, forget: str | None = None) -> None:
        self.git(self.landing, "update-ref", "refs/heads/main", "HEAD")
        if forget:
            self.git(self.origin, "update-ref", "-d", forget)

    def land(
        self,
        lane: Lane,
        style: str | None = None,
        *,
        keep_pull: bool = False,
        edit: Files | None = None,
    ) -> None:
        """Land the lane; ``edit`` is what a person changes by hand while squashing.

        Without ``keep_pull`` the origin forgets the pull request's reference, so that
        the landing itself is all the evidence there is.
        """
        self.tick()
        lane.landed += lane.git("rev-list", "HEAD", "--not", lane.base).split()
        reference = self._propose(lane)
        git, at = self.git, self.landing
        kind = style or self.style
        if kind == "squash":
            git(at, "merge", "-q", "--squash", reference)
            if edit:
                put(at, edit)
                git(at, "add", "--all")
            git(at, "commit", "-q", "--allow-empty", "-m", f"Land {lane.area}")
        elif kind == "rebase":
            # A detached rebase: the lane's commits on top of main, new ids.
            git(at, "checkout", "-q", "--detach", reference)
            git(at, "rebase", "-q", "--force-rebase", "refs/heads/main")
        elif kind == "merge":
            git(at, "merge", "-q", "--no-ff", "-m", f"Merge {lane.area}", reference)
        elif kind == "forward":
            git(at, "merge", "-q", "--ff-only", reference)
        else:
            raise ValueError(kind)
        self._publish(None if keep_pull else reference)

    def pick(self, lane: Lane, *revisions: str) -> None:
        """Cherry-pick some of the lane's commits to main."""
        self.tick()
        reference = self._propose(lane)
        self.pull_requests.pop()
        # Without an -x line and with a later date, the ids differ.
        self.git(self.landing, "cherry-pick", *revisions)
        self._publish(reference)

    def main(self, files: Files, message: str = "Edit main") -> None:
        """Let somebody else change main."""
        self.tick()
        self.git(self.landing, "reset", "-q", "--hard", "refs/heads/main")
        put(self.landing, files)
        self.git(self.landing, "add", "--all")
        self.git(self.landing, "commit", "-q", "-m", message)
        self._publish()

    def revert_last(self) -> None:
        """Take the last landing back on main."""
        self.tick()
        options = ["-m", "1"] if " " in self._parents() else []
        self.git(self.landing, "revert", "--no-edit", *options, "HEAD")
        self._publish()

    def _parents(self) -> str:
        return self.git(self.landing, "log", "-1", "--format=%P")

    def fetch(self) -> None:
        """Bring the checkout's view of main up to date."""
        self.git(self.checkout, "fetch", "-q", "origin", "main")

    def side_repository(self, name: str) -> Path:
        """Return a small bare repository with one commit, for submodules and clones."""
        bare = self.root / f"{name}.git"
        if not bare.exists():
            self.git(self.root, "init", "-q", "--bare", "-b", "main", str(bare))
            clone = self.root / f"{name}-clone"
            self.git(self.root, "clone", "-q", str(bare), str(clone))
            put(clone, {"library.txt": "library\n"})
            self.git(clone, "add", "--all")
            self.git(clone, "commit", "-q", "-m", "Begin library")
            self.git(clone, "push", "-q", "origin", "HEAD:refs/heads/main")
            shutil.rmtree(clone)
        return bare

    def dependencies(self, lane: Lane) -> None:
        """Install what a package manager would: ignored, rebuildable files."""
        for number in range(self.shape.dependency_files):
            folder = lane.path / "node_modules" / f"package{number // 20}" / "lib"
            folder.mkdir(parents=True, exist_ok=True)
            # Sizes as in real packages: many small files and few large ones.
            size = 60_000 if number % 97 == 0 else 200 + (number * 37) % 3_000
            (folder / f"file{number}.js").write_bytes(b"x" * size)

    def later(self, damage: Callable[[], object]) -> None:
        """Break something only when everything else stands: some damage stops git."""
        self._damages.append(damage)

    def finish(self, made: list[tuple[Lane, Label]]) -> None:
        """Remove the scaffolding, break what shall be broken, set all times."""
        self.git(self.origin, "worktree", "remove", "--force", str(self.landing))
        admins = admin_directories(self.checkout)
        for lane, _ in made:
            if lane.path.is_dir():
                with suppress(GitError):  # dirty, or stopped half-way
                    lane.git("update-index", "-q", "--refresh")
        for damage in self._damages:
            damage()
        for lane, _ in made:
            days = self.random.randint(2, 40)
            age = days * DAY_SECONDS if lane.age_seconds is None else lane.age_seconds
            touch(lane.path, self.now - age - 60)
            if lane.path in admins:
                touch(admins[lane.path], self.now - age)
        touch(self.root / "moved", self.now - 9 * DAY_SECONDS)
        touch(self.root / "big-disk", self.now - 9 * DAY_SECONDS)
        self.canary.unlink(missing_ok=True)


def admin_directories(checkout: Path) -> dict[Path, Path]:
    """Return git's own directory of each worktree, by the path it was made at."""
    found = {}
    for admin in (checkout / ".git" / "worktrees").iterdir():
        written = (admin / "gitdir").read_bytes()
        found[Path(os.fsdecode(written[: -len(b"/.git\n")]))] = admin
    return found


def touch(directory: Path, seconds: int) -> None:
    """Give everything below ``directory``, and itself, one time; never follow links."""
    for folder, folders, files in os.walk(directory, topdown=False):
        for name in [*folders, *files]:
            os.utime(Path(folder, name), (seconds, seconds), follow_symlinks=False)
    if os.path.lexists(directory):
        os.utime(directory, (seconds, seconds), follow_symlinks=False)
