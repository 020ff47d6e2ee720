"""The collection as a site has it: built, and installed where nothing of the checkout is found."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SOURCE = ROOT / "collections/ansible_collections/aina/factory"


@dataclass(frozen=True)
class Site:
    """A directory with the installed collection; those that it needs come from this environment."""

    path: Path

    @property
    def installed(self) -> Path:
        return self.path / "ansible_collections/aina/factory"

    def environment(self) -> dict[str, str]:
        """Return an environment that knows nothing of the checkout."""
        kept = {name: value for name, value in os.environ.items() if name[:8] != "ANSIBLE_"}
        return {
            **kept,
            "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": f"{self.path}:{sys.prefix}/collections",
            # The environment's own search path leads to the checkout.
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_CALLBACKS_ENABLED": "aina.factory.recap",
            "AINA_RECAP_FILE": str(self.path / "recap.json"),
            "LC_ALL": "C.UTF-8",
        }

    def run(self, program: str, *words: str | Path) -> str:
        """Return what a program of the environment prints."""
        done = subprocess.run(
            [BIN / program, *words],
            env=self.environment(),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


def install(place: Path) -> Site:
    """Build the collection and install it in an empty directory, without a network."""
    site = Site(place)
    (place / "ansible.cfg").write_text("[defaults]\n")
    site.run("ansible-galaxy", "collection", "build", "--output-path", place, SOURCE)
    (archive,) = place.glob("*.tar.gz")
    words = ("collection", "install", "--offline", "--collections-path", place, archive)
    site.run("ansible-galaxy", *words)
    return site
