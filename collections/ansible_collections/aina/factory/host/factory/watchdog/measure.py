"""Measure who holds the disks: a job of its own, at idle priority and with a time limit."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factory import effects
from factory.core.base.ports import Request
from factory.core.watchdog import attribution
from factory.core.watchdog.attribution import Attribution
from factory.core.watchdog.facts import DAY
from factory.core.watchdog.filesystems import filesystem
from factory.core.watchdog.settings import WatchdogSettings
from factory.unix_http import fetch_through
from factory.watchdog.store import Reserve, Store, lines, to_lines

SCHEMA = 1
_KEPT_SECONDS = 31 * DAY
_CONTAINERD = Path("/etc/containerd/config.toml")
_BLOCK_BYTES = 512


def measure(policy: WatchdogSettings, proc: Path = Path("/proc")) -> dict[str, Any]:
    """Measure every watched disk, write the result down and return it."""
    store = Store(Reserve(Path(policy.state_dir, "reserve"), policy.reserve_mib))
    history_path = Path(policy.state_dir, "owners.jsonl")
    kept = [line for line in lines(history_path) if isinstance(line, dict)]
    patterns = [*policy.measure.places, *_engine_places(policy)]
    now = effects.now()
    found = [
        _one(path, patterns, kept, now, policy.measure.timeout_seconds, proc)
        for path in policy.disks
    ]
    document = {"schema": SCHEMA, "disks": [attribution.document(item) for item in found]}
    store.replace(Path(policy.state_dir, "owners.json"), json.dumps(document).encode())
    recent = [line for line in kept if now - line["at"] < _KEPT_SECONDS]
    store.replace(history_path, to_lines([*recent, *map(attribution.kept, found)]))
    return {**document, "problems": store.problems}


def _one(
    path: str,
    patterns: Sequence[str],
    kept: Sequence[Mapping[str, Any]],
    now: float,
    limit_seconds: float,
    proc: Path,
) -> Attribution:
    before = filesystem(path)
    chosen = attribution.places(patterns, before.device)
    history = [attribution.measured_from(line) for line in kept if line["path"] == path]
    started = time.monotonic()
    sizes = _sizes(chosen, limit_seconds)
    return attribution.attribute(
        path=path,
        # What is held now: files that went while the rest was measured are not counted.
        used_bytes=filesystem(path).disk.used_bytes,
        chosen=chosen,
        measured=sizes,
        deleted=deleted_open(before.device, proc),
        history=history,
        now=now,
        seconds=time.monotonic() - started,
    )


def _sizes(chosen: Sequence[str], limit_seconds: float) -> dict[str, int]:
    """Run ``du`` over all places; what it had said before its time was up counts."""
    if not chosen:
        return {}
    process = subprocess.Popen(
        attribution.du_arguments(chosen),
        stdout=subprocess.PIPE,
        # Places that vanish meanwhile, and such that even root may not read.
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    try:
        output, _errors = process.communicate(timeout=limit_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _errors = process.communicate()
    return attribution.parse_du(output)


def _engine_places(policy: WatchdogSettings) -> list[str]:
    """Return where the engine keeps its bytes; an engine that does not answer names none."""
    if not policy.engine_socket_path:
        return []
    try:
        answer = fetch_through(policy.engine_socket_path)(Request("GET", "http://engine/info"))
        info = json.loads(answer.body) if answer.status == 200 else {}
    except (OSError, ValueError):
        return []
    text = _CONTAINERD.read_text() if _CONTAINERD.exists() else ""
    return attribution.engine_places(info, attribution.containerd_root(text))


def deleted_open(device: int, proc: Path) -> dict[str, int]:
    """Return bytes of deleted files by the program that holds them open; each file once."""
    seen: set[int] = set()
    held: dict[str, int] = {}
    for directory in proc.iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            descriptors = list((directory / "fd").iterdir())
            name = (directory / "comm").read_text(errors="replace").strip()
        except OSError:
            # It ended, or belongs to somebody whom we may not look at.
            continue
        for descriptor in descriptors:
            try:
                status = descriptor.stat()
            except OSError:
                continue
            gone = status.st_nlink == 0 and status.st_blocks
            if gone and status.st_dev == device and status.st_ino not in seen:
                seen.add(status.st_ino)
                holder = f"{name} ({directory.name})"
                held[holder] = held.get(holder, 0) + status.st_blocks * _BLOCK_BYTES
    return held
