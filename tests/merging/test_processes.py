"""The command as the timer runs it: killed at every write, twice at once, and its secrets."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sampling import is_deep
from simulator import Simulator
from simulator.faults import Disconnected
from simulator.http import Answer, Incoming
from simulator.model import Pull

from factory.core.marshal import audit
from merging.test_simulator import NAME, repository, settings_file

pytestmark = pytest.mark.slow
HOOKS = Path(__file__).parent / "hooks"
FACTORY = Path(sys.executable).parent / "factory"
Answerer = Callable[[Incoming], Answer]


def start(config: str, **environment: str) -> subprocess.Popen[str]:
    places = [str(HOOKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [str(FACTORY), "marshal", "--config", config, "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(config: str, **environment: str) -> tuple[dict[str, Any], str]:
    """Run a cycle to its end; return its document and everything it printed."""
    process = start(config, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    document: dict[str, Any] = json.loads(out)["projects"][0]
    return document, out + err


def is_write(request: Incoming) -> bool:
    push = request.path.endswith("/git-receive-pack") and request.method == "POST"
    rest = request.path.startswith("/api/v3/") and request.method != "GET"
    return push or rest


class Killer:
    """Kills the marshal when it sends write ``index``: before it is done, or right after.

    Without a victim it notes the writes.
    """

    def __init__(self, simulator: Simulator, index: int, moment: str) -> None:
        self.index, self.moment = index, moment
        self.paths: list[str] = []
        self.victim = 0
        self._genuine: Answerer = simulator._https.answerer
        simulator._https.answerer = self.answer

    def answer(self, request: Incoming) -> Answer:
        if not is_write(request):
            return self._genuine(request)
        here = len(self.paths) == self.index
        self.paths.append(request.path)
        if not here:
            return self._genuine(request)
        if self.moment == "after":
            self._genuine(request)
        os.kill(self.victim, signal.SIGKILL)
        raise Disconnected


def change(number: int, **settings: Any) -> dict[str, Any]:
    files = settings.pop("files", {f"change-{number}.txt": "x\n"})
    return {
        "head": f"change-{number}",
        "author": "agent",
        "created_at": f"-{100 - number}m",
        "commits": [{"message": f"Change {number}", "files": files}],
        "checks": [{"name": "ci", "conclusion": "success"}],
        **settings,
    }


# One that lands with a dependant behind it, one that conflicts with main, one held.
FAST = repository(
    0,
    commits=[
        {"message": "Begin", "files": {"same.txt": "one\n"}},
        {"message": "Go on", "files": {"same.txt": "two\n"}},
    ],
    ci=[{"name": "ci"}],
    pull_requests=[
        change(1),
        change(2, base="change-1", **{"from": "change-1"}),
        change(3, files={"same.txt": "three\n"}, **{"from": "main~1"}),
        change(4, labels=["hold"]),
    ],
)
TRAIN = repository(
    0,
    ci=[{"name": "ci", "fails_if_file": ["bad.txt"]}],
    pull_requests=[change(1), change(2, files={"bad.txt": "x\n"})],
)
MERGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fast": (FAST, {"required_checks": ["ci"]}),
    "train": (TRAIN, {"mode": "train", "required_checks": ["ci"]}),
}


def end_state(simulator: Simulator) -> object:
    found = simulator.world.repository(NAME)
    assert found is not None
    tip = found.git.branch("main")
    assert tip is not None
    return {
        "pulls": [
            (
                pull.number,
                pull.state,
                pull.base,
                sorted(label.name for label in pull.labels),
                [comment.body for comment in pull.comments],
            )
            for pull in found.pulls
        ],
        "branches": sorted(name for name in found.git.refs if name.startswith("refs/heads/")),
        "main": [found.git.commit(oid)["message"] for oid in found.git.log("main", 50)],
        "files": found.git.files(tip),
    }


def until_quiet(simulator: Simulator, config: str) -> None:
    """Run cycles until one writes nothing."""
    for _ in range(8):
        before = simulator.dispatcher.counts()["writes"]
        run(config)
        if simulator.dispatcher.counts()["writes"] == before:
            return
    raise AssertionError("never came to rest")


def config_of(simulator: Simulator, directory: Path, merge: dict[str, Any]) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    addresses = simulator.addresses()
    login = {"method": "token_file", "token_file": addresses["token_file"]}
    return settings_file(directory, addresses, login, merge)


def points(paths: list[str]) -> list[tuple[str, int]]:
    """Return when to kill: at every write, or only right after the first one landed."""
    if is_deep():
        return [(moment, index) for moment in ("before", "after") for index in range(len(paths))]
    return [("after", next(n for n, path in enumerate(paths) if path.endswith("/merge")))]


@pytest.mark.parametrize("name", ["fast", pytest.param("train", marks=pytest.mark.deep)])
def test_killed_at_any_write_it_ends_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    document, merge = MERGES[name]
    with Simulator(document) as simulator:
        counter = Killer(simulator, -1, "never")
        until_quiet(simulator, config_of(simulator, tmp_path / "undisturbed", merge))
        wanted, paths = end_state(simulator), counter.paths
        assert len(paths) >= 5
        for moment, index in points(paths):
            simulator.load(document)
            killer = Killer(simulator, index, moment)
            directory = tmp_path / f"{moment}-{index}"
            config = config_of(simulator, directory, merge)
            process = start(config)
            killer.victim = process.pid
            process.communicate(timeout=300)
            if process.returncode == 0 and is_deep():
                continue  # this write belongs to a later cycle
            assert process.returncode == -signal.SIGKILL

            until_quiet(simulator, config)

            assert end_state(simulator) == wanted, f"killed {moment} write {index}"
            log = (directory / "state/demo/audit.jsonl").read_text().splitlines()
            assert audit.verify(log)


@pytest.mark.deep
def test_two_servers_with_one_repository_land_everything_once(tmp_path: Path) -> None:
    pulls = [change(n) for n in range(1, 9)]
    document = repository(0, ci=[{"name": "ci"}], pull_requests=pulls)
    with Simulator(document) as simulator:
        # Memory and lock of their own, as two machines have.
        configs = [
            config_of(simulator, tmp_path / place, {"required_checks": ["ci"]})
            for place in ("here", "there")
        ]
        for _ in range(3):
            processes = [start(config) for config in configs]
            for process in processes:
                out, err = process.communicate(timeout=300)
                assert process.returncode == 0, out + err
        found = simulator.world.repository(NAME)
        assert found is not None
        messages = [found.git.commit(oid)["message"] for oid in found.git.log("main", 50)]

        assert {pull.state for pull in found.pulls} == {"MERGED"}
        assert len(messages) == len(set(messages)) == len(pulls) + 1
        assert [name for name in found.git.refs if name.startswith("refs/heads/")] == [
            "refs/heads/main"
        ]
        for config in configs:
            log = Path(config).parent / "state/demo/audit.jsonl"
            assert audit.verify(log.read_text().splitlines())


SHIM = """#!/bin/sh
printf '%s\\n' "$0 $*" >> "{log}"
tr '\\0' '\\n' < /proc/$PPID/cmdline >> "{log}"
exec {program} "$@"
"""


def shims(directory: Path, *programs: str) -> tuple[Path, Path]:
    """Return a directory of programs that note how they are called, and the notes."""
    places, log = directory / "bin", directory / "calls"
    places.mkdir()
    own = str(Path(sys.executable).parent)
    for name in programs:
        real = shutil.which(name, path=f"{own}{os.pathsep}{os.environ['PATH']}")
        assert real, f"{name} is not installed"
        place = places / name
        place.write_text(SHIM.format(log=log, program=real))
        place.chmod(0o755)
    return places, log


def login_of(simulator: Simulator, method: str) -> dict[str, Any]:
    addresses = simulator.addresses()
    if method == "token_file":
        return {"method": method, "token_file": addresses["token_file"]}
    if method == "github_app":
        (app,) = addresses["apps"]
        key = app["private_key_file"]
        return {"method": method, "app_id": app["id"], "app_key_file": key}
    return {"method": method}


@pytest.mark.parametrize("method", ["token_file", "github_app", "gh"])
def test_no_secret_is_an_argument_or_written_or_said(method: str, tmp_path: Path) -> None:
    permissions = {
        **dict.fromkeys(("contents", "pull_requests", "issues"), "write"),
        **dict.fromkeys(("checks", "statuses", "metadata", "actions"), "read"),
    }
    app = {"slug": "marshal", "installed_on": "factory", "permissions": permissions}
    other: dict[str, Any] = {"name": "factory/other"}
    document = {**repository(2, ci=[{"name": "ci"}]), "apps": [app]}
    document["repositories"] = [*document["repositories"], other]
    with Simulator(document) as simulator:
        bin_dir, calls = shims(tmp_path, "git", "openssl", "gh")
        merge = {"required_checks": ["ci"], "mode": "train"}
        addresses, login = simulator.addresses(), login_of(simulator, method)
        config = settings_file(tmp_path, addresses, login, merge)
        environment = {"PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}
        environment["GH_CONFIG_DIR"] = str(tmp_path / "gh")
        if method == "gh":
            environment["GH_ENTERPRISE_TOKEN"] = simulator.token.value
        before = set(simulator.world.tokens)

        report, printed = run(config, **environment)

        assert report["merged"] == [1, 2]
        minted = {t: simulator.world.tokens[t] for t in set(simulator.world.tokens) - before}
        if method == "github_app":
            assert len(minted) == 1
            (token,) = minted.values()
            assert token.repositories == {NAME}
            assert token.permissions is not None
            assert "actions" not in token.permissions
        callers = {entry["caller"] for entry in simulator.dispatcher.log} - {"anonymous"}
        expected = "installation:" if method == "github_app" else "user:factory"
        assert callers
        assert all(caller.startswith(expected) for caller in callers)
        noted = calls.read_text()
        assert "git --git-dir=" in noted.replace(str(bin_dir) + "/", "")
        assert ("openssl dgst" in noted) == (method == "github_app")
        assert ("gh auth token" in noted) == (method == "gh")
        secrets = [*minted, simulator.token.value]
        secrets += [
            base64.b64encode(f"x-access-token:{secret}".encode()).decode() for secret in secrets
        ]
        if method == "github_app":
            key = Path(login["app_key_file"]).read_text().splitlines()
            secrets += [line for line in key if not line.startswith("-----")]
            secrets.append("eyJ")  # how every JSON web token begins
        for secret in secrets:
            assert secret not in printed
            assert secret not in noted
            left = subprocess.run(
                ["grep", "-rlFe", secret, str(tmp_path)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert left.stdout == "", f"{secret[:6]}... stands in {left.stdout}"


@pytest.mark.deep
def test_every_pull_request_that_landed_was_judged_in_the_audit_log(tmp_path: Path) -> None:
    with Simulator(FAST) as simulator:
        config = config_of(simulator, tmp_path, {"required_checks": ["ci"]})
        run(config)
        run(config)
        found = simulator.world.repository(NAME)
        assert found is not None
        log = (tmp_path / "state/demo/audit.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in log]

        def event(kind: str, pull: Pull) -> list[dict[str, Any]]:
            return [r for r in records if (r["event"], r["number"]) == (kind, pull.number)]

        assert {pull.number for pull in found.pulls if pull.state == "MERGED"} == {1, 2}
        for pull in found.pulls:
            decided = event("decide", pull)
            assert decided, f"#{pull.number} was never judged"
            if pull.state == "MERGED":
                assert decided[-1]["head"] == pull.head_oid
                assert [r["result"] for r in event("merge", pull)] == ["done"]
        assert all(record["policy"] and record["requests"] >= 0 for record in records)
