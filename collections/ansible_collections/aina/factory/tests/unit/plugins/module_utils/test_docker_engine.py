"""What the engine is asked before its file is replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils import docker_engine
from ansible_collections.aina.factory.plugins.module_utils.ports import Completed
from ansible_collections.aina.factory.plugins.module_utils.steps import docker_daemon


def host_with(version: str) -> Any:
    """Return a host whose engine of this version does not run."""

    def run(argv: Sequence[str | bytes], **_options: Any) -> Completed:
        answers = {"dockerd": f"Docker version {version}, build 5d6db84", "systemctl": ""}
        return Completed(0, answers[str(argv[0])].encode(), b"")

    return run


@pytest.mark.parametrize(("version", "asks"), [("20.10.24+dfsg1", False), ("26.1.5+dfsg1", True)])
def test_only_an_engine_that_can_judge_its_file_is_asked_to(
    tmp_path: Path, version: str, asks: bool
) -> None:
    run = host_with(version)
    parameters = {
        "settings": {"log-driver": "local"},
        "build_cache": None,
        "published_address": "",
        "restart_policy": "drained",
        "image_store_switch_allowed": False,
        "state": "present",
    }

    plan = docker_engine.plan(
        docker_daemon.wish(parameters, run), run, 0.0, tmp_path / "daemon.json"
    )

    (change,) = plan.changes
    assert change.file is not None
    assert (change.file.validate[:2] == ("dockerd", "--validate")) is asks
