"""``ansible-test sanity`` of the collection under the oldest and the newest core."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from gates.tree import COLLECTION, ROOT, UnavailableError, files

# Core and the Python it runs on here; requirements.lock maps one to the other.
PAIRS = {"2.19": "3.11", "2.21": "3.13"}

# Where ansible-test cannot download its pip bootstrap script it names the place to save one at.
BOOTSTRAP_WANTED = re.compile(r"can be manually downloaded and saved to: (\S+)")
# In-process ensurepip would hide pip's configuration, and with it the certificates.
BOOTSTRAP = """\
import subprocess
import sys

subprocess.check_call([sys.executable, "-m", "ensurepip"])
wanted = [word for word in sys.argv[1:] if word.startswith("pip==")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *wanted]))
"""


def _pythons(version: str) -> Iterator[str]:
    yield sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python{version}")))


def find_python(version: str) -> str:
    """Return an interpreter of that version which runs; a pyenv shim may exist and not run."""
    program = "import sys; print(sys.executable, '%d.%d' % sys.version_info[:2])"
    for candidate in _pythons(version):
        started = subprocess.run(
            [candidate, "-c", program], capture_output=True, text=True, check=False
        )
        if started.returncode == 0 and started.stdout.split()[1] == version:
            return started.stdout.split()[0]
    raise UnavailableError(
        f"no Python {version} on PATH or under pyenv; install python{version} with its venv module"
    )


def _environment(version: str) -> Path:
    """Return a virtual environment of that Python with the locked packages."""
    python = find_python(version)
    if Path(python).is_relative_to(sys.prefix):
        return Path(sys.prefix)
    venv = ROOT / f".venv-{version}"
    program = 'source script/lib.sh && ensure_venv "$1" "$2"'
    subprocess.run(["bash", "-c", program, "-", python, str(venv)], cwd=ROOT, check=True)
    return venv


def _core(venv: Path) -> str:
    program = "import ansible.release; print(ansible.release.__version__)"
    started = subprocess.run(
        [venv / "bin/python", "-c", program], capture_output=True, text=True, check=True
    )
    return started.stdout.strip()


def _sanity(collection: Path, venv: Path, python: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    # ansible-test believes every pythonX.Y on PATH, pyenv's shims too.
    path = [part for part in environment["PATH"].split(os.pathsep) if not part.endswith("/shims")]
    environment["PATH"] = os.pathsep.join([str(venv / "bin"), *path])
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_COLLECTIONS_PATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    return subprocess.run(
        [venv / "bin/ansible-test", "sanity", "--python", python, "--color", "no"],
        cwd=collection,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _findings(output: str) -> str:
    """Return the findings without the installation of the tools; all where there are none."""
    found = [line for line in output.splitlines() if line.startswith(("ERROR:", "FATAL:"))]
    return "\n".join(found) if found else output


def sanity(core: str, root: Path) -> str:
    """Run every sanity test on a copy, so that its output stays out of the checkout."""
    python = PAIRS[core]
    venv = _environment(python)
    if not _core(venv).startswith(f"{core}."):
        raise AssertionError(f"{venv} has core {_core(venv)}, not {core}; see requirements.lock")
    with tempfile.TemporaryDirectory(prefix="aina-factory-sanity-") as temporary:
        collection = Path(temporary) / "ansible_collections/aina/factory"
        for path in files(root, str(COLLECTION)):
            target = collection / path.relative_to(COLLECTION)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / path, target)
        completed = _sanity(collection, venv, python)
        wanted = BOOTSTRAP_WANTED.search(completed.stdout)
        if completed.returncode and wanted:
            place = Path(wanted[1])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(BOOTSTRAP)
            completed = _sanity(collection, venv, python)
    return _findings(completed.stdout) if completed.returncode else ""


GATES: dict[str, Callable[[Path], str]] = {
    f"sanity-{core}": partial(sanity, core) for core in PAIRS
}
