"""What tests and their hosts have started on the engine, found by its label."""

from __future__ import annotations

import os
import subprocess

NAME = os.environ.get("AINA_SANDBOX_NAME") or "aina-factory"


def labelled(label: str) -> list[str]:
    """Return the containers that carry a label, ``KEY=VALUE``, whether they run or not."""
    listing = ["docker", "ps", "--all", "--quiet", "--filter", f"label=aina-factory.{label}"]
    done = subprocess.run(listing, capture_output=True, text=True, check=True)
    return done.stdout.split()


def remove(label: str) -> None:
    """Remove the containers that carry a label, with what they stored."""
    found = labelled(label)
    if found:
        subprocess.run(
            ["docker", "rm", "--force", "--volumes", *found], capture_output=True, check=True
        )
