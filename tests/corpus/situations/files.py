"""Files that git does not hold, seen or unseen by ``git status``."""

from __future__ import annotations

import hashlib
import os

from corpus.factory import Factory, Files, Lane
from corpus.situations import Made, situation

UNSAVED = "uncommitted work"
PRECIOUS = "an ignored file that nothing rebuilds"
REBUILDABLE = "only declared disposable files"


def landed(factory: Factory) -> Lane:
    """Return a lane whose commits are all in main."""
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    return lane


def _with(factory: Factory, files: Files) -> Made:
    lane = landed(factory)
    lane.write(files)
    return Made(lane, list(files))


def own_setting(lane: Lane, key: str, value: str) -> None:
    """Set configuration of this worktree alone."""
    lane.git("config", "extensions.worktreeConfig", "true")
    lane.git("config", "--worktree", key, value)


@situation("dirty", "modified", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, _edit(lane, f"{lane.area}-text.ts"))


def _edit(lane: Lane, name: str) -> list[str]:
    lane.write({name: lane.unique()})
    return [name]


@situation("dirty", "modified in a fresh branch", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = factory.lane()
    return Made(lane, _edit(lane, "README.md"))


@situation("dirty", "staged", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    holds = _edit(lane, f"{lane.area}-staged.ts")
    lane.git("add", "--all")
    return Made(lane, holds)


@situation("dirty", "staged only in the index", "keep", "the index holds the only copy")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    holds = _edit(lane, f"{lane.area}-text.ts")
    lane.git("add", "--all")
    lane.git("restore", "--worktree", "--source=HEAD", "--", f"{lane.area}-text.ts")
    return Made(lane, holds)


@situation("dirty", "deleted", "keep", UNSAVED)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.write({"README.md": None})
    return lane


@situation("dirty", "intent to add", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    holds = _edit(lane, f"{lane.area}-intent.ts")
    lane.git("add", "--intent-to-add", "--all")
    return Made(lane, holds)


@situation("untracked", "a file", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, _edit(lane, "notes.md"))


@situation("untracked", "deep in a new folder", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, _edit(lane, "a/b/c/d/notes.md"))


@situation("untracked", "a symbolic link", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    (lane.path / "pointer").symlink_to("../somewhere/else")
    return Made(lane, ["pointer"])


@situation("untracked", "hidden by status.showUntrackedFiles", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    own_setting(lane, "status.showUntrackedFiles", "no")
    return Made(lane, _edit(lane, "notes.md"))


@situation("untracked", "dependencies that no rule ignores", "keep", "untracked, not ignored")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, _edit(lane, "vendor/x.js"))


@situation("hidden edit", "assume-unchanged", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    lane.git("update-index", "--assume-unchanged", f"{lane.area}-text.ts")
    return Made(lane, _edit(lane, f"{lane.area}-text.ts"))


@situation("hidden edit", "skip-worktree", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    lane.git("update-index", "--skip-worktree", f"{lane.area}-text.ts")
    return Made(lane, _edit(lane, f"{lane.area}-text.ts"))


def _text_of(lane: Lane) -> str:
    return f"{lane.area}-text.ts"


@situation("hidden edit", "of the same size and time", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    own_setting(lane, "core.trustCtime", "false")
    own_setting(lane, "core.checkStat", "minimal")
    path = lane.path / _text_of(lane)
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return Made(lane, [_text_of(lane)])


@situation("hidden edit", "of the mode, with core.fileMode=false", "keep", UNSAVED)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    own_setting(lane, "core.fileMode", "false")
    (lane.path / _text_of(lane)).chmod(0o755)
    return lane


@situation("hidden edit", "of the ends of lines, with core.autocrlf", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    own_setting(lane, "core.autocrlf", "input")
    path = lane.path / _text_of(lane)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    lane.git("add", "--renormalize", ".")
    return Made(lane, [_text_of(lane)])


@situation("hidden edit", "that a clean filter takes away", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    own_setting(lane, "filter.strip.clean", "sed /SECRET/d")
    attributes = factory.checkout / ".git" / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    with attributes.open("a") as file:
        file.write(f"{_text_of(lane)} filter=strip\n")
    with (lane.path / _text_of(lane)).open("a") as file:
        file.write("SECRET\n")
    lane.git("add", "--all")
    return Made(lane, [_text_of(lane)])


@situation("hidden edit", "another case, with core.ignoreCase", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    own_setting(lane, "core.ignoreCase", "true")
    return Made(lane, _edit(lane, "readme.md"))


@situation("hidden edit", "a directory is a link, with flags", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    name = _text_of(lane)
    lane.git("update-index", "--assume-unchanged", name)
    (lane.path / name).unlink()
    (lane.path / name).symlink_to("/elsewhere")
    return Made(lane, [name])


@situation("large file", "nothing else has it", "keep", "the only copy of its content")
def _(factory: Factory) -> Made:
    lane = factory.lane()
    content = lane.unique().encode()
    oid = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"
    name = f"{lane.area}-film.mov"
    lane.commit({name: pointer})
    factory.land(lane)
    (lane.path / name).write_bytes(content)
    return Made(lane, [name])


for _name in (
    "dist/.env", "build/app.sqlite", "coverage/report.db", "out/id_ed25519", "target/tls.pem",
    ".next/.env.local", "node_modules/.env", "node_modules/tool/.env", ".venv/id_rsa",
    ".cache/notes.sqlite", "packages/web/dist/deep/er/.env.production", "dist/.hg/store",
    "build/.jj/repo", "out/.svn/entries",
):  # fmt: skip

    @situation("precious among the disposable", _name, "keep", PRECIOUS)
    def _(factory: Factory, name: str = _name) -> Made:
        return _with(factory, {name: "TOKEN=example\n"})


@situation("ignored and disposable", "certificates of packages", "reap", REBUILDABLE)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    names = ("node_modules/tls/test/own.key", "node_modules/roots/all.pem")
    lane.write(dict.fromkeys(names, "x"))
    return lane


@situation("ignored and precious", ".env", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    return _with(factory, {".env": "TOKEN=example\n"})


@situation("ignored and precious", ".env in a folder", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    return _with(factory, {"src/service/.env": "TOKEN=example\n"})


@situation("ignored and precious", "database", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    return _with(factory, {"data/lane.sqlite": b"SQLite format 3\0"})


@situation("ignored and precious", "scratch folder", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    return _with(factory, {"scratch/plan.md": "the plan\n"})


@situation("ignored and precious", "by the folder's own .gitignore", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    return _with(factory, {"notes/.gitignore": "*\n", "notes/plan.md": "the plan\n"})


@situation("ignored and precious", "by info/exclude", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    exclude = factory.checkout / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    if "lane-notes.md" not in (exclude.read_text() if exclude.exists() else ""):
        with exclude.open("a") as file:
            file.write("lane-notes.md\n")
    return Made(lane, _edit(lane, "lane-notes.md"))


@situation("ignored and precious", "by core.excludesFile", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    excludes = factory.root / "excludes"
    excludes.write_text("hidden.md\n")
    own_setting(lane, "core.excludesFile", str(excludes))
    return Made(lane, _edit(lane, "hidden.md"))


@situation("ignored and precious", "beside disposable files", "keep", PRECIOUS)
def _(factory: Factory) -> Made:
    return _with(factory, {"node_modules/a/index.js": "x", "dist/a.js": "x", ".env": "TOKEN=x\n"})


@situation("ignored and disposable", "dependencies and build output", "reap", REBUILDABLE)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.write({"dist/index.js": "x", ".next/cache/page.js": "x", "app.tsbuildinfo": "{}"})
    lane.write({"src/__pycache__/module.cpython-311.pyc": b"\0"})
    return lane


@situation("ignored and disposable", "deep in packages", "reap", REBUILDABLE)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.write({"packages/web/node_modules/a/index.js": "x", "packages/web/dist/b.js": "y"})
    return lane


@situation("ignored and disposable", "links and pipes in it", "reap", REBUILDABLE)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    folder = lane.path / "node_modules" / ".bin"
    folder.mkdir(parents=True)
    (folder / "outside").symlink_to(factory.outside)
    (folder / "dangling").symlink_to("../missing")
    (folder / "loop").symlink_to("..")
    os.mkfifo(folder / "pipe")
    return lane


@situation("ignored and disposable", "hard links to a package store", "reap", REBUILDABLE)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    store = factory.outside / "store" / lane.area
    store.parent.mkdir(exist_ok=True)
    store.write_text("package\n")
    (lane.path / "node_modules").mkdir()
    os.link(store, lane.path / "node_modules" / "index.js")
    return lane


@situation("ignored and disposable", "read-only folders", "reap", REBUILDABLE)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.write({"node_modules/locked/index.js": "x"})
    (lane.path / "node_modules" / "locked").chmod(0o555)
    return lane


@situation("nested repository", "clone in dependencies", "keep", "the clone has its own commits")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, [_clone(factory, lane, "node_modules/linked")])


@situation("nested repository", "clone in an ignored folder", "keep", "the clone's own commits")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, [_clone(factory, lane, ".cache/checkout")])


@situation("nested repository", "bare clone in build output", "keep", "the clone's own commits")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    inner = factory.root / "scratch-clone"
    name = _clone(factory, lane, "scratch-clone", at=inner)
    bare = lane.path / "dist" / "mirror.git"
    factory.git(factory.root, "clone", "-q", "--bare", str(inner), str(bare))
    factory.git(factory.root, "-C", str(inner), "status")
    _remove(inner)
    return Made(lane, ["dist/mirror.git", name])


def _remove(path: os.PathLike[str]) -> None:
    import shutil

    shutil.rmtree(path)


def _clone(factory: Factory, lane: Lane, name: str, at: os.PathLike[str] | None = None) -> str:
    bare = factory.side_repository("library")
    path = lane.path / name if at is None else at
    factory.git(factory.root, "clone", "-q", str(bare), str(path))
    clone = factory.root / path
    (clone / "own.txt").write_text(lane.unique())
    factory.git(clone, "add", "--all")
    factory.git(clone, "commit", "-q", "-m", "Only in this clone")
    return name


@situation("nested worktree", "unlanded, in an ignored folder", "keep", "a worktree stands in it")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    inner = factory.lane("inner", place=lane.path / "node_modules" / "worktrees")
    inner.work(1)
    return Made(lane, ["node_modules/worktrees/inner"])


@situation("nested worktree", "unlanded, in plain sight", "keep", "a worktree stands in it")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    inner = factory.lane("inner", place=lane.path)
    inner.work(1)
    return Made(lane, ["inner"])


@situation("sparse", "clean", "reap", "landed; hidden files are in the commit")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.git("sparse-checkout", "set", "--cone", "docs")
    return lane


@situation("sparse", "with a file outside of the cone", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    lane.git("sparse-checkout", "set", "--cone", "docs")
    return Made(lane, _edit(lane, "src/package0/module0.ts"))
