"""The module of the images: the same plan as ``factory images build``."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils.base.configuration import Section
from ansible_collections.aina.factory.plugins.module_utils.base.locks import LockedError
from ansible_collections.aina.factory.plugins.module_utils.base.settings import read
from ansible_collections.aina.factory.plugins.module_utils.images import build
from ansible_collections.aina.factory.plugins.module_utils.images.settings import ImagesSettings
from ansible_collections.aina.factory.plugins.modules import images


def module(**params: Any) -> Any:
    given = {"changed_paths": [], "lock_wait_seconds": 60, **params}
    return SimpleNamespace(
        check_mode=bool(params.get("check_mode")), get_bin_path=lambda name: name, params=given
    )


def settings(directory: Path) -> ImagesSettings:
    section = {"source_dir": str(directory), "state_dir": str(directory / "state")}
    return read(ImagesSettings, Section(section, "images"))


def test_check_mode_works_before_there_is_an_engine(tmp_path: Path) -> None:
    asked = module(check_mode=True)
    asked.get_bin_path = lambda _name: None
    expected = ["build all images, once the engine and the sources are there"]
    assert images._present(asked, settings(tmp_path)) == (expected, {})


def test_a_converge_waits_for_the_build_of_one_that_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / build.LOCK
    monkeypatch.setattr(images, "LOCK", lock)
    monkeypatch.setattr(build.Builder, "build", lambda _self: build.BuildReport())
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LockedError):
            images._present(module(lock_wait_seconds=0), settings(tmp_path))
        threading.Timer(0.2, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        assert images._present(module(), settings(tmp_path)) == ([], {})


def test_a_converge_says_what_was_built_and_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = build.BuildReport(
        failures={"ci": "its smoke test failed"}, retired=["aina-factory/x:current"]
    )
    monkeypatch.setattr(images, "LOCK", tmp_path / build.LOCK)
    monkeypatch.setattr(build.Builder, "build", lambda _self: report)
    assert images._present(module(), settings(tmp_path)) == (
        ["retire aina-factory/x:current"],
        {"ci": "its smoke test failed"},
    )


# As an engine says it where no registry can be reached: docker/for-mac#2152.
AWAY = (
    "the base ubuntu:24.04 cannot be pulled: Error response from daemon: Get https://registry-1.docker.io/v2/: dial "
    "tcp: lookup registry-1.docker.io on 192.168.65.1:53: read udp 192.168.65.2:45941->192.168.65.1:53: i/o timeout"
)


def test_what_a_registry_keeps_from_being_built_waits_and_so_does_what_is_built_on_it() -> None:
    chain = {"base": AWAY, "ci": "not built, for base failed", "demo": "not built, for ci failed"}

    waiting = images.waits(chain)

    (item,) = waiting
    assert item["what"] == "image base, image ci, image demo"
    assert item["for"] == "an answer of registry-1.docker.io"


@pytest.mark.parametrize(
    "failures",
    [{}, {"ci": "its smoke test failed"}, {"base": AWAY, "ci": "its smoke test failed"}],
)
def test_an_image_that_fails_by_itself_is_a_failure_whatever_else_waits(
    failures: dict[str, str],
) -> None:
    assert images.waits(failures) == []


def test_without_a_base_all_images_wait() -> None:
    (item,) = images.waits({images.ALL: AWAY})

    assert item["what"] == "all images"
