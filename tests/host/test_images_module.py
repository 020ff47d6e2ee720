"""The module of the images: the same plan as ``factory images build``."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils.base.configuration import Section
from ansible_collections.aina.factory.plugins.module_utils.base.github import settings as github
from ansible_collections.aina.factory.plugins.module_utils.base.locks import LockedError
from ansible_collections.aina.factory.plugins.module_utils.images import build
from ansible_collections.aina.factory.plugins.module_utils.images.settings import (
    Settings,
    from_section,
)
from ansible_collections.aina.factory.plugins.modules import images


def module(**params: Any) -> Any:
    given = {"changed_paths": [], "lock_wait_seconds": 60, **params}
    return SimpleNamespace(
        check_mode=bool(params.get("check_mode")), get_bin_path=lambda name: name, params=given
    )


def settings(directory: Path) -> Settings:
    section = {"source_dir": str(directory), "state_dir": str(directory / "state")}
    return from_section(Section(section, "images"), github.GitHub())


def test_check_mode_works_before_there_is_an_engine(tmp_path: Path) -> None:
    asked = module(check_mode=True)
    asked.get_bin_path = lambda _name: None
    expected = ["build all images, once the engine and the sources are there"]
    assert images._present(asked, settings(tmp_path)) == (expected, [])


def test_a_converge_waits_for_the_build_of_one_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / build.LOCK
    monkeypatch.setattr(images, "LOCK", lock)
    monkeypatch.setattr(build.Builder, "build", lambda _self: build.Report())
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            images._present(module(lock_wait_seconds=0), settings(tmp_path))
        threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        assert images._present(module(), settings(tmp_path)) == ([], [])


def test_a_converge_says_what_was_built_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build.Report(
        failures={"ci": "its smoke test failed"}, retired=["aina-factory/x:current"]
    )
    monkeypatch.setattr(images, "LOCK", tmp_path / build.LOCK)
    monkeypatch.setattr(build.Builder, "build", lambda _self: report)
    assert images._present(module(), settings(tmp_path)) == (
        ["retire aina-factory/x:current"],
        ["ci: its smoke test failed"],
    )
