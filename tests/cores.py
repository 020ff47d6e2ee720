"""The releases of ansible-core that the project keeps to, and an environment with each."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Core and the Python it runs on here, oldest first; requirements.lock maps one to the other.
PAIRS = {"2.19": "3.11", "2.21": "3.13"}
NEWEST = "2.21"


class NoPythonError(Exception):
    """An interpreter is missing on this machine; the message says how to get it."""


def _pythons(version: str) -> Iterator[str]:
    yield sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python{version}")))


def find_python(version: str) -> str:
    """Return an interpreter of that version which runs; a pyenv shim may exist and not run.

    Raises:
        NoPythonError: there is none.

    """
    program = "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])"
    for candidate in _pythons(version):
        started = subprocess.run(
            [candidate, "-c", program], capture_output=True, text=True, check=False
        )
        if started.returncode == 0 and started.stdout.split()[1] == version:
            return started.stdout.split()[0]
    raise NoPythonError(
        f"no Python {version} on PATH or under pyenv; install python{version} with its venv module"
    )


def environment(core: str) -> Path:
    """Return a virtual environment with the locked packages and that core.

    Raises:
        NoPythonError: its Python is missing.

    """
    version = PAIRS[core]
    python, venv = find_python(version), Path(sys.prefix)
    if not Path(python).is_relative_to(venv):
        venv = ROOT / f".venv-{version}"
        # Whoever else runs beside this may want the same.
        with (ROOT / ".cache" / f"venv-{version}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            program = 'source script/lib.sh && ensure_venv "$1" "$2"'
            subprocess.run(["bash", "-c", program, "-", python, str(venv)], cwd=ROOT, check=True)
    program = "import ansible.release; print(ansible.release.__version__)"
    found = subprocess.run(
        [venv / "bin/python", "-c", program], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not found.startswith(f"{core}."):
        raise AssertionError(f"{venv} has core {found}, not {core}; see requirements.lock")
    return venv
