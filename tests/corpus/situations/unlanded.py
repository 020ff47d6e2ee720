"""Commits that exist nowhere else, although much about them looks landed."""

from __future__ import annotations

from corpus.factory import Factory, Lane, text
from corpus.situations import Made, situation

ONLY_HERE = "its commits are nowhere else"


@situation("unlanded", "plain", "keep", ONLY_HERE)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(2)
    return lane


@situation("unlanded", "detached", "keep", ONLY_HERE)
def _(factory: Factory) -> Lane:
    lane = factory.lane(detached=True)
    lane.work(1)
    return lane


@situation("unlanded", "tagged here only", "keep", "a local tag is not the origin")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    lane.git("tag", f"tag-{lane.area}")
    return lane


@situation("unlanded", "squashed into another branch", "keep", "not the default branch")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.git(factory.checkout, "branch", "-q", f"release-{lane.area}", "origin/main")
    other = factory.lane(start="origin/main", detached=True)
    other.git("merge", "-q", "--squash", lane.head)
    other.git("commit", "-q", "-m", "Squash to the release")
    other.push("refs/heads/release")
    factory.git(factory.checkout, "worktree", "remove", "--force", str(other.path))
    return lane


@situation("unlanded", "commit after the landing", "keep", "the last commit is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    lane.commit({f"{lane.area}-late.ts": lane.unique()})
    return lane


@situation("unlanded", "amended after the landing", "keep", "the amended content is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    lane.commit({f"{lane.area}-new0.ts": lane.unique()}, "Amended", "--amend")
    return lane


@situation("unlanded", "one of two files landed", "keep", "one file is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    one = lane.unique()
    lane.commit({f"{lane.area}-one.ts": one, f"{lane.area}-two.ts": lane.unique()})
    factory.main({f"{lane.area}-one.ts": one})
    return lane


@situation("unlanded", "branch name of an older landed lane", "keep", ONLY_HERE)
def _(factory: Factory) -> Lane:
    old = factory.lane()
    old.work(1)
    factory.land(old)
    branch = old.branch or ""
    factory.git(factory.checkout, "worktree", "remove", str(old.path))
    factory.git(factory.checkout, "branch", "-q", "-D", branch)
    lane = factory.lane(branch=branch)
    lane.work(1)
    return lane


@situation("net nothing", "a commit and its revert", "keep", "the reverted content is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    lane.git("revert", "--no-edit", "HEAD")
    return lane


@situation("net nothing", "empty commit", "keep", "its message is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.git("commit", "-q", "--allow-empty", "-m", "Findings: see this message")
    return lane


@situation("net nothing", "tree equal to main's by chance", "keep", "a commit is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    content = lane.unique()
    lane.commit({f"{lane.area}-research.md": lane.unique()})
    lane.commit({f"{lane.area}-research.md": None, f"{lane.area}-fix.ts": content})
    factory.main({f"{lane.area}-fix.ts": content})
    return lane


@situation(
    "hand-edited squash", "merged", "keep", "only the pull request proves it", with_github="reap"
)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(
        lane,
        "squash",
        edit={f"{lane.area}-new0.ts": "edited by hand", f"{lane.area}-text.ts": text((7, "hand"))},
    )
    return lane


@situation("hand-edited squash", "and a later commit", "keep", "the later commit is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane, "squash", edit={f"{lane.area}-new0.ts": "edited by hand"})
    lane.commit({f"{lane.area}-late.ts": lane.unique()})
    return lane


@situation("stale tracking branch", "deleted at the origin", "keep", "the origin has dropped it")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    lane.push(f"refs/heads/{lane.branch}")
    factory.git(factory.origin, "update-ref", "-d", f"refs/heads/{lane.branch}")
    lane.git("update-ref", f"refs/remotes/origin/{lane.branch}", "HEAD")
    return lane


@situation("stale tracking branch", "overwritten at the origin", "keep", "the origin dropped it")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    lane.push(f"refs/heads/{lane.branch}")
    factory.git(factory.origin, "update-ref", f"refs/heads/{lane.branch}", "refs/heads/main")
    return lane


@situation("pushed in part", "a commit on top", "keep", "the last commit is nowhere else")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    lane.push(f"refs/heads/{lane.branch}")
    lane.commit({f"{lane.area}-late.ts": lane.unique()})
    return lane


@situation("stash", "made on its branch", "keep", "the stash belongs to this lane")
def _(factory: Factory) -> Made:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    lane.write({f"{lane.area}-text.ts": lane.unique()})
    lane.git("stash", "push", "-q")
    return Made(lane, ["stash"])


@situation("stash", "with untracked files and a message", "keep", "the stash belongs to this lane")
def _(factory: Factory) -> Made:
    lane = factory.lane()
    lane.write({f"{lane.area}-idea.md": lane.unique()})
    lane.git("stash", "push", "-q", "-u", "-m", "keep me")
    return Made(lane, ["stash"])


@situation("private reference", "refs/worktree", "keep", "the reference's commit is nowhere else")
def _(factory: Factory) -> Made:
    lane = factory.lane()
    lane.commit({f"{lane.area}-kept.ts": lane.unique()})
    lane.git("update-ref", "refs/worktree/kept", "HEAD")
    lane.git("reset", "-q", "--hard", "HEAD~1")
    return Made(lane, ["refs/worktree/kept"])


@situation("private reference", "replacement", "keep", "a replacement only looks landed")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    lane.git("replace", "HEAD", "HEAD~1")
    return lane
