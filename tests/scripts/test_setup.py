"""What the scripts ask of a machine, and what they say when it is not there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "script"
OLD = "#!/bin/sh\nexit 1\n"
# Everything that the functions need, but no Python, no engine, and not root.
USED = ("bash", "dirname", "mkdir", "grep", "env", "sh", "cat")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    shutil.copytree(SCRIPTS, tmp_path / "script")
    (tmp_path / "inventory/production").mkdir(parents=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in USED:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    put(tmp_path, "id", "#!/bin/sh\necho 1000\n")
    put(tmp_path, "uname", "#!/bin/sh\necho Linux\n")
    return tmp_path


def put(machine: Path, name: str, text: str) -> None:
    (machine / "bin" / name).write_text(text)
    (machine / "bin" / name).chmod(0o755)


def ask(machine: Path, function: str) -> tuple[int, str]:
    done = subprocess.run(
        [machine / "bin/bash", "-c", f"source script/lib.sh; {function}"],
        cwd=machine,
        env={"PATH": str(machine / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_python_that_is_too_old_is_none_and_another_is_looked_for(machine: Path) -> None:
    put(machine, "python3", OLD)

    status, said = ask(machine, "find_python")
    assert (status, "no Python 3.11 or newer was found" in said) == (1, True)

    put(
        machine,
        "python3.12",
        "#!/bin/sh\ncase $2 in *exit*) exit 0 ;; esac\necho /opt/python3.12\n",
    )
    assert ask(machine, "find_python") == (0, "/opt/python3.12\n")


def test_without_an_engine_and_without_root_it_says_what_to_install(machine: Path) -> None:
    status, said = ask(machine, "ensure_engine")

    assert status == 1
    assert "sudo apt install docker.io" in said


def test_an_inventory_that_is_not_there_is_answered_with_those_that_are(machine: Path) -> None:
    assert ask(machine, "inventory_path production") == (0, "inventory/production")

    status, said = ask(machine, "inventory_path prodution")

    assert status == 1
    assert "there is no inventory prodution; under inventory/ are: production" in said


def builds(machine: Path, pulled: str, base: str, suite: str = "trixie") -> tuple[int, str]:
    """Build the image of sandbox hosts where the registry has but ``pulled``."""
    (machine / "bin/timeout").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (machine / "bin/timeout").chmod(0o755)
    script = (
        "#!/bin/sh\n"
        f'case "$1 $2" in "pull {pulled}") exit 0 ;; pull*|image*) exit 1 ;; build*) echo "$@" ;; esac\n'
    )
    put(machine, "docker", script)
    return ask(machine, f"SANDBOX_BASE={base} build_sandbox_image content {suite} blank image")


def test_hosts_are_made_of_the_base_that_somebody_names(machine: Path) -> None:
    status, said = builds(machine, "ubuntu:24.04", "ubuntu:24.04")

    assert status == 0
    assert "--build-arg BASE_IMAGE=ubuntu:24.04" in said
    # The release before is Debian's, whatever else is named.
    status, said = builds(machine, "debian:bookworm", "ubuntu:24.04", "bookworm")
    assert "--build-arg BASE_IMAGE=debian:bookworm" in said


def test_a_base_that_no_registry_gives_is_an_error_and_nothing_else_is_taken(machine: Path) -> None:
    status, said = builds(machine, "debian:trixie", "ubuntu:24.04")

    assert status == 1
    assert "no registry gave ubuntu:24.04, which SANDBOX_BASE names" in said
    assert "BASE_IMAGE" not in said
