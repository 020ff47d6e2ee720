"""What the behaviour tests of all scenarios share: converging again, and the simulated GitHub."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
COLLECTION = PROJECT / "collections/ansible_collections/aina/factory"


@dataclass(frozen=True)
class Run:
    """A finished converge: exit status, everything it printed, and its recap."""

    returncode: int
    output: str
    changed: list[str]
    module_calls: int
    seconds: float


def converge(scenario: Path, *arguments: str, **variables: Any) -> Run:
    """Converge the scenario's hosts once more with other variables."""
    # Nowhere in the project: gates look at it meanwhile.
    recap = Path(tempfile.gettempdir(), f"recap-{scenario.name}-{os.getpid()}.json")
    recap.unlink(missing_ok=True)
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{PROJECT}/collections:{PROJECT}/.venv/collections",
        "AINA_RECAP_FILE": str(recap),
    }
    argv = ["ansible-playbook", "--inventory", str(scenario / "inventory.yml")]
    argv += [str(scenario / "converge.yml"), "--extra-vars", json.dumps(variables), *arguments]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    document: dict[str, Any] = {"changes": [], "module_calls": {}, "seconds": 0.0}
    if recap.exists():
        document = json.loads(recap.read_text(encoding="utf-8"))
        recap.unlink()
    changed = [
        what for change in document["changes"] for what in change["what"] or [change["task"]]
    ]
    calls = sum(document["module_calls"].values())
    return Run(done.returncode, done.stdout + done.stderr, changed, calls, document["seconds"])


@dataclass(frozen=True)
class Simulator:
    """The control port of a GitHub simulator that the scenario's inventory names."""

    container: str

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one command, as the simulator's README lists them, and return the answer."""
        argv = ["docker", "exec", "--interactive", self.container, "python3", "-P"]
        argv += ["/opt/aina-factory/tests/simulator/ask.py", "http://127.0.0.1:8080", method, path]
        done = subprocess.run(
            argv, input=json.dumps(body), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise AssertionError(f"{method} {path}: {done.stderr.strip()}")
        return json.loads(done.stdout)
