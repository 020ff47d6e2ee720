"""``factory images``: what the builds wrote down, beside what the engine has now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from factory import __main__
from factory.outcome import Exit


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images that were built, and a client that knows the names in ``engine``."""
    programs, state = tmp_path / "bin", tmp_path / "state"
    programs.mkdir()
    state.mkdir()
    client = programs / "docker"
    client.write_text(f'#!/bin/sh\n[ "$1" = images ] && exec cat {tmp_path}/engine\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for name in ("ci", "lane"):
        record = {"schema": 1, "image": f"aina-factory/{name}:current", "smoke": "ok", "detail": ""}
        (state / f"{name}.json").write_text(json.dumps(record))
    path = tmp_path / "factory.json"
    section = {"source_dir": str(tmp_path), "state_dir": str(state)}
    path.write_text(json.dumps({"images": section}))
    return path


def listed(config: Path, capsys: pytest.CaptureFixture[str], *there: str) -> tuple[int, str]:
    names = [f"aina-factory/{name}:current\n" for name in there]
    config.with_name("engine").write_text("debian:trixie\n" + "".join(names))
    code = __main__.main(["images", "--config", str(config)])
    return code, "".join(capsys.readouterr())


def test_an_image_that_somebody_removed_is_gone_whatever_its_build_said(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = listed(config, capsys, "ci", "lane")
    assert (code, "gone" in text) == (Exit.DONE, False)

    code, text = listed(config, capsys, "ci")

    assert code == Exit.FAILED
    (line,) = [line for line in text.splitlines() if "gone" in line]
    assert line.startswith("aina-factory/lane:current")
    assert "factory images build makes it anew" in text


def test_without_an_answer_of_the_engine_nothing_is_said_to_be_there(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "bin/docker").write_text("#!/bin/sh\necho no daemon >&2; exit 1\n")

    code, text = listed(config, capsys, "ci", "lane")

    assert code == Exit.FAILED
    assert "unknown: no daemon" in text
