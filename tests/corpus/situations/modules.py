"""Worktrees with a submodule."""

from __future__ import annotations

from pathlib import Path

from corpus.factory import Factory, Lane
from corpus.situations import Made, situation

LOCAL = "the submodule holds something of its own"


def _lane(factory: Factory) -> tuple[Lane, Path]:
    lane = factory.lane()
    library = factory.side_repository("library")
    name = f"{lane.area}-library"
    lane.git("submodule", "--quiet", "add", str(library), name)
    lane.git("commit", "-q", "-m", "Add the library")
    # Pushed instead of landed: every later lane would have the submodule too.
    lane.push(f"refs/heads/{lane.branch}")
    return lane, lane.path / name


@situation("submodule", "clean and pushed", "reap", "the origins hold both")
def _(factory: Factory) -> Lane:
    return _lane(factory)[0]


@situation("submodule", "commit of its own on a branch", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    factory.git(module, "checkout", "-q", "-b", "own")
    (module / "own.txt").write_text(lane.unique())
    factory.git(module, "add", "--all")
    factory.git(module, "commit", "-q", "-m", "Own")
    holds = [factory.git(module, "rev-parse", "HEAD")]
    factory.git(module, "checkout", "-q", "--detach", "origin/main")
    return Made(lane, holds)


@situation("submodule", "commit of its own checked out", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    (module / "own.txt").write_text(lane.unique())
    factory.git(module, "add", "--all")
    factory.git(module, "commit", "-q", "-m", "Own")
    return Made(lane, [factory.git(module, "rev-parse", "HEAD")])


@situation("submodule", "dirty", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    (module / "library.txt").write_text(lane.unique())
    return Made(lane, [str(module / "library.txt")])


@situation("submodule", "untracked file hidden by ignore=all", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    lane.git("config", f"submodule.{lane.area}-library.ignore", "all")
    (module / "notes.md").write_text(lane.unique())
    return Made(lane, [str(module / "notes.md")])


@situation("submodule", "stash of its own", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    (module / "library.txt").write_text(lane.unique())
    factory.git(module, "stash", "push", "-q")
    return Made(lane, ["stash of the submodule"])


@situation("submodule", "commit that only its reflog knows", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    (module / "own.txt").write_text(lane.unique())
    factory.git(module, "add", "--all")
    factory.git(module, "commit", "-q", "-m", "Own")
    holds = [factory.git(module, "rev-parse", "HEAD")]
    factory.git(module, "reset", "-q", "--hard", "origin/main")
    return Made(lane, holds)


@situation("submodule", "large file that is in its store alone", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    store = Path(factory.git(module, "rev-parse", "--absolute-git-dir"), "lfs/objects/ab/cd")
    store.mkdir(parents=True)
    (store / "film").write_text(lane.unique())
    return Made(lane, [str(store / "film")])


@situation("submodule", "edit that a flag hides", "keep", LOCAL)
def _(factory: Factory) -> Made:
    lane, module = _lane(factory)
    factory.git(module, "update-index", "--assume-unchanged", "library.txt")
    (module / "library.txt").write_text(lane.unique())
    return Made(lane, [str(module / "library.txt")])
