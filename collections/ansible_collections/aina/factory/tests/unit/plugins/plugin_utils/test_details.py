from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.aina.factory.plugins.plugin_utils import details


def test_the_newest_runs_stay(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"20260101T0000{number:02}Z-1.log").write_text("old")

    made = details.Details(tmp_path)
    made.write("a line\n")

    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == details.KEPT_COUNT
    assert made.path is not None
    assert names[-1] == made.path.name


@pytest.mark.parametrize("obstacle", ["a file", "a link"])
def test_a_run_goes_on_where_nothing_can_be_written(tmp_path: Path, obstacle: str) -> None:
    place = tmp_path / "runs"
    if obstacle == "a file":
        place.write_text("")
    else:
        place.symlink_to(tmp_path / "nowhere/there")

    made = details.Details(place)
    made.write("a line")
    made.close()

    assert (made.path, bool(made.problem)) == (None, True)


def test_colors_and_what_moves_the_cursor_stay_out(tmp_path: Path) -> None:
    made = details.Details(tmp_path)

    made.write("\x1b[0;32mok\x1b[0m: [vds]\tx\n\x1b[2Jgone\n")

    assert made.path is not None
    assert made.path.read_text() == "ok: [vds]    x\n\\x1b[2Jgone\n"
