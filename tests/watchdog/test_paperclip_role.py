"""The scripts that the role paperclip brings, and the command that it asks; no host is needed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import __main__
from factory.outcome import Exit
from watchdog.paperclip_stub import Stub

FILES = Path(__file__).resolve().parents[2] / "roles/paperclip/files"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nset -eu\n{text}\n")
    path.chmod(0o755)
    return path


# -- install ------------------------------------------------------------------------------

# "install --prefix DIRECTORY ...": it brings half of what it should, then fails if it is told to.
NPM = """mkdir -p "$3/node_modules"
printf %s "$9" >"$3/node_modules/package"
[ ! -e "$0.fails" ]"""


@pytest.fixture
def node(tmp_path: Path) -> Path:
    program(tmp_path / "bin/node", "echo v22.20.0")
    return program(tmp_path / "bin/npm", NPM)


def install(tmp_path: Path, floor: str = "20.0.0") -> subprocess.CompletedProcess[str]:
    words = [str(tmp_path / "lib/2026.824.1"), "paperclipai@2026.824.1", "2026.824.1", floor]
    return subprocess.run(
        ["sh", str(FILES / "install"), *words],
        env={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.usefixtures("node")
def test_a_node_that_is_too_old_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    done = install(tmp_path, floor="24.11.0")

    assert done.returncode != 0
    assert "needs Node 24.11.0 or newer; the host has 22.20.0" in done.stderr
    assert not (tmp_path / "lib").exists()
    assert install(tmp_path, floor="22.20.0").returncode == 0


def test_an_installation_that_was_cut_off_gets_no_name_and_begins_anew(
    tmp_path: Path, node: Path
) -> None:
    fails = node.with_name("npm.fails")
    fails.touch()

    assert install(tmp_path).returncode != 0
    assert not (tmp_path / "lib/2026.824.1").exists()
    (tmp_path / "lib/2026.824.1.part/left").touch()
    fails.unlink()
    assert install(tmp_path).returncode == 0

    assert [path.name for path in (tmp_path / "lib").iterdir()] == ["2026.824.1"]
    assert [path.name for path in (tmp_path / "lib/2026.824.1").iterdir()] == ["node_modules"]


# -- instance and backup ------------------------------------------------------------------


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """An instance with a key, a configuration, old and new run logs, and an earlier copy."""
    place = tmp_path / "home/instances/default"
    for name in ("data/backups", "data/run-logs", "secrets"):
        (place / name).mkdir(parents=True)
    (place / "secrets/master.key").write_text("the key\n")
    (place / "config.json").write_text("{}\n")
    kept = tmp_path / "kept"
    kept.mkdir()
    for path in (place / "data/run-logs/old", place / "data/run-logs/new", kept / "old.sql.gz"):
        path.touch()
        if path.name.startswith("old"):
            os.utime(path, (0, 0))
    (tmp_path / "settings").write_text(
        f"VERSION_DIR={tmp_path}/version\nPAPERCLIP_HOME={tmp_path}/home\n"
        f"PAPERCLIP_INSTANCE_ID=default\nBACKUP_DIR={kept}\nBACKUP_KEEP_DAYS=14\n"
        "RUN_LOG_KEEP_DAYS=30\n"
    )
    (tmp_path / "backup").write_bytes((FILES / "backup").read_bytes())
    return place


@pytest.mark.usefixtures("instance")
def test_an_instance_that_is_there_is_run_and_never_made_anew(tmp_path: Path) -> None:
    program(tmp_path / "version/node_modules/.bin/paperclipai", 'echo "$*"')
    (tmp_path / "start").write_bytes((FILES / "start").read_bytes())

    def started() -> str:
        return subprocess.run(
            ["sh", str(tmp_path / "start")], capture_output=True, text=True, check=True
        ).stdout

    assert started() == "run --instance default\n"
    (tmp_path / "home/instances/default/config.json").unlink()
    assert started() == "onboard --yes --bind loopback --no-install-service\n"


DUMP = 'echo "-- dump" | {} >"$PAPERCLIP_HOME/instances/default/data/backups/fresh.sql.gz"'


def backup(tmp_path: Path, dump: str) -> subprocess.CompletedProcess[str]:
    program(tmp_path / "version/node_modules/.bin/paperclipai", dump)
    return subprocess.run(
        ["sh", str(tmp_path / "backup")], capture_output=True, text=True, check=False
    )


def test_a_backup_is_whole_brings_the_key_and_drops_what_is_old(
    tmp_path: Path, instance: Path
) -> None:
    done = backup(tmp_path, DUMP.format("gzip"))

    assert done.returncode == 0, done.stderr
    kept = tmp_path / "kept"
    names = sorted(path.name for path in kept.iterdir())
    assert names == ["config.json", "fresh.sql.gz", "master.key"]
    assert (kept / "master.key").read_text() == "the key\n"
    assert {path.stat().st_mode & 0o077 for path in kept.iterdir()} == {0}
    assert [path.name for path in (instance / "data/run-logs").iterdir()] == ["new"]
    assert (instance / "secrets/master.key").read_text() == "the key\n"


@pytest.mark.usefixtures("instance")
@pytest.mark.parametrize(
    "dump",
    [
        pytest.param("exit 3", id="refused"),
        pytest.param("true", id="nothing is there"),
        pytest.param(DUMP.format("cat"), id="no archive"),
    ],
)
def test_a_backup_that_fails_says_so_and_keeps_the_last_one(tmp_path: Path, dump: str) -> None:
    done = backup(tmp_path, dump)

    assert done.returncode != 0
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["old.sql.gz"]


# -- factory paperclip --------------------------------------------------------------------


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub(now=lambda: 1_800_000_000.0) as stub:
        yield stub


def ask(tmp_path: Path, stub: Stub, *words: str) -> int:
    file = tmp_path / "factory.json"
    section = {"url": f"http://127.0.0.1:{stub.port}", "port": stub.port, "database_port": 1}
    file.write_text(json.dumps({"paperclip": section}))
    return __main__.main(["paperclip", "--config", str(file), *words])


def test_who_asks_is_told_whether_a_restart_would_cut_an_agent_off(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, stub, "--json") == Exit.FAILED
    told = json.loads(capsys.readouterr().out)
    assert (told["version"], told["runs"]) == ("2026.824.1", ["Founding Engineer"])

    stub.at_work = False
    assert ask(tmp_path, stub, "--json") == Exit.DONE
    # Whoever does not know who is at work must not take that for nobody.
    stub.broken_dashboard = True
    assert ask(tmp_path, stub) == Exit.FAILED
    stub.broken_dashboard, stub.healthy = False, False
    assert ask(tmp_path, stub) == Exit.DONE, "what does not run has nobody at work"


def test_a_port_that_others_reach_or_a_server_that_is_not_healthy_fails_the_converge(
    tmp_path: Path, stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(tmp_path, stub, "--exposed", "--wait-seconds=0.1") == Exit.DONE
    with Stub(now=stub.now, address="0.0.0.0") as open_one:  # noqa: S104 - the very mistake
        assert ask(tmp_path, open_one, "--exposed", "--wait-seconds=0.1") == Exit.FAILED
        assert f"from outside: Paperclip (port {open_one.port})" in capsys.readouterr().err

    stub.healthy = False
    assert ask(tmp_path, stub, "--exposed", "--wait-seconds=0.1") == Exit.FAILED
    assert "not healthy after 0.1 s" in capsys.readouterr().err
