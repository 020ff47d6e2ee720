"""Git operations stopped half-way, and locks."""

from __future__ import annotations

from corpus.factory import Factory, Lane, text
from corpus.situations import Made, situation
from corpus.situations.files import landed

STOPPED = "an operation stopped half-way"


@situation("operation", "merge, clean status", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    factory.main({"elsewhere.txt": lane.unique()})
    factory.fetch()
    lane.git("merge", "-q", "--no-ff", "--no-commit", "-s", "ours", "origin/main")
    return lane


@situation("operation", "merge, conflict", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.commit({f"{lane.area}-text.ts": text((5, lane.unique()))})
    factory.main({f"{lane.area}-text.ts": text((5, lane.unique()))})
    factory.fetch()
    lane.git("merge", "-q", "origin/main", fails=True)
    return lane


@situation("operation", "rebase, clean status", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(2)
    factory.land(lane)
    lane.git(
        "-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", "--force-rebase",
        "HEAD~2",
    )  # fmt: skip
    return lane


@situation("operation", "rebase with an autostash", "keep", "the autostash holds work")
def _(factory: Factory) -> Made:
    lane = factory.lane()
    lane.work(2)
    factory.land(lane)
    lane.write({"README.md": lane.unique()})
    lane.git(
        "-c", "sequence.editor=sed -i 1s/pick/edit/", "rebase", "-q", "-i", "--autostash",
        "--force-rebase", "HEAD~2",
    )  # fmt: skip
    return Made(lane, ["rebase-merge/autostash"])


@situation("operation", "patches being applied", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    patch = lane.git("format-patch", "-1", "--stdout", "HEAD")
    lane.git("am", "-q", stdin=patch.encode() + b"\n", fails=True)
    return lane


@situation("operation", "cherry-pick", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    # Already there: git stops on the empty pick and leaves a clean status.
    lane.git("cherry-pick", lane.head, fails=True)
    return lane


@situation("operation", "revert", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.git("revert", "--no-commit", "HEAD")
    return lane


@situation("operation", "bisect", "keep", STOPPED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.git("bisect", "start", "HEAD", "HEAD~3")
    return lane


@situation("git lock file", "index.lock", "keep", "git may be at work")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    (lane.admin / "index.lock").write_bytes(b"")
    return lane


@situation("git lock file", "HEAD.lock", "keep", "git may be at work")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    (lane.admin / "HEAD.lock").write_bytes(b"")
    return lane


def _lock(lane: Lane, reason: str) -> None:
    lane.git("worktree", "lock", "--reason", reason, str(lane.path))


@situation("locked", "by a dead lane", "keep", "locked; reported as stale")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    # Above the largest process id that Linux gives out.
    _lock(lane, "lane pid 4194305")
    return lane


@situation("locked", "by a live lane", "keep", "locked")
def _(factory: Factory) -> Made:
    lane = landed(factory)
    _lock(lane, "lane pid 4194305")
    return Made(lane, live="lock")


@situation("locked", "without a reason", "keep", "locked")
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.git("worktree", "lock", str(lane.path))
    return lane
