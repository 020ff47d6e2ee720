"""Work that is in the default branch, in all the ways it can get there."""

from __future__ import annotations

from corpus.factory import Factory, Lane, text
from corpus.situations import situation

LANDED = "its work is in the default branch"


def _landed(factory: Factory, style: str | None = None, commits: int = 1) -> Lane:
    lane = factory.lane()
    lane.work(commits)
    factory.land(lane, style)
    return lane


@situation("landed", "squash", "reap", LANDED)
def _(factory: Factory) -> Lane:
    return _landed(factory, "squash")


@situation("landed", "rebase", "reap", LANDED)
def _(factory: Factory) -> Lane:
    return _landed(factory, "rebase", 2)


@situation("landed", "merge", "reap", LANDED)
def _(factory: Factory) -> Lane:
    return _landed(factory, "merge", 2)


@situation("landed", "fast-forward", "reap", LANDED)
def _(factory: Factory) -> Lane:
    factory.fetch()
    return _landed(factory, "forward", 2)


@situation("landed", "several commits", "reap", LANDED)
def _(factory: Factory) -> Lane:
    return _landed(factory, commits=4)


@situation("landed and main moved", "same files before", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.work(2)
    factory.main({f"{lane.area}-text.ts": text((30, lane.unique()))})
    factory.land(lane)
    return lane


@situation("landed and main moved", "lines rewritten after", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = _landed(factory)
    factory.main({f"{lane.area}-text.ts": text((5, lane.unique()), (6, lane.unique()))})
    return lane


@situation("landed and main moved", "before and after", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.work(2)
    factory.main({f"{lane.area}-text.ts": text((30, "main was here"))})
    factory.land(lane)
    factory.main({f"{lane.area}-text.ts": text((5, lane.unique()), (30, "main again"))})
    return lane


@situation("landed and main moved", "files deleted after", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = _landed(factory)
    factory.main({f"{lane.area}-new0.ts": None, f"{lane.area}-text.ts": None})
    return lane


@situation("landed and main moved", "reverted after", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = _landed(factory)
    factory.revert_last()
    return lane


@situation("landed kind of change", "rename", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.git("mv", f"{lane.area}-text.ts", f"{lane.area}-renamed.ts")
    lane.commit({f"{lane.area}-renamed.ts": text((9, lane.unique()))})
    factory.land(lane)
    return lane


@situation("landed kind of change", "rename while main edited it", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.git("mv", f"{lane.area}-text.ts", f"{lane.area}-renamed.ts")
    lane.commit({f"{lane.area}-renamed.ts": text((9, lane.unique()))})
    factory.main({f"{lane.area}-text.ts": text((30, lane.unique()))})
    factory.land(lane)
    return lane


@situation("landed kind of change", "binary", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.commit({f"{lane.area}-logo.png": b"\x89PNG\0\xff" + lane.unique().encode()})
    lane.commit({f"{lane.area}-logo.png": b"\x89PNG\0\xfe" + lane.unique().encode()})
    factory.land(lane)
    return lane


@situation("landed kind of change", "white space only", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.commit({f"{lane.area}-text.ts": text((5, "    line 5")), f"{lane.area}-tab": "\t\n"})
    factory.land(lane)
    return lane


@situation("landed kind of change", "mode", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    (lane.path / f"{lane.area}-text.ts").chmod(0o755)
    lane.git("commit", "-q", "-a", "-m", "Make it executable")
    factory.land(lane)
    return lane


@situation("landed kind of change", "symbolic link", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    (lane.path / f"{lane.area}-link").symlink_to(factory.outside)
    lane.git("add", "--all")
    lane.git("commit", "-q", "-m", "Link")
    factory.land(lane)
    return lane


@situation("landed kind of change", "deletion", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.commit({f"{lane.area}-text.ts": None})
    factory.land(lane)
    return lane


@situation("cherry-picked", "all of it", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(2)
    factory.main({"elsewhere.txt": lane.unique()})
    factory.pick(lane, lane.git("rev-parse", "HEAD~1"), lane.head)
    lane.landed += lane.git("rev-list", f"{lane.base}..HEAD").split()
    return lane


@situation("cherry-picked", "a part of it", "keep", "one of its commits is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.commit({f"{lane.area}-one.ts": lane.unique()})
    lane.commit({f"{lane.area}-two.ts": lane.unique()})
    factory.pick(lane, lane.git("rev-parse", "HEAD~1"))
    return lane


@situation("landed", "the same change by another lane", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    content = lane.unique()
    lane.commit({f"{lane.area}-same.ts": content})
    factory.main({f"{lane.area}-same.ts": content})
    lane.landed += lane.git("rev-list", f"{lane.base}..HEAD").split()
    return lane


@situation("landed", "after main was merged into the lane", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(text_on_main=True)
    lane.work(1)
    factory.main({f"{lane.area}-text.ts": text((30, lane.unique()))})
    factory.fetch()
    lane.git("merge", "-q", "-m", "Merge main", "origin/main")
    lane.commit({f"{lane.area}-more.ts": lane.unique()})
    factory.land(lane, "squash" if factory.style == "rebase" else None)
    return lane


@situation("landed and detached", "on a squashed commit", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane(detached=True)
    lane.work(2)
    factory.land(lane, "squash")
    return lane


@situation("landed and detached", "on an old commit of main", "reap", LANDED)
def _(factory: Factory) -> Lane:
    return factory.lane(detached=True, start="origin/main~1")


@situation("fresh branch", "idle for days", "reap", "no commits, no files, nobody in it for days")
def _(factory: Factory) -> Lane:
    return factory.lane()


@situation("fresh branch", "idle, with dependencies", "reap", "only rebuildable files")
def _(factory: Factory) -> Lane:
    return factory.lane()


@situation("pushed", "branch at the origin", "reap", "the origin holds the very commit")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(2)
    lane.push(f"refs/heads/{lane.branch}")
    return lane


@situation("pushed", "pull request's reference at the origin", "reap", "the origin holds it")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(2)
    lane.push("refs/pull/9001/head")
    return lane


@situation("pushed", "the origin is ahead, known here", "reap", "the origin holds it")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(2)
    lane.push("refs/pull/9002/head")
    lane.git("reset", "-q", "--hard", "HEAD~1")
    return lane


@situation("pushed", "detached, branch at the origin", "reap", "the origin holds it")
def _(factory: Factory) -> Lane:
    lane = factory.lane(detached=True)
    lane.work(1)
    lane.push("refs/heads/held-detached")
    return lane


@situation("reflog", "an undone commit", "reap", "commits only in the reflog do not keep it")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    lane.commit({f"{lane.area}-undone.ts": lane.unique()})
    lane.git("reset", "-q", "--hard", "HEAD~1")
    return lane
