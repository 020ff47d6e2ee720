"""Somebody is, or was just now, in the worktree."""

from __future__ import annotations

from corpus.factory import Factory, Lane
from corpus.situations import Made, situation
from corpus.situations.files import landed

INSIDE = "a process is inside"
RECENT = "touched within the grace period"
HOUR_SECONDS = 3_600


@situation("process", "working directory", "keep", INSIDE)
def _(factory: Factory) -> Made:
    return Made(landed(factory), live="cwd")


@situation("process", "working directory in a folder, fresh branch", "keep", INSIDE)
def _(factory: Factory) -> Made:
    return Made(factory.lane(), live="cwd_below")


@situation("process", "open file", "keep", INSIDE)
def _(factory: Factory) -> Made:
    return Made(landed(factory), live="open_file")


@situation("process", "running program", "keep", INSIDE)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    lane.write({"node_modules/.bin/readme": "x"})
    return Made(lane, live="executable")


@situation("process", "mapped file", "either", "a mapping survives the file")
def _(factory: Factory) -> Made:
    return Made(landed(factory), live="mapped")


@situation("young", "fresh branch", "keep", RECENT)
def _(factory: Factory) -> Lane:
    lane = factory.lane()
    lane.age_seconds = HOUR_SECONDS
    return lane


@situation("young", "landed", "keep", RECENT)
def _(factory: Factory) -> Lane:
    lane = landed(factory)
    lane.age_seconds = 20 * HOUR_SECONDS
    return lane


@situation("recently touched", "file in an ignored folder", "keep", RECENT)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    lane.write({"node_modules/.cache/build/state.js": "x"})
    return Made(lane, live="touch:node_modules/.cache/build/state.js")


@situation("recently touched", "folder", "keep", RECENT)
def _(factory: Factory) -> Made:
    lane = landed(factory)
    return Made(lane, live="touch:src")


@situation("recently touched", "index", "keep", RECENT)
def _(factory: Factory) -> Made:
    return Made(landed(factory), live="touch_admin:index")


@situation("recently touched", "HEAD", "keep", RECENT)
def _(factory: Factory) -> Made:
    return Made(landed(factory), live="touch_admin:HEAD")


@situation("recently touched", "reflog", "keep", RECENT)
def _(factory: Factory) -> Made:
    return Made(landed(factory), live="touch_admin:logs/HEAD")
