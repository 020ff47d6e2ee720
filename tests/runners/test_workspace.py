"""The hook that empties a native runner's workspace before and after each job."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from factory.core.base.configuration import Section
from factory.core.base.github.settings import GitHub
from factory.core.runners import model, native_unit
from factory.core.runners.layout import Places
from factory.core.runners.model import Instance, Mode

HOOK = Path(__file__).parents[2] / "roles/gh_actions_runner/files/clean-workspace.sh"


def hook(workspace: Path | None) -> int:
    given = {} if workspace is None else {"GITHUB_WORKSPACE": str(workspace)}
    return subprocess.run([HOOK], env={"PATH": os.environ["PATH"], **given}, check=False).returncode


def test_a_workspace_is_emptied_and_stays(tmp_path: Path) -> None:
    workspace, other = tmp_path / "work", tmp_path / "other"
    (workspace / ".git/objects").mkdir(parents=True)
    (workspace / "left").write_text("x")
    other.mkdir()
    (other / "kept").write_text("x")
    (workspace / "link").symlink_to(other)

    assert hook(workspace) == 0

    assert list(workspace.iterdir()) == []
    assert (other / "kept").exists()


def test_without_a_workspace_no_job_is_held_up(tmp_path: Path) -> None:
    assert [hook(None), hook(tmp_path / "none")] == [0, 0]


def test_a_native_runner_calls_it_before_and_after_each_job() -> None:
    settings = model.from_section(Section({"prefix": "box"}, "runners"), GitHub())

    unit = native_unit.render(Instance("a", Mode.NATIVE, "x/y"), settings, Places())

    for moment in ("STARTED", "COMPLETED"):
        name = f"ACTIONS_RUNNER_HOOK_JOB_{moment}"
        assert f'Environment="{name}=/opt/gha-runner/hooks/clean-workspace.sh"' in unit
