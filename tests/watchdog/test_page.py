"""The page in a real browser."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from factory.core.base import times
from factory.core.status import document, page
from watchdog import browser, seed

ARTEFACTS = Path(__file__).resolve().parents[2] / ".cache" / "watchdog"
RED = {False: "rgb(179, 38, 30)", True: "rgb(255, 138, 128)"}

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def rendered(**changes: Any) -> str:
    now = time.time()
    fresh = {
        "generated_at": times.iso_or_none(now),
        "next_expected_at": times.iso_or_none(now + 900),
    }
    return page.render({**document.build(seed.report()), **fresh, **changes})


# Each screen once, each light once; the other two of the four pairs add nothing of their own.
@pytest.mark.parametrize(
    ("width", "dark"),
    [
        pytest.param(1100, False, id="desk-light"),
        pytest.param(390, True, id="phone-dark"),
        pytest.param(1100, True, id="desk-dark", marks=pytest.mark.deep),
        pytest.param(390, False, id="phone-light", marks=pytest.mark.deep),
    ],
)
def test_the_red_things_are_red_and_visible(tmp_path: Path, dark: bool, width: int) -> None:
    seen = browser.visit(rendered(), tmp_path, dark=dark, width=width, probe=True)

    probe = seen.probe
    assert probe["dark"] is dark
    assert probe["width"] == width
    assert probe["scroll"] <= width, "the page is wider than the screen"
    critical = [item for item in probe["alerts"] if item["border"] == RED[dark]]
    assert {item["text"].splitlines()[0] for item in critical} >= {
        "Disk space: /",
        "Merge queue halted: aina-academy",
        "Runners: vds-1",
    }
    for item in [*probe["alerts"], *probe["cells"]]:
        assert item["shown"], item["text"]
        assert 0 < item["width"] <= width, item["text"]
        assert item["height"] > 0, item["text"]
        assert item["left"] >= 0, item["text"]
        assert item["right"] <= width, item["text"]
    assert probe["overall"]["color"] == RED[dark]
    told = {item["text"] for item in probe["cells"]}
    assert {"failed", "halted", "missed"} <= {word for text in told for word in text.split()} | {
        "missed" if "no success" in text else "" for text in told
    }
    assert probe["old"]["shown"] is False
    # On a phone each cell carries its own label instead of a head far above.
    assert all(shown is (width > 640) for shown in probe["heads"])
    assert all(height > 20 for height in probe["plots"])
    assert min(probe["lines"]) > 100


def test_nothing_is_loaded_from_outside_and_the_console_is_silent(tmp_path: Path) -> None:
    seen = browser.visit(rendered(), tmp_path)

    assert seen.console == []
    assert seen.requests == ["/"]
    assert "&lt;script&gt;alert(1)" in seen.dom
    # A pull request is linked, which loads nothing until somebody follows it.
    loads = r"(?<!href=.)https?://"
    assert not re.search(loads, seen.dom)


@pytest.mark.deep
def test_the_test_would_hear_of_an_error_and_of_a_load(tmp_path: Path) -> None:
    planted = rendered().replace(
        "</body>", '<img src="/outside.png"><script>nothing()</script></body>'
    )

    obeyed = browser.visit(planted, tmp_path)
    unguarded = browser.visit(planted, tmp_path, probe=True)

    # The page's own policy forbids both, and says so.
    assert any("Content Security Policy" in line for line in obeyed.console)
    assert "/outside.png" not in obeyed.requests
    assert any("nothing is not defined" in line for line in unguarded.console)
    assert "/outside.png" in unguarded.requests


def test_a_page_that_nobody_renews_says_so(tmp_path: Path) -> None:
    past = times.iso_or_none(time.time() - 3600)

    seen = browser.visit(rendered(next_expected_at=past), tmp_path, probe=True)

    assert seen.probe["old"]["shown"] is True


@pytest.mark.deep
def test_a_well_server_shows_nothing_red(tmp_path: Path) -> None:
    report = seed.report(seed.well_facts())

    seen = browser.visit(page.render(document.build(report)), tmp_path, probe=True)

    assert seen.probe["alerts"] == []
    assert seen.probe["overall"]["text"] == "ok"
    assert seen.probe["cells"] == []


@pytest.mark.deep
@pytest.mark.parametrize(
    ("name", "dark", "width"), [("desk", False, 1100), ("night", True, 1100), ("phone", False, 390)]
)
def test_a_picture_is_kept(tmp_path: Path, name: str, dark: bool, width: int) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    picture = ARTEFACTS / f"status-{name}.png"
    picture.unlink(missing_ok=True)

    browser.visit(rendered(), tmp_path, dark=dark, width=width, screenshot=picture)

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
