"""Random histories: many lanes in one repository, made with few processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.factory import DAY_SECONDS, Factory, admin_directories, put, text, touch
from corpus.git import GitError
from corpus.labels import Corpus, Expected, Label

CHANGES = ("add", "edit", "delete", "rename", "mode", "binary", "space", "link", "empty")
LANDINGS = ("none", "squash", "rebase", "merge", "pick first", "branch", "pull")
MAIN_AFTER = ("nothing", "rewrite", "delete")
TREES = (
    "clean", "clean", "clean", "disposable", "modified", "staged", "untracked", "deleted",
    "precious", "assumed", "touched", "stopped",
)  # fmt: skip
IDLE_SECONDS = 3 * DAY_SECONDS


@dataclass(frozen=True)
class Plan:
    """One lane: its commits (each a few changes), its landing, what came later."""

    commits: tuple[tuple[str, ...], ...]
    landing: str
    main_before: bool
    main_after: str
    later_commit: bool
    tree: str


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


class Histories:
    """Build one repository with a worktree for each plan."""

    def __init__(self, factory: Factory, plans: Sequence[Plan]) -> None:
        """Prepare; nothing is written yet."""
        self.factory = factory
        self.plans = plans
        self.count = 0
        self.landed: dict[int, list[str]] = {}
        # Lanes with a file that one commit made or changed and a later one took away.
        self.passing: set[int] = set()

    def unique(self) -> bytes:
        """Return words that stand nowhere else."""
        self.count += 1
        return b"words %d %016x" % (self.count, self.factory.random.getrandbits(64))

    def build(self) -> Corpus:
        """Make everything and return its labels."""
        factory = self.factory
        for number in range(len(self.plans)):
            put(factory.landing, {f"area{number}/{name}.txt": text((1, f"{number} {name}"))
                                   for name in "abc"})  # fmt: skip
        self._main("Areas")
        base = factory.git(factory.origin, "rev-parse", "main")
        stream = b"".join(
            self._commits(number, plan, base) for number, plan in enumerate(self.plans)
        )
        factory.git(factory.origin, "fast-import", "--quiet", stdin=stream)
        refspec = "+refs/proposed/*:refs/heads/lane/*"
        factory.git(factory.checkout, "fetch", "-q", "origin", "main", refspec)
        for number, plan in enumerate(self.plans):
            self._land(number, plan, base)
        labels = [self._worktree(number, plan, base) for number, plan in enumerate(self.plans)]
        gone = "".join(f"delete refs/proposed/{number}\n" for number in range(len(self.plans)))
        factory.git(factory.origin, "update-ref", "--stdin", stdin=gone.encode())
        factory.git(factory.origin, "worktree", "remove", "--force", str(factory.landing))
        admins = admin_directories(factory.checkout)
        for label, plan in zip(labels, self.plans, strict=True):
            self._age(label, plan, admins)
        return Corpus(str(factory.root), "random", 0, factory.now, labels, [], str(factory.canary))

    def _main(self, message: str) -> None:
        factory = self.factory
        factory.git(factory.landing, "add", "--all")
        factory.git(factory.landing, "commit", "-q", "-m", message)
        factory.git(factory.landing, "update-ref", "refs/heads/main", "HEAD")

    def _commits(self, number: int, plan: Plan, base: str) -> bytes:
        """Return the lane's commits for fast-import."""
        files = [f"area{number}/{name}.txt".encode() for name in "abc"]
        stream = []
        changed: set[bytes] = set()
        for at, changes in enumerate(plan.commits):
            stream.append(b"commit refs/proposed/%d\n" % number)
            stream.append(
                b"committer Lane <lane@example.com> %d +0000\n" % (self.factory.git.seconds + at)
            )
            stream.append(_data(b"Work " + self.unique()))
            if at == 0:
                stream.append(b"from %b\n" % base.encode())
            before = set(files)
            lines = [self._change(number, kind, files, at) for kind in changes]
            stream += lines
            if changed & before - set(files):
                self.passing.add(number)
            written = {word for line in lines for word in line.split(b"\n", 1)[0].split()}
            changed |= written & set(files)
        return b"".join(stream)

    def _change(self, number: int, kind: str, files: list[bytes], at: int) -> bytes:
        self.count += 1
        fresh = b"area%d/new%d" % (number, self.count)
        if kind in ("delete", "rename", "mode", "edit", "space") and not files:
            kind = "add"
        name = files[0] if files else fresh
        if kind == "delete":
            return b"D %b\n" % files.pop(0)
        if kind == "rename":
            files[0] = fresh
            return b"R %b %b\n" % (name, fresh)
        if kind == "empty":
            return b""
        content = text((4 + at, self.unique().decode())).encode()
        if kind == "edit":
            return b"M 100644 inline %b\n" % name + _data(content)
        if kind == "mode":
            return b"M 100755 inline %b\n" % name + _data(content)
        if kind == "space":
            return b"M 100644 inline %b\n" % name + _data(content.replace(b"line 20", b"line  20"))
        files.append(fresh)
        if kind == "link":
            return b"M 120000 inline %b\n" % fresh + _data(self.unique())
        if kind == "binary":
            return b"M 100644 inline %b\n" % fresh + _data(b"\0\xff" + self.unique())
        return b"M 100644 inline %b\n" % fresh + _data(self.unique())

    def _land(self, number: int, plan: Plan, base: str) -> None:
        factory, at = self.factory, self.factory.landing
        tip = f"refs/proposed/{number}"
        if plan.main_before:
            self._edit_main(number, 30)
        oids = factory.git(factory.origin, "rev-list", "--reverse", f"{base}..{tip}").split()
        try:
            if plan.landing == "squash":
                factory.git(at, "merge", "-q", "--squash", tip)
                factory.git(at, "commit", "-q", "-m", "Squash")
            elif plan.landing == "rebase":
                factory.git(at, "cherry-pick", "--allow-empty", *oids)
            elif plan.landing == "pick first":
                factory.git(at, "cherry-pick", "--allow-empty", oids[0])
            elif plan.landing == "merge":
                factory.git(at, "merge", "-q", "--no-ff", "-m", "Merge", tip)
            elif plan.landing in ("branch", "pull"):
                kind = "heads/lane" if plan.landing == "branch" else "pull"
                factory.git(factory.origin, "update-ref", f"refs/{kind}/{number}/head", tip)
                oids = []
            else:
                oids = []
        except GitError:  # a conflict, or nothing to land: it stays unlanded
            factory.git(at, "reset", "-q", "--hard", "refs/heads/main")
            oids = []
        if oids:
            factory.git(at, "update-ref", "refs/heads/main", "HEAD")
            self.landed[number] = oids[:1] if plan.landing == "pick first" else oids
            self._change_main_after(number, plan)

    def _edit_main(self, number: int, line: int) -> None:
        for path in sorted((self.factory.landing / f"area{number}").glob("?.txt")):
            lines = path.read_bytes().split(b"\n")
            if len(lines) > line:
                lines[line] = self.unique()
                path.write_bytes(b"\n".join(lines))
                self._main("Edit")
                return

    def _change_main_after(self, number: int, plan: Plan) -> None:
        if plan.main_after == "rewrite":
            self._edit_main(number, 4)
        folder = self.factory.landing / f"area{number}"
        if plan.main_after == "delete" and folder.is_dir():
            for path in folder.iterdir():
                path.unlink()
            self._main("Delete")

    def _worktree(self, number: int, plan: Plan, base: str) -> Label:
        factory = self.factory
        path = factory.workspaces / f"lane-{number}"
        branch = f"lane/{number}"
        factory.git(factory.checkout, "worktree", "add", "-q", str(path), branch)
        if plan.later_commit:
            put(path, {"later.txt": self.unique()})
            factory.git(path, "add", "later.txt")
            factory.git(path, "commit", "-q", "-m", "Later")
        self._soil(path, plan.tree)
        landed = self.landed.get(number, [])
        held = plan.landing in ("branch", "pull") or len(landed) == len(plan.commits)
        safe = held and not plan.later_commit and plan.tree in ("clean", "disposable")
        # Whether an empty commit that was picked has "landed" is a matter of taste.
        hazy = any(set(changes) <= {"empty"} for changes in plan.commits)
        # Nor is what a file held in between part of a squash, or of a rebase onto other words.
        hazy = hazy or (number in self.passing and (plan.landing == "squash" or plan.main_before))
        hazy = hazy and plan.landing not in ("branch", "pull", "merge")
        expected: Expected = "either" if safe and hazy else "reap" if safe else "keep"
        return Label(str(path), "random", str(plan), expected, "by construction", branch, None,
                     landed=landed)  # fmt: skip

    def _soil(self, path: Path, tree: str) -> None:
        readme = path / "README.md"
        if tree == "disposable":
            put(path, {"node_modules/a/index.js": "x", "dist/b.js": "y"})
        elif tree == "modified":
            readme.write_bytes(self.unique())
        elif tree == "staged":
            put(path, {"staged.txt": self.unique()})
            self.factory.git(path, "add", "staged.txt")
        elif tree == "untracked":
            put(path, {"notes/untracked.md": self.unique()})
        elif tree == "deleted":
            readme.unlink()
        elif tree == "precious":
            put(path, {"node_modules/a.js": "x", ".env": self.unique()})
        elif tree == "assumed":
            self.factory.git(path, "update-index", "--assume-unchanged", "README.md")
            readme.write_bytes(self.unique())

    def _age(self, label: Label, plan: Plan, admins: dict[Path, Path]) -> None:
        moment = self.factory.now - IDLE_SECONDS
        path = Path(label.path)
        if plan.tree == "stopped":
            (admins[path] / "CHERRY_PICK_HEAD").write_text("0" * 39 + "1\n")
        touch(path, moment)
        touch(admins[path], moment)
        if plan.tree == "touched":
            os.utime(path / "docs")
