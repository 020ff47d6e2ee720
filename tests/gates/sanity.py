"""``ansible-test sanity`` of the collection under the oldest and the newest core."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cores
from gates.tree import COLLECTION, UnavailableError, copy
from sampling import draw

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
    try:
        venv = cores.environment(core)
    except cores.NoPythonError as error:
        raise UnavailableError(str(error)) from error
    python = cores.PAIRS[core]
    with tempfile.TemporaryDirectory(prefix="aina-factory-sanity-") as temporary:
        collection = Path(temporary) / "ansible_collections/aina/factory"
        copy(root, collection, COLLECTION)
        # They are no part of what is published; other gates read them.
        shutil.rmtree(collection / "tests/unit", ignore_errors=True)
        completed = _sanity(collection, venv, python)
        wanted = BOOTSTRAP_WANTED.search(completed.stdout)
        if completed.returncode and wanted:
            place = Path(wanted[1])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(BOOTSTRAP)
            completed = _sanity(collection, venv, python)
    return _findings(completed.stdout) if completed.returncode else ""


GATES: dict[str, Callable[[Path], str]] = {
    f"sanity-{core}": partial(sanity, core)
    for core in draw("ansible-core under the sanity tests", list(cores.PAIRS))
}
