"""A converge that is killed after any program or request is made up for by the next one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from runners.support import KilledError, Site, until

pytestmark = pytest.mark.slow


def killed_after(site: Site, number: int, act: Callable[[], Any]) -> str:
    """Run ``act`` and kill it after its n-th effect; return that effect, "" when it ended before."""
    seen: list[str] = []

    def after(what: str) -> None:
        seen.append(what)
        if len(seen) == number:
            raise KilledError(what)

    site.after = after
    try:
        act()
    except KilledError:
        return seen[-1]
    finally:
        site.after = lambda what: None
    return ""


def clean_up(site: Site) -> None:
    site.section["instances"][0]["state"] = "absent"
    site.fine(drain_seconds=10)
    site.section["instances"][0]["state"] = "present"
    assert site.registered() == {}
    shutil.rmtree(site.places.root)


def test_from_blank(site: Site) -> None:
    points: list[str] = []
    while point := killed_after(site, len(points) + 1, site.converge):
        points.append(point)
        site.fine(drain_seconds=10)
        until(lambda: [r["status"] for r in site.registered().values()] == ["online"], point)
        assert site.fine() == [], point
        clean_up(site)

    # Those that matter most were among them.
    assert any(point.endswith("registration-token") for point in points)
    assert any(point.startswith("tar ") for point in points)
    assert any("configure --unattended" in point for point in points)


def test_an_upgrade_and_a_removal(site: Site) -> None:
    versions = iter(range(331, 400))

    def change() -> None:
        site.publish(f"2.{next(versions)}.0")
        site.converge(drain_seconds=10)

    site.fine()
    points: list[str] = []
    while point := killed_after(site, len(points) + 1, change):
        points.append(point)
        site.fine(drain_seconds=10)
        until(lambda: [r["status"] for r in site.registered().values()] == ["online"], point)
    assert any(point.startswith("DELETE") for point in points)

    def remove() -> None:
        site.section["instances"][0]["state"] = "absent"
        site.converge(drain_seconds=10)

    removals: list[str] = []
    while point := killed_after(site, len(removals) + 1, remove):
        removals.append(point)
        site.fine(drain_seconds=10)
        assert site.registered() == {}, point
        assert site.host.users == set(), point
        site.section["instances"][0]["state"] = "present"
        site.fine()
    assert any(point.startswith("DELETE") for point in removals)
