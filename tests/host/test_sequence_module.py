"""The module that runs several steps at once: by itself, and once by Ansible on this machine."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.aina.factory.plugins.module_utils.base import ansible_effects
from ansible_collections.aina.factory.plugins.module_utils.base.ports import Completed
from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.modules import sequence

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def owner() -> dict[str, str]:
    # On some systems root's group is not called root.
    command = ["stat", "--format=%U %G", "/"]
    user, group = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return {"owner": user, "group": group}


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    # The module sets its own.
    before = os.umask(0o022)
    yield
    os.umask(before)


def run(steps: Sequence[Any], *, check_mode: bool = False) -> dict[str, Any]:
    """Run the steps; return the module's answer."""
    said = io.StringIO()
    arguments = {"steps": steps, "_ansible_check_mode": check_mode}
    with patch_module_args(arguments), contextlib.redirect_stdout(said), pytest.raises(SystemExit):
        sequence.main()
    answer: dict[str, Any] = json.loads(said.getvalue())
    return answer


def run_by_ansible(steps: Sequence[Any]) -> tuple[dict[str, Any], str]:
    """Run the steps; return the module's answer and all that Ansible printed."""
    program = Path(sys.executable).parent / "ansible"
    argv: list[str | Path] = [
        program,
        "localhost",
        "--connection=local",
        "--diff",
        "-vvv",
    ]
    argv += [f"--extra-vars=ansible_python_interpreter={sys.executable}"]
    argv += ["--module-name=aina.factory.sequence", f"--args={json.dumps({'steps': steps})}"]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "false",
        "LC_ALL": "C.UTF-8",
    }
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True)
    start = done.stdout.index(" => {") + 4
    answer, _end = json.JSONDecoder().raw_decode(done.stdout[start:])
    return answer, done.stdout + done.stderr


def test_check_mode_real_run_and_second_run_agree(tmp_path: Path, owner: dict[str, str]) -> None:
    steps = [
        {"managed_files": {"directories": [{"path": f"{tmp_path}/made", **owner}]}},
        {"managed_files": {"files": [{"path": f"{tmp_path}/made/a", "content": "open\n", **owner},
                                     {"path": f"{tmp_path}/b", "content": "swordfish\n", **owner,
                                      "sensitive": True}]}},
    ]  # fmt: skip

    planned = run(steps, check_mode=True)
    assert list(tmp_path.iterdir()) == []
    real, printed = run_by_ansible(steps)
    again = run(steps)

    assert planned["actions"] == real["actions"] == [
        f"{tmp_path}/made", f"{tmp_path}/made/a", f"{tmp_path}/b",
    ]  # fmt: skip
    assert (tmp_path / "b").read_text() == "swordfish\n"
    assert (again["changed"], again["actions"]) == (False, [])
    assert "+open" in printed
    # Said to be sensitive, and seen nowhere but in the call itself.
    assert "swordfish" not in json.dumps(real)


def test_nothing_is_done_when_any_step_is_misspelt(tmp_path: Path, owner: dict[str, str]) -> None:
    good: dict[str, Any] = {
        "managed_files": {"files": [{"path": f"{tmp_path}/a", "content": "", **owner}]}
    }

    unknown = run([good, {"manged_files": {}}])
    wrong = run([good, {"units": {"units": [{"state": "started"}]}}])
    two = run([good, {**good, "packages": {}}])

    assert "step 2 has the keys ['manged_files']" in unknown["msg"]
    assert "step 2 (units): missing required arguments: name" in wrong["msg"]
    assert "step 2 has the keys ['managed_files', 'packages']" in two["msg"]
    assert list(tmp_path.iterdir()) == []


def test_a_failing_step_names_itself_and_reports_those_before(
    tmp_path: Path, owner: dict[str, str]
) -> None:
    refused: dict[str, Any] = {
        "path": f"{tmp_path}/c",
        "content": "",
        **owner,
        "validate": ["false", "%s"],
    }

    answer = run([
        {"managed_files": {"files": [{"path": f"{tmp_path}/a", "content": "", **owner}]}},
        {"managed_files": {"directories": [{"path": f"{tmp_path}/b", **owner}], "files": [refused]}},
        {"managed_files": {"files": [{"path": f"{tmp_path}/d", "content": "", **owner}]}},
    ])  # fmt: skip

    assert answer["msg"].startswith(f"step 2 (managed_files): {tmp_path}/c")
    assert answer["changed"] is True
    assert answer["actions"] == [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_later_step_that_refuses_does_so_before_the_first_changes_anything(
    tmp_path: Path, owner: dict[str, str]
) -> None:
    made = tmp_path / "made"
    answer = run(
        [
            {"managed_files": {"directories": [{"path": str(made), **owner}]}},
            {"login_users": {"users": [{"name": "root", "home": "/srv/elsewhere"}]}},
        ]
    )

    assert answer["msg"].startswith("step 2 (login_users), before anything is changed: root's home")
    assert not made.exists()


def test_a_plan_foretells_the_restart_of_a_unit_whose_file_an_earlier_step_writes(
    tmp_path: Path, owner: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
        "InactiveExitTimestampMonotonic=4000000000000000"
    )
    monkeypatch.setattr(
        ansible_effects, "runner", lambda _: lambda *_, **__: Completed(0, text.encode(), b"")
    )
    path = f"{tmp_path}/x.conf"
    unit = {"name": "x.service", "state": "started", "restarted_by": [path]}

    answer = run(
        [
            {"managed_files": {"files": [{"path": path, "content": "", **owner}]}},
            {"units": {"units": [unit]}},
        ],
        check_mode=True,
    )

    assert answer["actions"] == [path, f"restart x.service ({path} changed)"]


@pytest.fixture
def without_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Say that a role brings a program that this machine does not have."""
    program = str(tmp_path / "factory")
    monkeypatch.setitem(steps.PROGRAMS, program, "factory_command")
    return program


def test_what_an_earlier_role_must_bring_is_named_before_anything_is_changed(
    tmp_path: Path, owner: dict[str, str], without_command: str
) -> None:
    judged = {
        **owner,
        "path": f"{tmp_path}/b.json",
        "content": "{}",
        "validate": [without_command, "%s"],
    }
    sequence_steps = [
        {"managed_files": {"files": [{**owner, "path": f"{tmp_path}/a", "content": "a"}]}},
        {"managed_files": {"files": [judged]}},
    ]

    real, planned = run(sequence_steps), run(sequence_steps, check_mode=True)

    assert real["failed"] and "--tags factory_command first" in real["msg"]
    assert list(tmp_path.iterdir()) == []
    assert [item["for"] for item in planned["waiting"]] == [without_command]


def test_what_an_earlier_step_brings_is_not_waited_for(
    tmp_path: Path, owner: dict[str, str], without_command: str
) -> None:
    program = {**owner, "path": without_command, "content": "#!/bin/sh\n", "mode": "0755"}
    judged = {
        **owner,
        "path": f"{tmp_path}/b.json",
        "content": "{}",
        "validate": [without_command, "%s"],
    }
    sequence_steps = [
        {"managed_files": {"files": [program]}},
        {"managed_files": {"files": [judged]}},
    ]

    planned = run(sequence_steps, check_mode=True)
    real = run(sequence_steps)

    assert planned["waiting"] == real["waiting"] == []
    assert (tmp_path / "b.json").read_text() == "{}"
