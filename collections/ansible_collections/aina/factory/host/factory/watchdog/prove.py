"""The hourly proofs: a container of each image starts, and the host is as it was left."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from factory import effects
from factory.core.base import docker, documents, times
from factory.core.base.ports import Run
from factory.core.jobs import layout, observe
from factory.core.watchdog import local_drift, proofs, work
from factory.core.watchdog.settings import WatchdogSettings
from factory.unix_http import fetch_through
from factory.watchdog import published

_START_SECONDS = 60.0
_LABEL = "aina-factory.role"
_TABLES = ("iptables-save", "ip6tables-save")
_BASELINE_MODE = 0o600
_MOST_BYTES = 16 << 20
_UPTIME = Path("/proc/uptime")


def prove(
    policy: WatchdogSettings, run: Run, now: float, *, root: Path = Path("/")
) -> dict[str, Any]:
    """Try everything once, write down what came of it and return it.

    Who proves is also who notices that the watchdog itself does not look any more.
    """
    before = documents.read(Path(policy.data_dir, proofs.FILE)) or {}
    document = {
        "checked_at": times.iso(now),
        "images": _images(policy),
        **_changes(policy, run, before, times.iso(now), root),
    }
    documents.replace(Path(policy.data_dir, proofs.FILE), document)
    _count(policy, now)
    return {**document, "problems": _silence(policy, now)}


def _count(policy: WatchdogSettings, now: float) -> None:
    """Add to the record what has landed, was reaped and was spent since the last hour."""
    path = Path(policy.state_dir, work.FILE)
    data = Path(policy.data_dir)

    def totals(day: str) -> work.Totals:
        landed = sum(
            int(line.get("landed", 0))
            for log in data.glob("marshal/*/audit.jsonl")
            for line in _tail(log)
            if line.get("event") == "cycle" and work.on(day, float(line.get("time", 0)))
        )
        reaped = sum(
            int(line.get("count", 0))
            for line in _tail(data / work.REAPED)
            if work.on(day, float(line.get("at", 0)))
        )
        spent = [*_tail(data / f"lanes/spent/{day}.jsonl")]
        return {
            "landed": landed,
            "reaped": reaped,
            "tokens": sum(int(line.get("tokens", 0)) for line in spent),
            "cost_usd": sum(float(line.get("cost_usd", 0)) for line in spent),
        }

    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        documents.replace(path, work.added(documents.read(path), totals, now))


def _tail(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the last lines of a log that may be long; what is none is passed over."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _MOST_BYTES))
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, Mapping):
                yield found


def _silence(policy: WatchdogSettings, now: float) -> list[str]:
    """Return that the watchdog has missed several turns."""
    found = published.read(policy).document
    paused = {
        name
        for place in (layout.PAUSED_DIR, layout.RUNTIME_PAUSED_DIR)
        for name in observe.pauses(place, "")
    }
    # Who paused it knows; a host that has just begun had no turn yet.
    if found is None or "watchdog" in paused or _up_seconds() < 3 * policy.interval_seconds:
        return []
    late = now - times.seconds(str(found["next_expected_at"])) - 2 * policy.interval_seconds
    if late <= 0:
        return []
    words = f"the watchdog looked last at {found['generated_at']}, and should every"
    return [f"{words} {policy.interval_seconds:g} s; see factory jobs"]


def _up_seconds() -> float:
    return float(_UPTIME.read_text().partition(" ")[0])


def _images(policy: WatchdogSettings) -> list[dict[str, Any]]:
    if not policy.engine_socket_path:
        return []
    engine = docker.Engine(
        fetch_through(policy.engine_socket_path), policy.engine_socket_path, _START_SECONDS
    )
    found = []
    for path in sorted(Path(policy.data_dir, "images").glob("[!.]*.json")):
        image = str((documents.read(path) or {}).get("image", path.stem))
        problem = starts(engine, image)
        found.append({"name": path.stem, "started": not problem, "detail": problem})
    return found


def starts(engine: docker.Engine, image: str) -> str:
    """Create and start a container of an image, with no network and no rights; return why not."""
    name = f"aina-factory-proof-{os.getpid()}"
    wanted = {
        "Image": image,
        "Entrypoint": ["/bin/sh", "-c", "exit 0"],
        "Labels": {_LABEL: "proof"},
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "ReadonlyRootfs": True,
            "Memory": 64 << 20,
            "PidsLimit": 16,
            "SecurityOpt": ["no-new-privileges"],
        },
    }
    try:
        for item in engine.labelled(f"{_LABEL}=proof"):
            # Left by a run that was killed.
            engine.discard(str(item["Id"]), force=True)
        engine.create("/containers/create", wanted, name=name)
        try:
            engine.create(f"/containers/{quote(name)}/start")
            answer = engine.ask("POST", f"/containers/{name}/wait")
            status = json.loads(answer.body).get("StatusCode") if answer.status == 200 else None
        finally:
            engine.discard(name, force=True)
    except (docker.DockerError, ValueError, AttributeError) as error:
        return " ".join(str(error).split())[:300]
    return "" if status == 0 else f"it ended with {status}"


def _changes(
    policy: WatchdogSettings, run: Run, before: Mapping[str, Any], now: str, root: Path
) -> dict[str, Any]:
    baseline = documents.read(Path(policy.state_dir, local_drift.BASELINE))
    if baseline is None:
        return {}
    try:
        found = local_drift.differences(baseline["record"], _record(policy, run, root))
    except (OSError, KeyError, ValueError, AttributeError, TypeError) as error:
        kept = before.get("changes", [])
        return {"changes": kept, "changes_error": f"{type(error).__name__}: {error}"}
    known = {
        str(item["what"]): str(item["since"])
        for item in before.get("changes", ())
        if isinstance(item, Mapping) and {"what", "since"} <= item.keys()
    }
    return {"changes": local_drift.sentences(found, known, now), "changes_error": ""}


def _record(policy: WatchdogSettings, run: Run, root: Path) -> dict[str, dict[str, str]]:
    places = (*local_drift.PLACES, *policy.drift_places)
    tables = {tool: _table(tool, run) for tool in _TABLES}
    return local_drift.record(places, root, tables)


def _table(tool: str, run: Run) -> str | None:
    try:
        done = run([tool], timeout_seconds=_START_SECONDS)
    except (OSError, TimeoutError):
        return None
    return done.stdout.decode(errors="replace") if done.ok else None


def remember(
    policy: WatchdogSettings,
    run: Run,
    *,
    now: Callable[[], float] = effects.now,
    root: Path = Path("/"),
) -> dict[str, Any]:
    """Record the host as it is now: what a converge has left is what is compared with."""
    record = _record(policy, run, root)
    path = Path(policy.state_dir, local_drift.BASELINE)
    documents.replace(path, {"recorded_at": times.iso(now()), "record": record}, _BASELINE_MODE)
    # What was found before is settled by it.
    last = Path(policy.data_dir, proofs.FILE)
    if (kept := documents.read(last)) is not None:
        documents.replace(last, {**kept, "changes": [], "changes_error": ""})
    return {"recorded": sum(map(len, record.values())), "path": str(path)}
