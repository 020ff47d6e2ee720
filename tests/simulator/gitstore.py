"""A real bare git repository: every commit, merge and conflict is git's own."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ZERO = "0" * 40


class GitError(Exception):
    """Git refused; the text is git's own."""


class ConflictError(GitError):
    """Two histories change the same lines."""


@dataclass(frozen=True)
class Identity:
    """Who wrote or applied a commit."""

    name: str
    email: str


@dataclass(frozen=True)
class FileChange:
    """One file between two trees; ``status`` is git's letter."""

    path: str
    status: str
    additions: int
    deletions: int
    blob: str


CONFIGURATION = """\
[http]
\treceivepack = true
[uploadpack]
\tallowAnySHA1InWant = true
[receive]
\tautogc = false
[gc]
\tauto = 0
"""
UPDATE_HOOK = Path(__file__).parent / "hooks/update"
WEB = Identity("GitHub", "noreply@github.com")


class GitStore:
    """One bare repository. Refs are cached; ``reload`` reads them again after a push."""

    def __init__(self, path: Path) -> None:
        """Open the repository at ``path``, making it when it is not there."""
        self.path = path
        self._compared: dict[tuple[str, str], tuple[int, int]] = {}
        self._merge_bases: dict[tuple[str, str], str | None] = {}
        self._changes: dict[tuple[str, str], list[FileChange]] = {}
        self._merged_trees: dict[tuple[str, str], str | None] = {}
        self._commits: dict[str, dict[str, str]] = {}
        if not (path / "HEAD").exists():
            path.mkdir(parents=True, exist_ok=True)
            # No template: sample hooks are files to write and to remove again.
            self.git("init", "--quiet", "--bare", "--template=", "--initial-branch=main", ".")
            with (path / "config").open("a", encoding="utf-8") as file:
                file.write(CONFIGURATION)
            (path / "hooks").mkdir(exist_ok=True)
            (path / "hooks/update").symlink_to(UPDATE_HOOK)
        self.refs: dict[str, str] = {}
        self.reload()

    def git(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> str:
        """Run git here and return its output without the last newline."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            input=stdin,
            capture_output=True,
            env={**git_environment(), **(environment or {})},
            check=False,
        )
        if done.returncode:
            raise GitError(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode(errors="replace").rstrip("\n")

    # --- refs ---------------------------------------------------------------

    def reload(self) -> None:
        """Read all refs from disk."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        self.refs = dict(line.split(" ", 1) for line in lines)

    def branch(self, name: str) -> str | None:
        """Return the tip of a branch."""
        return self.refs.get(f"refs/heads/{name}")

    def update_ref(self, ref: str, new: str, old: str | None = None) -> None:
        """Move a ref; with ``old``, only when it is still there.

        Raises:
            GitError: the ref has moved, or git refuses the name.

        """
        self.git("update-ref", ref, new, *([old] if old is not None else []))
        self.refs[ref] = new

    def delete_ref(self, ref: str) -> None:
        self.git("update-ref", "-d", ref)
        self.refs.pop(ref, None)

    def update_refs(self, refs: Mapping[str, str]) -> None:
        """Create or move many refs at once."""
        lines = "".join(f"update {ref} {oid}\n" for ref, oid in refs.items())
        self.git("update-ref", "--stdin", stdin=lines.encode())
        self.refs.update(refs)

    # --- reading ------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a branch, tag, ref or (short) oid names."""
        for ref in (
            revision,
            f"refs/heads/{revision}",
            f"refs/tags/{revision}",
            f"refs/{revision}",
        ):
            if ref in self.refs:
                return self.refs[ref]
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        except GitError:
            return None

    def commit(self, oid: str) -> dict[str, str]:
        """Return tree, parents (space separated), author and committer parts, and message.

        Raises:
            GitError: there is no such commit.

        """
        if oid not in self._commits:
            layout = "%T%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ce%x00%ct%x00%B"
            text = self.git("show", "--no-patch", f"--format={layout}", f"{oid}^{{commit}}")
            names = "tree parents author_name author_email author_time committer_name"
            keys = [*names.split(), "committer_email", "committer_time", "message"]
            self._commits[oid] = dict(zip(keys, text.split("\0", 8), strict=True))
            self._commits[oid]["message"] = self._commits[oid]["message"].rstrip("\n")
        return self._commits[oid]

    def parents(self, oid: str) -> list[str]:
        """Return the parents of a commit."""
        return self.commit(oid)["parents"].split()

    def merge_base(self, base: str, head: str) -> str | None:
        """Return the best common ancestor."""
        if (base, head) not in self._merge_bases:
            try:
                found: str | None = self.git("merge-base", base, head)
            except GitError:
                found = None
            self._merge_bases[base, head] = found
        return self._merge_bases[base, head]

    def compare(self, base: str, head: str) -> tuple[int, int]:
        """Return how many commits ``head`` is ahead of and behind ``base``."""
        if (base, head) not in self._compared:
            text = self.git("rev-list", "--left-right", "--count", f"{base}...{head}")
            behind, ahead = text.split()
            self._compared[base, head] = (int(ahead), int(behind))
        return self._compared[base, head]

    def commits_between(self, base: str, head: str) -> list[str]:
        """Return the commits of ``head`` that ``base`` does not have, oldest first."""
        return self.git("rev-list", "--reverse", "--topo-order", f"{base}..{head}").split()

    def log(self, head: str, limit: int) -> list[str]:
        return self.git("rev-list", f"--max-count={limit}", head).split()

    def changes(self, base: str, head: str) -> list[FileChange]:
        """Return the files that differ between two commits, renames as delete and add."""
        if (base, head) not in self._changes:
            raw = self.git(
                "diff-tree", "-r", "-z", "--raw", "--numstat", "--no-renames", base, head
            )
            self._changes[base, head] = _parse_changes(raw)
        return self._changes[base, head]

    def pull_changes(self, base: str, head: str) -> list[FileChange]:
        """Return what a pull request changes: from the merge base to its head."""
        return self.changes(self.merge_base(base, head) or base, head)

    def files(self, revision: str) -> dict[str, str]:
        """Return path and blob of every file in a tree."""
        text = self.git("ls-tree", "-r", "-z", revision)
        entries = (line.split("\t", 1) for line in text.split("\0") if line)
        return {path: meta.split()[2] for meta, path in entries}

    def blob(self, oid: str) -> bytes:
        """Return the content of a file."""
        done = subprocess.run(
            ["git", "cat-file", "blob", oid],
            cwd=self.path,
            capture_output=True,
            env=git_environment(),
            check=True,
        )
        return done.stdout

    # --- writing ------------------------------------------------------------

    def merged_trees(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str | None]:
        """Merge each head into its base on paper: the tree, or None where they conflict."""
        wanted = list(dict.fromkeys(pairs))
        missing = [pair for pair in wanted if pair not in self._merged_trees]
        if missing:
            lines = "".join(f"{base} {head}\n" for base, head in missing)
            output = self.git("merge-tree", "--write-tree", "--stdin", stdin=lines.encode())
            for pair, tree in zip(missing, _parse_merge_trees(output), strict=True):
                self._merged_trees[pair] = tree
        return {pair: self._merged_trees[pair] for pair in wanted}

    def merged_tree_or_none(
        self, pair: tuple[str, str], ahead: Iterable[tuple[str, str]]
    ) -> str | None:
        """Return one merge's tree, or None; what is not known is found out with ``ahead``."""
        if pair not in self._merged_trees:
            self.merged_trees([pair, *ahead])
        return self._merged_trees[pair]

    def merged_tree(self, base: str, head: str) -> str:
        """Return the tree of one merge.

        Raises:
            ConflictError: they conflict.

        """
        tree = self.merged_trees([(base, head)])[base, head]
        if tree is None:
            raise ConflictError("Merge conflict")
        return tree

    def commit_tree(
        self,
        tree: str,
        parents: Sequence[str],
        message: str,
        author: Identity,
        moment: float,
        committer: Identity = WEB,
    ) -> str:
        """Write a commit object and return its oid."""
        flags = [flag for parent in parents for flag in ("-p", parent)]
        environment = _identity_environment(author, committer, moment)
        return self.git(
            "commit-tree", tree, *flags, stdin=message.encode(), environment=environment
        )

    def rebase(self, base: str, head: str, moment: float, committer: Identity = WEB) -> str:
        """Replay the commits of ``head`` on ``base`` and return the new tip.

        Raises:
            ConflictError: one of them does not apply.

        """
        commits = [c for c in self.commits_between(base, head) if len(self.parents(c)) == 1]
        with tempfile.TemporaryDirectory(prefix="rebase-") as directory:
            worktree = Path(directory) / "tree"
            self.git("worktree", "add", "--quiet", "--detach", str(worktree), base)
            try:
                for oid in commits:
                    self._pick(worktree, oid, moment, committer)
                return self.git("-C", str(worktree), "rev-parse", "HEAD")
            finally:
                self.git("worktree", "remove", "--force", str(worktree))

    def _pick(self, worktree: Path, oid: str, moment: float, committer: Identity) -> None:
        environment = _identity_environment(committer, committer, moment)
        for name in ("NAME", "EMAIL", "DATE"):
            environment.pop(f"GIT_AUTHOR_{name}")
        try:
            self.git(
                "-C", str(worktree), "cherry-pick", "--allow-empty", oid, environment=environment
            )
        except GitError as error:
            raise ConflictError("This branch can't be rebased due to conflicts") from error

    def write_commit(
        self,
        parent: str | None,
        files: Mapping[str, str],
        deleted: Sequence[str],
        message: str,
        author: Identity,
        moment: float,
    ) -> str:
        """Commit changed files on top of ``parent`` and return the new commit."""
        with tempfile.TemporaryDirectory(prefix="index-") as directory:
            environment = {"GIT_INDEX_FILE": str(Path(directory) / "index")}
            if parent:
                self.git("read-tree", parent, environment=environment)
            lines = [f"0 {ZERO}\t{path}\n" for path in deleted]
            for path, content in files.items():
                blob = self.git("hash-object", "-w", "--stdin", stdin=content.encode())
                lines.append(f"100644 {blob}\t{path}\n")
            self.git(
                "update-index",
                "--index-info",
                stdin="".join(lines).encode(),
                environment=environment,
            )
            tree = self.git("write-tree", environment=environment)
        return self.commit_tree(tree, [parent] if parent else [], message, author, moment, author)


def git_environment() -> dict[str, str]:
    """Return an environment in which no configuration of the machine's user counts."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "LC_ALL": "C",
    }


def _identity_environment(author: Identity, committer: Identity, moment: float) -> dict[str, str]:
    environment = {}
    for role, identity in (("AUTHOR", author), ("COMMITTER", committer)):
        environment[f"GIT_{role}_NAME"] = identity.name
        environment[f"GIT_{role}_EMAIL"] = identity.email
        environment[f"GIT_{role}_DATE"] = f"{int(moment)} +0000"
    return environment


def _parse_merge_trees(output: str) -> list[str | None]:
    """Read ``merge-tree --stdin``: per merge a status, a tree, and for conflicts their story."""
    trees: list[str | None] = []
    fields = output.split("\0")
    index = 0
    while index < len(fields) and fields[index] in {"0", "1"}:
        clean, tree = fields[index] == "1", fields[index + 1]
        trees.append(tree if clean else None)
        index += 2
        if not clean:
            # The conflicted files, an empty field, then messages of counted fields.
            while fields[index]:
                index += 1
            index += 1
            while fields[index]:
                index += int(fields[index]) + 3
        else:
            while fields[index]:
                index += int(fields[index]) + 3
        index += 1
    return trees


def _parse_changes(raw: str) -> list[FileChange]:
    letters: dict[str, tuple[str, str]] = {}
    changes = []
    fields = iter(raw.split("\0"))
    for field in fields:
        if field.startswith(":"):
            _, _, _, blob, letter = field.split(" ")
            letters[next(fields)] = (letter[0], blob)
        elif field:
            added, removed, path = field.split("\t", 2)
            letter, blob = letters[path]
            lines = [0 if number == "-" else int(number) for number in (added, removed)]
            changes.append(FileChange(path, letter, lines[0], lines[1], blob))
    return changes
