"""What the gates look at: the files of a checkout, and tools that run over them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = Path("collections/ansible_collections/aina/factory")
TOOLS = Path(sys.prefix) / "bin"


class UnavailableError(Exception):
    """A gate that this machine cannot run; the text says what to install."""


def files(root: Path, *patterns: str) -> list[Path]:
    """Return the files under ``root`` that are tracked or would be, relative and sorted."""
    # A file that was deleted but is still in the index is no file of this tree.
    return [name for name in _listed(root, *patterns) if (root / name).is_file()]


def _listed(root: Path, *patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted({Path(name) for name in listed.split("\0") if name})


def copy(root: Path, target: Path, below: Path = Path()) -> None:
    """Copy the files and links of a tree, or of a directory of it, to a place of their own."""
    for path in _listed(root, str(below)):
        copied = target / path.relative_to(below)
        copied.parent.mkdir(parents=True, exist_ok=True)
        if (root / path).is_symlink() or (root / path).is_file():
            shutil.copy2(root / path, copied, follow_symlinks=False)


def shell_scripts(root: Path) -> list[Path]:
    """Return the files that a shell runs or sources, recognised by their first line."""
    found = []
    for path in files(root):
        with (root / path).open("rb") as file:
            first = file.readline(200)
        runs = first.startswith(b"#!") and first.split(b"/")[-1].split()[-1:] in (
            [b"sh"],
            [b"bash"],
        )
        if runs or first.startswith(b"# shellcheck shell="):
            found.append(path)
    return found


def run(
    root: Path, argv: Sequence[str | Path], *, environment: dict[str, str] | None = None
) -> str:
    """Run a tool of the virtual environment in ``root``; return "" or what it complained of."""
    collections = [root / "collections", ROOT / "collections", Path(sys.prefix) / "collections"]
    completed = subprocess.run(
        list(argv),
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(TOOLS), os.environ["PATH"]]),
            "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, collections)),
            "ANSIBLE_HOME": str(root / ".ansible"),
            "LC_ALL": os.environ.get("LC_ALL", "C.UTF-8"),
            "NO_COLOR": "1",
            **(environment or {}),
        },
    )
    if completed.returncode == 0:
        return ""
    command = textwrap.shorten(" ".join(map(str, argv)), 200)
    return f"$ {command}\n{completed.stdout.rstrip()}\nexit status {completed.returncode}"


def report(problems: Iterable[str]) -> str:
    """Return the problems one a line; "" when there is none."""
    return "\n".join(problems)


def require(found: list[Path], what: str) -> list[Path]:
    """Return ``found``; a gate with nothing to look at has lost its way and must not pass."""
    if not found:
        raise AssertionError(f"there is no {what} to look at")
    return found
