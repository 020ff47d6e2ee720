"""Worktrees and their records that do not fit together."""

from __future__ import annotations

import shutil
from pathlib import Path

from corpus.factory import Factory, Lane, put
from corpus.situations import Made, situation
from corpus.situations.files import landed, own_setting

BROKEN = "broken: report, never touch"


def _noted(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.write({"notes.md": lane.unique()})
    return lane


@situation("broken", "gitfile is no gitfile", "keep", BROKEN)
def _(factory: Factory) -> Made:
    lane = _noted(factory)
    factory.later(lambda: lane.write({".git": "nonsense\n"}))
    return Made(lane, ["notes.md"])


@situation("broken", "gitfile missing", "keep", BROKEN)
def _(factory: Factory) -> Made:
    lane = _noted(factory)
    factory.later(lambda: lane.write({".git": None}))
    return Made(lane, ["notes.md"])


@situation("broken", "gitfile of another worktree", "keep", BROKEN)
def _(factory: Factory) -> Made:
    other = landed(factory)
    lane = _noted(factory)
    gitfile = (other.path / ".git").read_bytes()
    factory.later(lambda: lane.write({".git": gitfile}))
    return Made(lane, ["notes.md"])


@situation("broken", "admin directory missing", "keep", BROKEN)
def _(factory: Factory) -> Made:
    lane = _noted(factory)
    admin = lane.admin
    factory.later(lambda: shutil.rmtree(admin))
    return Made(lane, ["notes.md"], listed=False)


@situation("broken", "HEAD unreadable", "keep", BROKEN)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    head = lane.admin / "HEAD"
    factory.later(lambda: head.write_text("garbage\n"))
    return lane


@situation("broken", "branch deleted under it", "keep", BROKEN)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    factory.later(lambda: lane.git("update-ref", "-d", f"refs/heads/{lane.branch}"))
    return lane


def _truncate(index: Path) -> None:
    index.write_bytes(index.read_bytes()[:100])


@situation("broken index", "truncated, with untracked work", "keep", "status fails")
def _(factory: Factory) -> Made:
    lane = _noted(factory)
    index = lane.admin / "index"
    factory.later(lambda: _truncate(index))
    return Made(lane, ["notes.md"])


@situation("broken index", "truncated", "keep", "status fails")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    index = lane.admin / "index"
    factory.later(lambda: _truncate(index))
    return lane


@situation("broken index", "missing", "keep", "everything looks deleted and untracked")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    index = lane.admin / "index"
    factory.later(index.unlink)
    return lane


@situation("moved", "by hand, detached and unlanded", "keep", "the record holds the only commit")
def _(factory: Factory) -> Made:
    lane = factory.lane(detached=True)
    lane.work(1)
    holds = [lane.head]
    moved = factory.root / "moved" / lane.path.name
    moved.parent.mkdir(exist_ok=True)
    factory.later(lambda: lane.path.rename(moved))
    return Made(lane, holds)


@situation("directory missing", "HEAD unproven", "keep", "the record holds the only commit")
def _(factory: Factory) -> Made:
    lane = factory.lane(detached=True)
    lane.work(1)
    factory.later(lambda: shutil.rmtree(lane.path))
    return Made(lane, [lane.head])


@situation("directory missing", "HEAD proven", "either", "only the record is left, and is proven")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    factory.later(lambda: shutil.rmtree(lane.path))
    return lane


@situation("orphan directory", "unknown to git", "keep", "git knows nothing of it")
def _(factory: Factory) -> Made:
    # The lane's files without its record, as an interrupted removal leaves them.
    lane = factory.lane()
    files = {"notes.md": lane.unique()}
    factory.git(factory.checkout, "worktree", "remove", str(lane.path))
    put(lane.path, files)
    return Made(lane, ["notes.md"], listed=False)


@situation("code in the configuration", "clean filter", "either", "it must not run")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.commit({".gitattributes": "*.txt filter=evil\n", "some.txt": lane.unique()})
    factory.land(lane)
    own_setting(lane, "filter.evil.clean", f"echo filter >>{factory.canary}; cat")
    return lane


@situation("code in the configuration", "file system monitor", "either", "it must not run")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    hook = factory.root / "monitor"
    hook.write_text(f"#!/bin/sh\necho monitor >>{factory.canary}\n")
    hook.chmod(0o755)
    own_setting(lane, "core.fsmonitor", str(hook))
    return lane


@situation("code in the configuration", "hooks", "either", "they must not run")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    hooks = factory.root / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-checkout", "post-index-change", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\necho {name} $* >>{factory.canary}\n")
        (hooks / name).chmod(0o755)
    own_setting(lane, "core.hooksPath", str(hooks))
    return lane


@situation("code in the configuration", "lying monitor", "keep", "an edit that the monitor hides")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    hook = factory.root / "lying-monitor"
    # Version 2: a token, NUL, and no path: "nothing has changed".
    hook.write_text("#!/bin/sh\nprintf 'token\\0'\n")
    hook.chmod(0o755)
    own_setting(lane, "core.fsmonitor", str(hook))
    lane.git("update-index", "--fsmonitor")
    lane.git("status")
    lane.write({f"{lane.area}-text.ts": lane.unique()})
    return Made(lane, [f"{lane.area}-text.ts"])
