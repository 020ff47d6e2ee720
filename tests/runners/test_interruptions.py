"""A converge that is killed after any program or request is made up for by the next one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sampling import draw

from runners.support import KilledError, Site, until

pytestmark = pytest.mark.slow


def effects_of(site: Site, act: Callable[[], Any], killed_after: int = 0) -> list[str]:
    """Run ``act`` and return its effects in order; kill it after that many, if it is told to.

    How often it asks whether a runner is online is not the same each time: then it may end before.
    """
    seen: list[str] = []

    def after(what: str) -> None:
        seen.append(what)
        if len(seen) == killed_after:
            raise KilledError(what)

    site.after = after
    try:
        act()
    except KilledError:
        pass
    finally:
        site.after = lambda what: None
    return seen


def points(effects: list[str], *decisive: str) -> Iterator[tuple[int, str]]:
    """Yield the effects after which a run is killed: the decisive ones, and some of the others."""
    for words in decisive:
        assert any(words in effect for effect in effects), words
    others = [n for n, effect in enumerate(effects) if not any(w in effect for w in decisive)]
    drawn = draw("effects of a converge of runners", others)
    for number, effect in enumerate(effects):
        if number not in others or number in drawn:
            yield number + 1, effect


def is_online(site: Site) -> bool:
    return [r["status"] for r in site.registered().values()] == ["online"]


def make_blank(site: Site) -> None:
    site.section["instances"][0]["state"] = "absent"
    site.fine(drain_seconds=10)
    site.section["instances"][0]["state"] = "present"
    assert site.registered() == {}
    site.host.close()
    site.host.units.clear()
    for place in (site.places.root, site.places.state):
        shutil.rmtree(place)


def test_from_blank(site: Site) -> None:
    effects = effects_of(site, site.converge)
    make_blank(site)

    for number, point in points(effects, "registration-token", "tar ", "configure --unattended"):
        effects_of(site, site.converge, killed_after=number)
        site.fine(drain_seconds=10)
        until(lambda: is_online(site), point)
        assert site.fine() == [], point
        make_blank(site)


def test_an_upgrade_and_a_removal(site: Site) -> None:
    versions = iter(range(331, 400))

    def change() -> None:
        site.publish(f"2.{next(versions)}.0")
        site.converge(drain_seconds=10)

    def remove() -> None:
        site.section["instances"][0]["state"] = "absent"
        site.converge(drain_seconds=10)

    site.fine()
    for number, point in points(effects_of(site, change), "DELETE", "cp --archive"):
        effects_of(site, change, killed_after=number)
        site.fine(drain_seconds=10)
        until(lambda: is_online(site), point)

    effects = effects_of(site, remove)
    site.section["instances"][0]["state"] = "present"
    site.fine()
    for number, point in points(effects, "DELETE", "userdel"):
        effects_of(site, remove, killed_after=number)
        site.fine(drain_seconds=10)
        assert site.registered() == {}, point
        assert site.host.users == set(), point
        site.section["instances"][0]["state"] = "present"
        site.fine()
