"""What keeps a slot from starting a runner, and which image it takes."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory.core.base import documents
from factory.core.base.docker import DockerError
from factory.core.base.github.settings import GitHub
from factory.core.images.settings import ImagesSettings
from factory.core.runners import layout
from factory.core.runners.guard import GuardVerdict
from factory.core.runners.settings import Instance, Mode, RunnersSettings, Timing
from factory.runners import isolation
from factory.runners.engine import Info
from factory.runners.preflight import Preflight
from runners.support import until

OWN, COMMON = "aina-factory/demo-ci:current", "aina-factory/ci:current"
Usage = namedtuple("Usage", ["total", "used", "free"])


class Engine:
    """Has some images."""

    def __init__(self) -> None:
        self.images = {COMMON: "sha256:one"}
        self.broken = False

    def info(self) -> Info:
        if self.broken:
            raise DockerError("docker info: cannot connect")
        return Info("systemd", 4)

    def image_id(self, name: str) -> str | None:
        return self.images.get(name)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def slot(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Preflight:
    """A slot that may start a runner."""
    settings = RunnersSettings(prefix="box", github=GitHub(), timing=Timing())
    github: Any = SimpleNamespace(settings=settings, allowed=True)
    github.recorded = lambda _instance, _seconds: github.allowed
    github.judge = lambda _instance: GuardVerdict(("x/y: it is public",))
    monkeypatch.setattr(isolation, "problem", lambda _settings, _run: "")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 20 << 30))
    instance = Instance(name="demo", mode=Mode.EPHEMERAL, target="x/y", project="demo")
    run: Any = None
    return Preflight("demo-1", instance, github, engine, run, tmp_path, tmp_path)  # type: ignore[arg-type]


def test_nothing_forbids_a_runner_where_all_is_well(slot: Preflight) -> None:
    assert slot.preflight() == ""


def test_no_runner_is_started_where_the_disk_is_nearly_full(
    slot: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 10239 << 20))

    assert "/ has 10239 MiB left; jobs are taken from 10240 MiB on" in slot.preflight()


@pytest.mark.parametrize(
    ("free", "files", "told"), [(4, 100, True), (5, 100, False), (0, 0, False)]
)
def test_no_runner_is_started_where_the_files_are_nearly_used_up(
    slot: Preflight, monkeypatch: pytest.MonkeyPatch, free: int, files: int, told: bool
) -> None:
    usage = SimpleNamespace(f_favail=free, f_files=files)
    monkeypatch.setattr(os, "statvfs", lambda _path: usage)

    assert ("/ has room for 4 of 100 files" in slot.preflight()) is told


def test_no_runner_is_started_without_its_image_or_the_engine(
    slot: Preflight, engine: Engine
) -> None:
    engine.images = {}
    assert f"there is no image {COMMON}; converge the images" in slot.preflight()

    engine.broken = True
    assert "the container engine does not answer" in slot.preflight()


def test_no_runner_is_started_without_isolation(
    slot: Preflight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "problem", lambda _settings, _run: "nft: no")

    assert slot.preflight() == slot.recheck() == "nft: no"


def test_no_runner_is_started_for_a_target_that_may_not_be_served(slot: Preflight) -> None:
    slot.github.allowed = False  # type: ignore[attr-defined]

    assert slot.preflight() == slot.recheck() == "x/y: it is public"


def test_a_project_with_an_image_of_its_own_takes_that(slot: Preflight, engine: Engine) -> None:
    assert slot.image() == COMMON

    engine.images[OWN] = "sha256:two"
    assert slot.image() == OWN
    # One for a label of this instance alone.
    engine.images["aina-factory/demo-ci_gpu:current"] = "sha256:three"
    assert slot.image() == OWN
    slot.instance = dataclasses.replace(slot.instance, labels=("GPU",))
    assert slot.image() == "aina-factory/demo-ci_gpu:current"


def test_an_image_that_was_put_in_force_shows_in_the_records(slot: Preflight) -> None:
    path = slot.image_records / "ci.json"
    documents.replace(path, {"id": "sha256:one"})
    before = slot.built()
    assert slot.built() == before

    # Again and again: the clock of a file system goes in steps.
    def shows() -> bool:
        documents.replace(path, {"id": "sha256:two"})
        return slot.built() != before

    until(shows, "a sign of it", 10)


def test_the_records_are_looked_for_where_the_builder_writes_them() -> None:
    assert str(layout.IMAGE_RECORDS) == ImagesSettings().state_dir


def test_the_unit_that_builds_images_anew_is_started(slot: Preflight) -> None:
    started: list[list[str]] = []
    slot.run = lambda argv, **_: started.append(argv)  # type: ignore[assignment]

    settings = RunnersSettings(prefix="box", github=GitHub())
    slot.github.settings = dataclasses.replace(settings, rebuild_unit="")
    slot.rebuild()
    assert started == []

    slot.github.settings = settings
    slot.rebuild()
    assert started == [["systemctl", "start", "--no-block", "factory-job-factory-images.service"]]
