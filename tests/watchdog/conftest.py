"""A directory that stands for a server, watched for real."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory import configuration, effects
from factory.core.base.ports import Completed
from factory.core.watchdog import policy as policies
from factory.core.watchdog.checks import (
    firewall,
    memory,
    out_of_memory,
    pressure,
    reachability,
    zombies,
)
from factory.core.watchdog.facts import Absent
from factory.watchdog.run import Watchdog

RUN_SECONDS = 900.0
ELSEWHERE = (
    *(memory.SOURCE, pressure.SOURCE, out_of_memory.SOURCE, zombies.SOURCE),
    *(reachability.NAMES, reachability.GITHUB, firewall.SOURCE),
)
START = 1_800_000_000.0
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root; run as root")


class Server:
    """One server under watch; each :meth:`run` is a quarter of an hour later."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.data = root / "data"
        self.section: dict[str, Any] = {
            "data_dir": str(self.data),
            "disks": ["/"],
            "reserve_mib": 0,
            "engine_socket_path": "",
            "clock_enabled": False,
            "gather_seconds": 5,
        }
        self.others: dict[str, Any] = {}
        self.now = START
        self.run_program: Any = effects.run
        # What else this machine has to do, and whom it reaches, must not decide a test.
        self.given: dict[Any, Any] = dict.fromkeys(ELSEWHERE, Absent("not watched"))

    @property
    def config(self) -> Path:
        return self.root / "etc/factory.json"

    def write_config(self) -> None:
        self.config.parent.mkdir(parents=True, exist_ok=True)
        sections = {"watchdog": self.section, "locks": {"directory": str(self.root / "lock")}}
        self.config.write_text(json.dumps({**sections, **self.others}))

    def watchdog(self) -> Watchdog:
        self.write_config()
        whole = configuration.load(self.config)
        policy, errors = policies.of(whole)
        return Watchdog(
            policy,
            whole,
            run=self.run_program,
            now=self.now,
            hostname="test",
            fallback_dir=self.root / "run",
            errors=errors,
            given=self.given,
        )

    def run(self, times: int = 1) -> dict[str, Any]:
        for _ in range(times):
            self.now += RUN_SECONDS
            document = self.watchdog().once()
        return document

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "status.json").read_bytes()))

    def put(self, name: str, document: Any) -> Path:
        path = self.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        path.write_text(text)
        return path


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def statuses(document: dict[str, Any], check: str) -> dict[str, str]:
    """Return what one check says, by subject."""
    return {
        item["subject"]: item["status"] for item in document["checks"] if item["check"] == check
    }


def firing(document: dict[str, Any]) -> set[str]:
    """Return the keys of the raised alerts."""
    return {alert["key"] for alert in document["alerts"]}


Mount = Callable[..., Path]


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Mount]:
    """Return a function that mounts a small filesystem of memory; root alone can."""
    mounted: list[Path] = []

    def mount(name: str, options: str) -> Path:
        place = tmp_path / name
        place.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        # A test may have taken it away itself.
        if place.is_mount():
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def refuse(*_arguments: object, **_options: object) -> Completed:
    """Stand for a program that fails."""
    return Completed(1, b"", b"no bus")
