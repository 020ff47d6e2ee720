"""Where the worktree stands, and what it is called."""

from __future__ import annotations

import os
from pathlib import Path

from corpus.factory import Factory, Lane
from corpus.situations import Made, situation

LANDED = "its work is in the default branch"
UNSAVED = "uncommitted work"

NAMES = {
    "space": "lane with  spaces",
    "newline": "lane\nworktree /etc",
    "trailing newline": "lane-trailing\n",
    "unicode": "lane-größe-任务-🏭",
    "leading dash": "--force",
    "no UTF-8": os.fsdecode(b"lane-\xff\xfe-latin"),
    "quotes and a backslash": "lane \"quoted\" 'single' back\\slash",
    "shell and glob": "lane $(touch canary) * [a]",
}


def _named(name: str, *, dirty: bool = False) -> None:
    def make(factory: Factory) -> Lane:
        lane = factory.lane(NAMES[name] + ("dirty" if dirty else ""))
        lane.work(1)
        factory.land(lane)
        if dirty:
            lane.write({"notes.md": lane.unique()})
        return lane

    if dirty:
        situation("odd path, dirty", name, "keep", UNSAVED)(make)
    else:
        situation("odd path, landed", name, "reap", LANDED)(make)


for _name in NAMES:
    _named(_name)
for _name in ("space", "newline", "no UTF-8"):
    _named(_name, dirty=True)


@situation("Paperclip", "worktrees", "keep", "it belongs to Paperclip")
def _(factory: Factory) -> Lane:
    lane = factory.lane(place=factory.root / "project" / ".paperclip" / "worktrees")
    lane.work(1)
    factory.land(lane)
    return lane


@situation("Paperclip", "workspaces", "keep", "it belongs to Paperclip")
def _(factory: Factory) -> Lane:
    place = factory.root / ".paperclip" / "instances" / "default" / "workspaces"
    lane = factory.lane(place=place)
    lane.work(1)
    factory.land(lane)
    return lane


@situation("symbolic link", "into the worktree", "reap", LANDED)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    (factory.root / f"current-{lane.area}").symlink_to(lane.path)
    return lane


def _move_behind_link(path: Path, elsewhere: Path) -> None:
    elsewhere.parent.mkdir(exist_ok=True)
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@situation("symbolic link", "in place of the worktree", "either", "moved behind a link")
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    elsewhere = factory.root / "big-disk" / lane.path.name
    factory.later(lambda: _move_behind_link(lane.path, elsewhere))
    return lane


@situation("symbolic link", "in place of it, dirty", "keep", UNSAVED)
def _(factory: Factory) -> Made:
    lane = factory.lane()
    lane.work(1)
    factory.land(lane)
    lane.write({"notes.md": lane.unique()})
    elsewhere = factory.root / "big-disk" / lane.path.name
    factory.later(lambda: _move_behind_link(lane.path, elsewhere))
    return Made(lane, ["notes.md"])
