"""The real Paperclip, where the registry carries it: the stub must be like it."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from factory.core.paperclip.settings import PaperclipSettings
from factory.core.watchdog import paperclip
from factory.core.watchdog.facts import Known
from factory.watchdog.web import fetch
from watchdog.paperclip_stub import COMPANY, Stub

ROOT = Path(__file__).resolve().parents[2]
VERSION = "2026.824.1"
PLACE = ROOT / ".cache" / "paperclip" / VERSION
INSTALL_SECONDS = 420
START_SECONDS = 180
# Agents' own programs, seven hundred megabytes of them, which a server without agents never calls.
LEFT_OUT = ("@openai/codex", "@anthropic-ai/claude-agent-sdk")

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def program() -> Path:
    """The real program; a registry that does not carry it, or a Node too old for it, is a skip."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no npm (Debian: apt install npm)")
    found = PLACE / "node_modules/.bin/paperclipai"
    if found.exists():
        return found
    part = PLACE.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "nothing").mkdir(parents=True)
    (part / "nothing/package.json").write_text('{"name": "nothing", "version": "1.0.0"}')
    package = {
        "private": True,
        "dependencies": {"paperclipai": VERSION},
        "overrides": dict.fromkeys(LEFT_OUT, "file:./nothing"),
    }
    (part / "package.json").write_text(json.dumps(package))
    argv = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        subprocess.run(argv, cwd=part, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        words = getattr(error, "stderr", None) or b""
        shutil.rmtree(part, ignore_errors=True)
        pytest.skip(
            f"paperclipai {VERSION} cannot be installed here: {error} {words.decode()[-300:]}"
        )
    part.rename(PLACE)
    return found


@pytest.fixture(scope="module")
def server(program: Path) -> Iterator[str]:
    """A running instance of a user of its own (its database refuses root); yields the address."""
    port, database = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="paperclip-") as directory:
        home = Path(directory)
        prefix: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            os.chown(home, account.pw_uid, account.pw_gid)
            prefix = ["runuser", "-u", "nobody", "--"]
        environment = {
            **os.environ,
            "HOME": directory,
            "PAPERCLIP_HOME": f"{directory}/.paperclip",
            "PAPERCLIP_NO_BROWSER": "1",
            "PORT": str(port),
            "PAPERCLIP_EMBEDDED_POSTGRES_PORT": str(database),
        }
        argv = [
            *prefix,
            str(program),
            "onboard",
            "--yes",
            "--bind",
            "loopback",
            "--no-install-service",
        ]
        log = (home / "log").open("wb")
        process = subprocess.Popen(
            argv,
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url, process, home / "log")
            yield url
        finally:
            _end(process)
            log.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
            return


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            get(f"{url}/api/health")
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.5)
        else:
            return
    pytest.fail(f"Paperclip does not start:\n{log.read_text(errors='replace')[-2000:]}")


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def make_company(url: str) -> str:
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{url}/api/companies",
        b'{"name": "Demo"}',
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
        return str(json.load(answer)["id"])


def shape(value: Any) -> Any:
    """Return the keys and types that matter of what the stub tells."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value).__name__


def holds(real: Any, wanted: Any) -> bool:
    """Whether the real answer has everything that the stub tells, of the same types."""
    if isinstance(wanted, dict):
        return isinstance(real, dict) and all(
            key in real and holds(real[key], item) for key, item in wanted.items()
        )
    return bool(real == wanted)


@pytest.mark.deep
def test_the_watchdog_understands_the_real_one_and_the_stub_is_like_it(server: str) -> None:
    company = make_company(server)
    port = int(server.rpartition(":")[2])
    settings = PaperclipSettings(url=server, port=port)

    found = paperclip.ask(settings, fetch, Path("/proc"), 20)

    assert found.healthy, found.detail
    assert found.version == VERSION
    assert found.exposed == Known(())
    assert isinstance(found.companies, Known), found.companies
    assert [item.name for item in found.companies.value] == ["Demo"]
    assert found.companies.value[0].agents_error == 0
    with Stub(now=time.time) as stub:
        for place in ("health", "companies/{}/dashboard"):
            told = shape(stub.answer(f"/api/{place.format(COMPANY)}")[1])
            real = shape(get(f"{server}/api/{place.format(company)}"))
            assert holds(real, told), (place, real, told)
        for place in ("issues", "heartbeat-runs", "live-runs"):
            assert get(f"{server}/api/companies/{company}/{place}") == []
        assert holds(
            shape(get(f"{server}/api/companies")[0]), shape(stub.answer("/api/companies")[1][0])
        )
