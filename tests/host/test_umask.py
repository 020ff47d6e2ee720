"""What root makes is read by others, whatever umask the host has given root."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from factory.core.base import ansible_effects

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Each program with the module that it starts.
PROGRAMS = {
    "factory_command/files/factory": "factory.__main__",
    "lanes/files/run-lane": "factory.run_lane",
    "lanes/files/codex-lane": "factory.codex_lane",
}


def now() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize(("user", "mask"), [(0, 0o022), (1000, 0o077)])
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_root_makes_readable_files_and_a_users_own_umask_is_kept(
    program: str, user: int, mask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = ModuleType(PROGRAMS[program])
    setattr(stand_in, "main", now)  # noqa: B010 - a module has no such attribute to a type checker
    monkeypatch.setitem(sys.modules, PROGRAMS[program], stand_in)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "pycache_prefix", None)
    monkeypatch.setattr(os, "geteuid", lambda: user)

    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROLES / program))

    assert ended.value.code == mask


def test_a_module_and_what_it_runs_make_readable_files() -> None:
    ansible_effects.runner(None)

    assert now() == 0o022
