"""A second sandbox beside the operator's, from a clean clone, as a newcomer makes it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import containers
import residue

ROOT = Path(__file__).resolve().parents[2]
NAME = "aina-factory-e2e"
HOST = f"{NAME}-sandbox"
GITHUB = f"github.{NAME}"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def docker(*words: str, check: bool = True) -> str:
    """Return what a docker command prints."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(words)}: {done.stderr}")
    return done.stdout.strip()


def on_host(*words: str, check: bool = True) -> str:
    """Return what a command prints on the sandbox host."""
    return docker("exec", HOST, *words, check=check)


def ask_github(method: str, path: str, body: Any = None) -> Any:
    """Send a command to the control port of the simulated GitHub beside the host."""
    argv = ["docker", "exec", "--interactive", GITHUB, "python3", "-P"]
    argv += ["/opt/aina-factory/tests/simulator/ask.py", "http://127.0.0.1:8080", method, path]
    done = subprocess.run(
        argv,
        input=json.dumps(body),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def finished_job(repository: str, number: int) -> Any:
    """Return a job at GitHub once it is over."""
    job = ask_github("GET", f"/job?repository={repository}&id={number}")
    return job if job["status"] == "completed" else None


def traces() -> list[str]:
    """Return what an engine still holds of the sandbox."""
    return [
        *docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name={NAME}").splitlines(),
        *docker("network", "ls", "--format", "{{.Name}}", "--filter", f"name={NAME}").splitlines(),
        *docker("images", "--format", "{{.Repository}}:{{.Tag}}", f"{NAME}/*").splitlines(),
    ]


@dataclass(frozen=True)
class Ran:
    """A script that ended."""

    returncode: int
    output: str
    seconds: float
    recap: dict[str, Any]

    @property
    def changes(self) -> list[str]:
        """The tasks that changed something, or in check mode would, in order."""
        return [item["task"] for item in self.recap["changes"]]

    @property
    def changed_paths(self) -> set[str]:
        """The files and directories that changed, or in check mode would."""
        phrases = {phrase for item in self.recap["changes"] for phrase in item["what"]}
        return {phrase for phrase in phrases if phrase.startswith("/")}


@dataclass(frozen=True)
class Clone:
    """A fresh clone of the repository and the sandbox that its scripts make."""

    path: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of somebody who has nothing of this project yet."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "PYTEST_", "AINA_", "VIRTUAL_ENV", "PYTHONPATH"))
        }
        inherited["PATH"] = os.pathsep.join(
            entry
            for entry in inherited["PATH"].split(os.pathsep)
            if not entry.startswith(str(ROOT / ".venv"))
        )
        return {
            **inherited,
            residue.RUN_VARIABLE: os.environ[residue.RUN_VARIABLE],
            "AINA_SANDBOX_NAME": NAME,
            "AINA_RECAP_FILE": str(self.path.parent / "recap.json"),
            "AINA_DETAILS_DIR": str(self.path.parent / "runs"),
        }

    def run(self, *words: str, check: bool = True) -> Ran:
        """Run one of the clone's scripts to its end."""
        recap = self.path.parent / "recap.json"
        recap.unlink(missing_ok=True)
        started = time.monotonic()
        done = subprocess.run(
            [str(self.path / words[0]), *words[1:]],
            env=self.environment(),
            cwd=self.path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        output = _ANSI.sub("", done.stdout)
        print(output)
        if check:
            assert done.returncode == 0, f"{words[0]} ended with {done.returncode}:\n{output}"
        return Ran(
            done.returncode,
            output,
            seconds,
            json.loads(recap.read_text()) if recap.exists() else {},
        )

    def kill_after_tasks(self, task_count: int) -> bool:
        """Converge and SIGKILL everything once ``task_count`` tasks have begun.

        Returns False when the run ended before that.
        """
        process = subprocess.Popen(
            [str(self.path / "script/converge")],
            # Which says of each task that it begins.
            env={**self.environment(), "ANSIBLE_STDOUT_CALLBACK": "default"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        begun = 0
        for line in process.stdout:
            begun += line.startswith(("TASK [", "RUNNING HANDLER ["))
            if begun >= task_count:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return True
        process.wait()
        return False


def make_clone(target: Path) -> Clone:
    """Clone what is committed, plus the uncommitted state of the working tree."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    changed = subprocess.run(
        ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, changed.split("\0")):
        source, copy = ROOT / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        if source.exists():
            shutil.copy2(source, copy, follow_symlinks=False)
    return Clone(target)


def lend_images() -> None:
    """Give the sandbox of the clone the images that this checkout has made for its own tests.

    That a machine without any makes them is shown by the set-up of these tests itself.
    """
    for kind in ("debian", "sandbox", "simulator"):
        docker("tag", f"{containers.NAME}/{kind}:trixie", f"{NAME}/{kind}:trixie")


# Everything declared: what must be equal after any history of runs. Times, identifiers made
# at first start and the engine's own data are not part of the declaration.
FINGERPRINT = r"""
set -eu
for directory in /etc/aina-factory /usr/local/lib/aina-factory /usr/local/bin /etc/docker \
    /etc/systemd/system /etc/systemd/journald.conf.d /etc/sysctl.d /etc/cron.d /etc/apt/apt.conf.d; do
  [ ! -e "$directory" ] || find "$directory" -not -name '*.pyc' -not -name __pycache__ \
    -printf '%y %m %u:%g %p -> %l\n'
done | LC_ALL=C sort
find /etc/aina-factory /usr/local/lib/aina-factory /usr/local/bin /etc/docker /etc/systemd/system \
  -type f -not -name '*.pyc' -exec sha256sum {} + | LC_ALL=C sort -k 2
dpkg-query -W -f '${Package} ${Version} ${Status}\n'
systemctl list-unit-files --no-legend --no-pager | LC_ALL=C sort
# Whether a job runs just now is its timer's business.
systemctl list-units --all --no-legend --no-pager --plain \
  'factory-*.timer' 'factory-*.path' factory-lanes.slice factory-runners.slice factory-lane-gateway.service \
  'factory-runner@*' 'factory-runner-native-*' factory-runner-network.service docker.service docker.socket \
  containerd.service | awk '{print $1, $2, $3}' | LC_ALL=C sort
# Images by what they are made of, not by number or time.
for image in $(docker images --filter label=aina-factory.role=image --filter dangling=false \
    --format '{{.Repository}}:{{.Tag}}' | LC_ALL=C sort); do
  echo "$image" $(docker image inspect "$image" --format \
    '{{index .Config.Labels "aina-factory.content"}} {{index .Config.Labels "aina-factory.packages"}}')
done
docker network ls --format '{{.Name}} {{.Driver}}' | LC_ALL=C sort
nft list tables | grep aina | LC_ALL=C sort
getent passwd ali; id ali
dpkg --audit
"""


def fingerprint() -> list[str]:
    """Return the declared state of the host, line by line."""
    return on_host("sh", "-c", FINGERPRINT).splitlines()


def fingerprint_of_blank() -> list[str]:
    """Return the files and packages of a host that has nothing of ours yet."""
    script = "find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/run/*' -not -path '/var/log/*'"
    files = on_host(
        "sh", "-c", script + " -not -path '/root/.ansible*' -printf '%y %m %u:%g %s %p\\n' | sort"
    )
    return files.splitlines()
