"""Keep the modules that Ansible has packed from one run to the next.

Ansible packs a module with all that it imports once per run of ansible-playbook, which is a quarter of
what a short run costs. The tests start hundreds of runs over the same modules. What is kept is kept under
the state of everything that could be packed: it is packed anew as soon as one file has changed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path

import ansible.release
from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: keep_packed
type: aggregate
short_description: Keep packed modules between the runs of the tests
description: Where AINA_PACKED_DIR names a directory, packed modules are kept in it.
requirements: [enable in configuration]
"""

UNUSED_SECONDS = 86400
ROOT = Path(__file__).resolve().parents[2]


def state(root: Path) -> str:
    """Return a digest of the files that may be packed, by name, size and time of change."""
    found = hashlib.sha256(ansible.release.__version__.encode())
    plugins = root / "collections/ansible_collections/aina/factory/plugins"
    for directory, names, files in os.walk(plugins):
        names.sort()
        for name in sorted(files):
            if name.endswith(".py"):
                path = Path(directory, name)
                status = path.stat()
                found.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


def _forget_unused(kept: Path) -> None:
    """Remove what no run has used for a day: each change of a file leaves a whole state behind."""
    for path in kept.glob("*"):
        if time.time() - path.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


class CallbackModule(CallbackBase):
    """Lays the directory where Ansible looks for what it has packed, before it packs anything."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "keep_packed"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, _playbook: object) -> None:
        kept = os.environ.get("AINA_PACKED_DIR")
        if not kept:
            return
        directory = Path(kept, state(ROOT))
        if not directory.exists():
            _forget_unused(directory.parent)
        directory.mkdir(parents=True, exist_ok=True)
        os.utime(directory)
        link = Path(vars(constants)["DEFAULT_LOCAL_TMP"], "ansiballz_cache")
        if not link.exists():
            link.symlink_to(directory)
