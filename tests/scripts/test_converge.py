"""script/converge as it calls Ansible's programs, which are recorded and not run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "script"
RECORD = '#!/bin/sh\nprintf "%s\\n" "$@" >>"$CALLS/$(basename "$0")"\nexit ${STATUS:-0}\n'
# What sets the machine up has tests of its own.
NOTHING_TO_SET_UP = (
    '\nuse_venv() { export PATH="$CALLS/bin:$PATH"; }\nensure_collections() { :; }\n'
)
DECRYPTS = ["--vault-password-file=/pw", "--vault-id=dev@/pw2"]


def put(program: Path, text: str) -> None:
    program.write_text(text)
    program.chmod(0o755)


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    put(programs / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    put(programs / "ansible-playbook", RECORD)
    shutil.copytree(SCRIPTS, tmp_path / "script")
    with (tmp_path / "script/lib.sh").open("a", encoding="utf-8") as library:
        library.write(NOTHING_TO_SET_UP)
    (tmp_path / "inventory").mkdir()
    return tmp_path


def converge(calls: Path, *options: str, shown: int = 0) -> tuple[int, str, list[str]]:
    """Return status and output of the script, and the words with which hosts were asked."""
    put(calls / "bin/ansible", RECORD.replace("${STATUS:-0}", str(shown)))
    done = subprocess.run(
        [str(calls / "script/converge"), str(calls / "inventory"), *options],
        env={**os.environ, "CALLS": str(calls)},
        capture_output=True,
        text=True,
        check=False,
    )
    asked = calls / "ansible"
    words = asked.read_text().splitlines() if asked.exists() else []
    assert (calls / "ansible-playbook").read_text().splitlines()[3:] == list(options), done.stderr
    return done.returncode, done.stdout + done.stderr, words


@pytest.mark.parametrize(
    ("options", "passed"),
    [
        # In full, abbreviated and short; and what says nothing of how hosts are reached.
        (
            ["--vault-password-file", "/pw", "--vault-id=dev@/pw2", "-lone", "-uali", "--check"],
            [*DECRYPTS, "--limit=one", "--user=ali"],
        ),
        (
            [
                "--vault-pass-file=/pw",
                "-l",
                "one",
                "-e",
                "a=b c",
                "--become-pass-file",
                "/b",
                "--tags",
                "jobs",
                "--diff",
                "-vv",
                "-f",
                "9",
            ],
            [DECRYPTS[0], "--limit=one", "--become-password-file=/b", "--extra-vars=a=b c"],
        ),
    ],
)
def test_hosts_are_asked_as_they_were_converged(
    calls: Path, options: list[str], passed: list[str]
) -> None:
    status, output, words = converge(calls, *options)

    assert status == 0, output
    given = words[3 : words.index("--module-name")]
    assert sorted(given) == sorted(passed)


@pytest.mark.parametrize(
    "option",
    [
        pytest.param("--ask-vault-pass", marks=pytest.mark.deep),
        pytest.param("-J", marks=pytest.mark.deep),
        "-kK",
        "--vault-id=x@prompt",
    ],
)
def test_nobody_is_asked_for_a_password_twice(calls: Path, option: str) -> None:
    status, output, words = converge(calls, option)

    assert (status, words) == (0, [])
    assert "would ask once more; on the server: factory jobs" in output


def test_a_status_that_cannot_be_shown_fails_nothing(calls: Path) -> None:
    status, output, words = converge(calls, shown=4)

    assert (status, bool(words)) == (0, True)
    assert "what was converged is so all the same" in output
