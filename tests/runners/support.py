"""A host in a directory: systemd, accounts and the container engine are played, all else is real.

The runner application is the simulator's stub, started as a process of its own; GitHub is
the simulator. Programs that only touch files (tar, cp, chmod) run as they are.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import waiting
from simulator import Simulator
from simulator.client import Client

from factory import effects
from factory.core.base.configuration import Section
from factory.core.base.github import settings as github_settings
from factory.core.base.ports import Completed, Effects, Request, Response
from factory.core.base.settings import read
from factory.core.host import managed_files
from factory.core.runners import layout
from factory.core.runners.converge import Converge, ConvergeOptions, RunnersPlan
from factory.core.runners.github_client import GitHubClient
from factory.core.runners.layout import Places
from factory.core.runners.settings import RunnersSettings

REPOSITORY = "factory/demo"
RUNNERS = f"/repos/{REPOSITORY}/actions/runners"
PLATFORM = "linux-x64"
# What is waited for here happens in this process.
until = partial(waiting.until, pause_seconds=0.05)
# Everything that a second of waiting may stand for in these tests.
FAST = {
    "watch_seconds": 0.2,
    "disk_watch_seconds": 0.5,
    "orphan_grace_seconds": 0.5,
    "online_max_seconds": 10,
    "backoff_first_seconds": 0.05,
    "backoff_max_seconds": 0.4,
    "stop_grace_seconds": 2,
}


def scenario(**more: Any) -> dict[str, Any]:
    """A private repository, and a release of the runner to install."""
    releases = [{"tag": "v2.330.0", "runner": True, "created_at": "-2d"}]
    application = {"name": "actions/runner", "private": False, "releases": releases}
    other = {"name": "factory/other", "private": True}
    users = [{"login": "factory", "type": "Organization"}]
    return {
        "users": users,
        "repositories": [application, {"name": REPOSITORY, "private": True, **more}, other],
    }


class KilledError(BaseException):
    """The run is killed here; not an Exception, so that nothing of ours can catch it."""


@dataclass
class Unit:
    """A unit as the played systemd knows it."""

    enabled: bool = False
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    exit_status: int = 0

    @property
    def is_active(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass
class PlayedContainer:
    """A container of a runner as the played engine has it."""

    name: str
    slot: str
    runner_id: int
    runs: bool = True
    worker: bool = False
    created_at: float = field(default_factory=time.time)

    def shown(self) -> dict[str, Any]:
        """Return it as the engine lists it."""
        labels = {
            layout.ROLE_LABEL: "runner",
            layout.INSTANCE_LABEL: self.slot,
            layout.RUNNER_LABEL: str(self.runner_id),
            layout.TARGET_LABEL: REPOSITORY,
        }
        condition = "running" if self.runs else "exited"
        names, created = [f"/{self.name}"], int(self.created_at)
        return {"Names": names, "Labels": labels, "State": condition, "Created": created}


@dataclass
class FakeHost:
    """Plays the programs that a converge calls; ``calls`` are those that it was asked for."""

    root: Path
    ca_file: str
    units: dict[str, Unit] = field(default_factory=dict)
    users: set[str] = field(default_factory=set)
    calls: list[list[str]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    containers: dict[str, PlayedContainer] = field(default_factory=dict)
    engine_answers: bool = True
    rules_count: int = 0
    journal: str = "its last words\n"

    def run(
        self,
        argv: Sequence[str | bytes],
        *,
        cwd: str | bytes | None = None,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Completed:
        words = [os.fsdecode(word) for word in argv]
        self.calls.append(words)
        self.environments.append(environment or {})
        played = getattr(self, f"_{words[0].replace('-', '_')}", None)
        if played is not None:
            done: Completed = played(words[1:])
            return done
        if "setpriv" in words:
            words = words[words.index("--") + 1 :]
        return effects.run(
            words, cwd=cwd, stdin=stdin, environment=environment, timeout_seconds=timeout_seconds
        )

    def _useradd(self, words: list[str]) -> Completed:
        self.users.add(words[-1])
        return Completed(0, b"", b"")

    def _userdel(self, words: list[str]) -> Completed:
        self.users.discard(words[-1])
        return Completed(0, b"", b"")

    def _nft(self, words: list[str]) -> Completed:
        if words[0] == "--file":
            self.rules_count += 1
        return Completed(0 if self.rules_count else 1, b"", b"")

    def engine(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        """Answer as the container engine does of its version, of images and of containers."""
        path = urlsplit(request.url).path
        if not self.engine_answers:
            raise TimeoutError("timed out")
        if path == "/version":
            return Response(200, {}, b'{"ApiVersion": "1.51"}')
        if "/containers/" in path:
            return self._containers(request.method, path.partition("/containers/")[2])
        name = path.partition("/images/")[2].removesuffix("/json")
        found = self.images.get(name)
        if found is None:
            return Response(404, {}, b'{"message": "No such image"}')
        return Response(200, {}, json.dumps({"Id": found}).encode())

    def _containers(self, method: str, path: str) -> Response:
        if path == "json":
            shown = [container.shown() for container in self.containers.values()]
            return Response(200, {}, json.dumps(shown).encode())
        name, _slash, verb = path.partition("/")
        if name not in self.containers:
            return Response(404, {}, b'{"message": "No such container"}')
        if verb == "top":
            rows = [["1", "Runner.Listener"]]
            rows += [["9", "Runner.Worker"]] if self.containers[name].worker else []
            return Response(200, {}, json.dumps({"Processes": rows}).encode())
        if verb == "stop":
            self.containers[name].runs = False
        elif method == "DELETE":
            del self.containers[name]
        return Response(204, {}, b"")

    def _docker(self, _words: list[str]) -> Completed:
        return Completed(0, b"br-runners\n", b"")

    def _journalctl(self, _words: list[str]) -> Completed:
        return Completed(0, self.journal.encode(), b"")

    def _systemctl(self, words: list[str]) -> Completed:
        verb, names = words[0], [word for word in words[1:] if not word.startswith("--")]
        if verb == "show":
            blocks = "\n\n".join(self._show(name) for name in names)
            return Completed(0, blocks.encode() + b"\n", b"")
        if verb == "list-units":
            loops = [n for n in self.units if n.startswith(layout.LOOP_PREFIX)]
            lines = [f"{n} loaded active running x" for n in loops if self.units[n].is_active]
            return Completed(0, "\n".join(lines).encode(), b"")
        for name in names:
            unit = self.units.setdefault(name, Unit())
            if verb in ("enable", "disable"):
                unit.enabled = verb == "enable"
            if verb in ("stop", "restart"):
                self.stop(name)
            if verb in ("start", "restart"):
                self.start(name)
        return Completed(0, b"", b"")

    def _show(self, name: str) -> str:
        unit = self.units.get(name, Unit())
        path = self.root / "units" / name
        known = path.exists() or name in self.units
        values = {
            "Id": name,
            "Names": name,
            "LoadState": "loaded" if known else "not-found",
            "ActiveState": "active" if unit.is_active else "inactive",
            "UnitFileState": "enabled" if unit.enabled else "disabled",
            "NeedDaemonReload": "no",
            "ExecMainStatus": str(unit.exit_status),
            "InactiveExitTimestampMonotonic": str(int(unit.started_at * 1e6)),
        }
        return "\n".join(f"{key}={value}" for key, value in values.items())

    def start(self, name: str) -> None:
        """Start what the unit stands for: a native runner's own process, or one that sleeps."""
        unit = self.units.setdefault(name, Unit())
        if unit.is_active:
            return
        argv, directory = ["sleep", "1000"], self.root
        if name.startswith(layout.NATIVE_PREFIX):
            instance = name.removeprefix(layout.NATIVE_PREFIX).removesuffix(".service")
            directory = self.root / "opt/instances" / instance
            if not (directory / ".runner").exists():
                return  # its condition is not met
            argv = [str(directory / "bin/Runner.Listener"), "run", "--startuptype", "service"]
        unit.started_at = time.time()
        unit.process = subprocess.Popen(
            argv,
            cwd=directory,
            env={**os.environ, "SSL_CERT_FILE": self.ca_file},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def stop(self, name: str) -> None:
        """Stop it as KillMode=mixed does."""
        process = self.units[name].process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def is_running(self, instance: str) -> bool:
        unit = self.units.get(layout.native_unit(instance))
        return unit is not None and unit.is_active

    def close(self) -> None:
        for unit in self.units.values():
            if unit.process is not None:
                try:
                    os.killpg(unit.process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                unit.process.wait()


@dataclass
class Site:
    """A host, a GitHub, and what is declared."""

    host: FakeHost
    simulator: Simulator
    client: Client
    places: Places
    section: dict[str, Any]
    github: dict[str, Any]
    # Called after each program and each request: a run can be killed there.
    after: Callable[[str], None] = lambda what: None

    def settings(self) -> RunnersSettings:
        whole = Section({"github": self.github}, "configuration")
        return read(
            RunnersSettings, Section(self.section, "runners"), github=github_settings.of(whole)
        )

    def github_client(self, *, remembers: bool = True) -> GitHubClient:
        send = effects.https_fetch(str(self.simulator.ca_file))

        def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
            answer = send(request, timeout_seconds=timeout_seconds)
            self.after(f"{request.method} {urlsplit(request.url).path}")
            return answer

        def run(argv: Sequence[str | bytes], **more: Any) -> Completed:
            done = self.host.run(argv, **more)
            self.after(" ".join(map(os.fsdecode, argv)))
            return done

        ports = Effects(run, fetch, effects.now, lambda seconds: time.sleep(min(seconds, 0.05)))
        return GitHubClient(self.settings(), ports, self.places, PLATFORM, remembers=remembers)

    def plan(self, **options: Any) -> tuple[Converge, RunnersPlan]:
        run = Converge(self.github_client(remembers=False), 0.0, ConvergeOptions(**options))
        return run, run.plan()

    def converge(self, **options: Any) -> Converge:
        """Converge; what went wrong stands in the report."""
        run = Converge(self.github_client(), 0.0, ConvergeOptions(**options))
        run.carry_out(run.plan())
        return run

    def fine(self, **options: Any) -> list[str]:
        """Converge without any problem; return what was done."""
        run = self.converge(**options)
        assert run.report.failures == [], run.report
        assert run.report.deferred == [], run.report
        return [a for a in run.report.actions if "factory-runner" not in a]

    def registered(self, repository: str = REPOSITORY) -> dict[str, Any]:
        """All runners that GitHub knows, by name."""
        listed = self.client.rest("GET", f"/repos/{repository}/actions/runners").body["runners"]
        return {runner["name"]: runner for runner in listed}

    def requests(self) -> list[str]:
        """Method and path of every request so far."""
        log = self.client.control("GET", "/log")["requests"]
        return [f"{entry['method']} {entry['path'].partition('?')[0]}" for entry in log]

    def forget_requests(self) -> None:
        self.client.control("DELETE", "/log")

    def queue(self, *steps: str, labels: Sequence[str] = ("demo",)) -> int:
        body = {
            "repository": REPOSITORY,
            "labels": list(labels),
            "steps": [{"run": s} for s in steps],
        }
        return int(self.client.control("POST", "/job", body)["id"])

    def hold(self, label: str = "demo") -> int:
        """Queue a job that goes on when it is let go, and says ``whole`` then."""
        # Bounded: whatever becomes of the test, no step of its job stays behind.
        wait = f"for n in $(seq 600); do [ ! -e {self.host.root}/told ] || break; sleep 0.1; done"
        return self.queue(f"{wait}; echo whole", labels=[label])

    def let_go(self) -> None:
        """Let the jobs that are held go on."""
        (self.host.root / "told").touch()

    def job(self, number: int) -> Any:
        return self.client.control("GET", f"/job?repository={REPOSITORY}&id={number}")

    def done(self, number: int) -> Any:
        return until(
            lambda: (j := self.job(number))["status"] == "completed" and j, "the job's end"
        )

    def publish(self, version: str, **more: Any) -> None:
        body = {"repository": "actions/runner", "tag": f"v{version}", "runner": True, **more}
        self.client.control("POST", "/release", body)
        self.places.shared("releases").unlink(missing_ok=True)


def make_site(tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Lay a host out below a directory; accounts are the caller's own."""
    places = Places(
        root=tmp_path / "opt",
        homes=tmp_path / "homes",
        state=tmp_path / "state",
        units=tmp_path / "units",
        server_drained=tmp_path / "draining.json",
    )
    places.units.mkdir()
    host = FakeHost(tmp_path, str(simulator.ca_file))
    me = pwd.getpwuid(os.getuid())

    def getpwnam(name: str) -> pwd.struct_passwd:
        if name not in host.users:
            raise KeyError(name)
        return me

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    attributes = managed_files.Attributes
    monkeypatch.setattr(
        managed_files, "Attributes", lambda _owner, _group, mode: attributes(None, None, mode)
    )
    addresses = simulator.addresses()
    section = {
        "prefix": "box",
        "ca_file": addresses["ca_file"],
        "timing": dict(FAST),
        "instances": [
            {"name": "one", "mode": "native", "target": REPOSITORY, "labels": ["demo", "Vds"]}
        ],
    }
    login = {"method": "token_file", "token_file": addresses["token_file"]}
    github = {"api_url": addresses["api_url"], "ca_file": addresses["ca_file"], "login": login}
    return Site(host, simulator, Client(simulator), places, section, github)
