"""Read the container engine and carry a decision of :mod:`docker_daemon` out.

The order survives being killed at any point: what the engine runs with is written down
before the file changes, the file changes before the engine is told, and the notes are
renewed last.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..base.ports import Run
from ..base.run import output
from . import docker_daemon, managed_files
from .docker_daemon import (
    DockerDaemonError,
    MergedFile,
    Record,
    RestartDecision,
    RestartPolicy,
    RunningContainer,
    RunningEngine,
    Settings,
)
from .way_in import networks, way_back
from .way_in.connection import Session

CONFIGURATION = Path("/etc/docker/daemon.json")
RECORD = Path("/var/lib/aina-factory/docker-daemon.json")
PENDING = Path("/var/lib/aina-factory/docker-restart-pending.json")
UNIT = "docker.service"
# Where an engine lies, whoever has brought it.
PROGRAMS = ("/usr/bin/dockerd", "/usr/local/bin/dockerd", "/usr/sbin/dockerd", "/snap/bin/docker")

_DOCKER = ("docker", "--host", "unix:///run/docker.sock")
_QUERY_SECONDS = 30.0
_RESTART_SECONDS = 300.0
_RELOAD_POLLS = 50
_RELOAD_PAUSE = "0.2"
_BUILD_GROUP = re.compile(r"docker[-/:]buildkit")
CREDENTIALS = re.compile(rb"://[^/\s\"]+@")


@dataclass(frozen=True)
class DesiredEngine:
    """What the operator declares; nothing, and no default, gives everything of ours back.

    ``defaults`` hold where nobody has set anything. ``validates``: the engine can judge a file
    before it starts with it.
    """

    settings: Settings
    policy: RestartPolicy
    store_switch_allowed: bool
    validates: bool = True
    defaults: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class EnginePlan:
    """The file's next content and how it comes into force.

    ``engine`` is ``None`` while the engine does not run, ``effective`` while nobody can
    know what it runs with. ``wanted``: the engine is to run, now and with the host. ``kept`` are
    settings of somebody else's in whose place no default is put, with both values.
    """

    path: Path
    record: Record
    merged: MergedFile
    changes: Sequence[managed_files.Change]
    previous: bytes | None
    engine: RunningEngine | None
    effective: Settings | None
    decision: RestartDecision
    wanted: bool
    enabled: bool
    current: Settings
    kept: Mapping[str, tuple[Any, Any]]
    original: str

    @property
    def overridden(self) -> dict[str, tuple[Any, Any]]:
        """Return what stands there now and is replaced by what is declared, with both values."""
        before = dict(docker_daemon.leaves(self.current))
        after = dict(docker_daemon.leaves(self.merged.settings))
        mine = {*self.record.owned, *(path for path, _value in self.record.replaced)}
        return {
            ".".join(path): (before[path], after[path])
            for path in self.merged.owned
            if path in before and path not in mine and before[path] != after[path]
        }

    @property
    def restarts(self) -> bool:
        """Whether the engine is restarted now."""
        return bool(self.decision.restart) and not self.decision.deferred

    @property
    def actions(self) -> list[str]:
        """Return one phrase per step."""
        steps = [f"{change.kind} {change.path}" for change in self.changes]
        if self.wanted and not self.enabled:
            steps.append("start the engine with the host")
        if self.engine is None:
            return [*steps, "start the engine"] if self.wanted else steps
        if self.decision.reload:
            steps.append(f"reload the engine ({', '.join(self.decision.reload)})")
        if self.restarts:
            steps.append(f"restart the engine ({', '.join(self.decision.restart)})")
        return steps


def plan(wish: DesiredEngine, run: Run, boot_time: float, path: Path = CONFIGURATION) -> EnginePlan:
    """Compare file, notes and running engine with the wish.

    ``boot_time`` is the wall-clock time, in seconds since the epoch, at which the
    monotonic clock was zero.

    Raises:
        DockerDaemonError: the file is not JSON, the engine does not answer, or the wish
            is one that :func:`docker_daemon.check` refuses.

    """
    target, previous, current, record = _found(path)
    settings, kept = docker_daemon.with_defaults(current, wish.settings, wish.defaults, record)
    merged = docker_daemon.merge(current, settings, record)
    engine = read_engine(run, boot_time)
    docker_daemon.check(settings, engine, wish.store_switch_allowed)
    effective, decision = None, RestartDecision((), (), "")
    if engine is not None:
        changed_at = target.stat().st_ctime if previous is not None else None
        effective = docker_daemon.effective_settings(engine, current, changed_at, record)
        decision = docker_daemon.decide(engine, effective, merged.settings, wish.policy)
    # Whoever wrote it gets his own text back.
    original = record.original if record.owned else (previous or b"").decode(errors="replace")
    changes = _file_changes(target, previous, current, merged, original, wish.validates)
    # Giving everything back does not ask for a running engine.
    wanted = bool(wish.settings or wish.defaults)
    if wanted and engine is None:
        _check_unit(run)
    return EnginePlan(
        path=target,
        record=record,
        merged=merged,
        changes=changes,
        previous=previous,
        engine=engine,
        effective=effective,
        decision=decision,
        wanted=wanted,
        enabled=_enabled(run) if wanted else False,
        current=current,
        kept=kept,
        original=original,
    )


def _check_unit(run: Run) -> None:
    """Refuse an engine of somebody else's that systemd does not start by the usual name."""
    shown = _ask(["systemctl", "show", "--property=LoadState", "--value", UNIT], run)
    program = next(filter(os.path.lexists, PROGRAMS), "") if shown == "not-found" else ""
    if program:
        raise DockerDaemonError(
            f"there is an engine, {program}, and no {UNIT} that starts it: give it a unit of that name, or remove "
            "it (a snap: 'snap remove docker'), and converge again"
        )


def swallowed(
    wish: DesiredEngine, sessions: Sequence[Session], run: Run, path: Path = CONFIGURATION
) -> list[str]:
    """Return which networks the engine would newly take, or cut off, and somebody has come in by.

    Raises:
        DockerDaemonError: the file is not JSON.

    """
    _target, _previous, current, record = _found(path)
    settings, _kept = docker_daemon.with_defaults(current, wish.settings, wish.defaults, record)
    merged = docker_daemon.merge(current, settings, record)
    return [
        *networks.swallowed(merged.settings, current, sessions, run),
        *networks.deafened(merged.settings, current, run),
    ]


def _found(path: Path) -> tuple[Path, bytes | None, dict[str, Any], Record]:
    """Return the file itself, its bytes, what they say, and the notes of earlier runs."""
    target = Path(os.path.realpath(path))
    previous = target.read_bytes() if target.exists() else None
    return target, previous, _parse(path, previous), load_record()


def undo(plan_: EnginePlan) -> way_back.Undo | None:
    """Return what gives the engine its former networks back; ``None`` where they stay as they are."""
    before, after = plan_.current, plan_.merged.settings
    keys = sorted(key for key in networks.KEYS if before.get(key) != after.get(key))
    if not keys or not plan_.actions:
        return None
    # An engine that goes on with its former networks is not restarted under what runs in it.
    taken = plan_.engine is None or plan_.restarts
    then = (("systemctl", "try-restart", UNIT),) if taken else ()
    what = f"the engine's networks: {', '.join(keys)}"
    return way_back.Undo(what, (str(plan_.path), str(RECORD)), then=then)


def _enabled(run: Run) -> bool:
    shown = _ask(["systemctl", "show", "--property=UnitFileState", "--value", UNIT], run)
    return shown == "enabled"


def _parse(path: Path, content: bytes | None) -> dict[str, Any]:
    if content is None or not content.strip():
        return {}
    try:
        document = json.loads(content)
    except ValueError as error:
        raise DockerDaemonError(
            f"{path} is not JSON ({error}); repair it or move it away, it is not overwritten"
        ) from error
    if not isinstance(document, dict):
        raise DockerDaemonError(f"{path} must hold one JSON object; it is not overwritten")
    return document


def _file_changes(
    target: Path,
    previous: bytes | None,
    current: Settings,
    merged: MergedFile,
    original: str,
    validates: bool,
) -> list[managed_files.Change]:
    if previous is not None and not merged.settings and current:
        return managed_files.plan([], [], [str(target)])
    if current == merged.settings:
        return []
    content = json.dumps(merged.settings, indent=2).encode() + b"\n"
    if original.strip() and _is_of(original, merged.settings):
        content = original.encode()
    mode = stat.S_IMODE(target.stat().st_mode) if previous is not None else 0o644
    file = managed_files.FileSpec(
        str(target),
        content,
        managed_files.Attributes("root", "root", mode),
        validate=("dockerd", "--validate", "--config-file", "%s") if validates else (),
        # A proxy's address may carry a password.
        sensitive=bool(CREDENTIALS.search(content + (previous or b""))),
    )
    return managed_files.plan([], [file], [])


def _is_of(text: str, settings: Settings) -> bool:
    try:
        return bool(json.loads(text) == settings)
    except ValueError:
        return False


def dockerd_major(run: Run) -> int | None:
    """Return the major version of the installed engine; ``None`` when there is none."""
    try:
        done = run(["dockerd", "--version"], timeout_seconds=_QUERY_SECONDS)
    except OSError:
        return None
    match = re.search(rb"version (\d+)\.", done.stdout)
    if not done.ok or match is None:
        raise DockerDaemonError(f"dockerd --version: {(done.stderr or done.stdout).decode()!r}")
    return int(match[1])


def read_engine(run: Run, boot_time: float, proc: Path = Path("/proc")) -> RunningEngine | None:
    """Return the running engine; ``None`` when its unit does not run.

    Raises:
        DockerDaemonError: the unit runs but the engine does not answer.

    """
    names = "ActiveState,ExecMainStartTimestampMonotonic"
    shown = _ask(["systemctl", "show", f"--property={names}", UNIT], run)
    state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    if state.get("ActiveState") != "active":
        return None
    microseconds = int(state.get("ExecMainStartTimestampMonotonic") or 0)
    info = json.loads(_ask([*_DOCKER, "info", "--format", "{{json .}}"], run))
    boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return RunningEngine(
        instance=f"{boot}:{microseconds}",
        started_at=boot_time + microseconds / 1e6,
        containers=_running(run),
        builds=_builds(proc),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        log_driver=str(info.get("LoggingDriver")),
        image_store=_image_store(info),
        images=int(info.get("Images") or 0),
        swarm=(info.get("Swarm") or {}).get("LocalNodeState") not in {None, "", "inactive"},
        default_network=_default_network(run),
    )


def _default_network(run: Run) -> dict[str, str]:
    """Return what the default network really has; nothing where the engine has none."""
    done = run([*_DOCKER, "network", "inspect", "bridge"], timeout_seconds=_QUERY_SECONDS)
    try:
        (told,) = json.loads(done.stdout) if done.ok else [{}]
        options = told.get("Options") or {}
        plans = (told.get("IPAM") or {}).get("Config") or []
    except (ValueError, AttributeError):
        return {}
    found = {key: options[name] for key, name in docker_daemon.OPTION_OF.items() if name in options}
    for plan_ in plans:
        gateway, subnet = plan_.get("Gateway", ""), plan_.get("Subnet", "")
        if "." in gateway and "/" in subnet:
            found["bip"] = f"{gateway}/{subnet.partition('/')[2]}"
    return found


def _image_store(info: Mapping[str, Any]) -> str:
    rows = [list(row) for row in info.get("DriverStatus") or []]
    containerd = ["driver-type", "io.containerd.snapshotter.v1"] in rows
    return "containerd" if containerd else str(info.get("Driver"))


def _running(run: Run) -> tuple[RunningContainer, ...]:
    form = f'{{{{.Names}}}}\t{{{{.Label "{docker_daemon.SURVIVES_LABEL}"}}}}'
    rows = _ask([*_DOCKER, "ps", "--no-trunc", "--format", form], run).splitlines()
    pairs = [row.partition("\t") for row in rows if row]
    return tuple(RunningContainer(name, label.strip() == "true") for name, _tab, label in pairs)


def _builds(proc: Path) -> int:
    """Count processes of image builds: no list of containers shows them."""
    count = 0
    for path in proc.glob("[0-9]*/cgroup"):
        try:
            count += bool(_BUILD_GROUP.search(path.read_text(encoding="utf-8", errors="replace")))
        except OSError:
            continue  # ended meanwhile
    return count


def _ask(argv: Sequence[str], run: Run) -> str:
    return output(
        run,
        argv,
        error=DockerDaemonError,
        environment={"LC_ALL": "C"},
        timeout_seconds=_QUERY_SECONDS,
    ).strip()


def load_record(path: Path = RECORD) -> Record:
    """Return the notes of earlier runs; empty ones when there are none.

    Raises:
        DockerDaemonError: the file is damaged.

    """
    if not path.exists():
        return Record()
    try:
        values = json.loads(path.read_bytes())
        return Record(
            owned=tuple(tuple(item) for item in values["owned"]),
            replaced=tuple((tuple(key), value) for key, value in values["replaced"]),
            instance=values["instance"],
            settings=values["settings"],
            original=values.get("original", ""),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DockerDaemonError(
            f"{path} is damaged ({error}); remove it, then all present keys of "
            f"{CONFIGURATION} count as foreign ones"
        ) from error


def _save(path: Path, document: Mapping[str, Any], run: Run) -> None:
    text = json.dumps({"schema": 1, **document}, indent=2, sort_keys=True)
    owner = managed_files.Attributes("root", "root", 0o600)
    file = managed_files.FileSpec(str(path), text.encode() + b"\n", owner)
    managed_files.apply(managed_files.plan([], [file], []), run)


def _save_record(record: Record, run: Run) -> None:
    document = {
        "owned": record.owned,
        "replaced": record.replaced,
        "instance": record.instance,
        "settings": record.settings,
        "original": record.original,
    }
    _save(RECORD, document, run)


def apply(plan_: EnginePlan, run: Run, boot_time: float) -> RestartDecision:
    """Carry the plan out and return the decision as it turned out.

    Raises:
        DockerDaemonError: the engine does not start with the new file; the former file is
            in force again and the engine's own words are quoted.
        managed_files.ManagedFilesError: dockerd refuses the new file; the former stays.

    """
    decision, engine = plan_.decision, plan_.engine
    if plan_.actions:
        # Owned is what either run calls ours, until the file is known to be in place.
        owned = tuple(sorted({*plan_.record.owned, *plan_.merged.owned}))
        instance = engine.instance if engine else ""
        note = Record(owned, plan_.merged.replaced, instance, plan_.effective, plan_.original)
        _save_record(note, run)
        managed_files.apply(plan_.changes, run)
        decision = _activate(plan_, run)
        _save_record(_settled(plan_, decision, run, boot_time), run)
    _note_pending(decision, engine, run)
    return decision


def _activate(plan_: EnginePlan, run: Run) -> RestartDecision:
    if plan_.wanted and not plan_.enabled:
        _ask(["systemctl", "enable", UNIT], run)
    if plan_.engine is None:
        if plan_.wanted:
            _start("start", plan_, run)
        return plan_.decision
    decision = plan_.decision
    if decision.reload:
        _ask(["systemctl", "reload", UNIT], run)
    if plan_.restarts:
        if plan_.engine.containers and not _protected(run):
            reason = "the engine did not take live-restore over; see journalctl -u docker"
            return replace(decision, deferred=reason)
        _start("restart", plan_, run)
    return decision


def _protected(run: Run) -> bool:
    """Whether containers survive a restart, as the engine itself says after the reload."""
    for _poll in range(_RELOAD_POLLS):
        if _ask([*_DOCKER, "info", "--format", "{{.LiveRestoreEnabled}}"], run) == "true":
            return True
        run(["sleep", _RELOAD_PAUSE])
    return False


def _start(verb: str, plan_: EnginePlan, run: Run) -> None:
    # Starts that failed a moment ago must not use up systemd's patience.
    run(["systemctl", "reset-failed", UNIT], timeout_seconds=_QUERY_SECONDS)
    done = run(["systemctl", verb, UNIT], timeout_seconds=_RESTART_SECONDS)
    if done.ok:
        return
    argv = ["journalctl", "--no-pager", "--lines=15", "--output=cat", f"--unit={UNIT}"]
    words = run(argv, timeout_seconds=_QUERY_SECONDS).stdout.decode(errors="replace").strip()
    if not plan_.changes:
        raise DockerDaemonError(f"the engine does not {verb}:\n{words}")
    _restore(plan_, run)
    run(["systemctl", "reset-failed", UNIT], timeout_seconds=_QUERY_SECONDS)
    again = run(["systemctl", "start", UNIT], timeout_seconds=_RESTART_SECONDS)
    state = "runs again with it" if again.ok else "does not start with it either"
    raise DockerDaemonError(
        f"the engine does not {verb} with the new {plan_.path}; the former one is restored and "
        f"the engine {state}. It said:\n{words}"
    )


def _restore(plan_: EnginePlan, run: Run) -> None:
    path = str(plan_.path)
    if plan_.previous is None:
        managed_files.apply(managed_files.plan([], [], [path]), run)
    else:
        attributes = managed_files.Attributes(
            "root", "root", stat.S_IMODE(plan_.path.stat().st_mode)
        )
        file = managed_files.FileSpec(path, plan_.previous, attributes)
        managed_files.apply(managed_files.plan([], [file], []), run)
    _save_record(plan_.record, run)


def _settled(plan_: EnginePlan, decision: RestartDecision, run: Run, boot_time: float) -> Record:
    engine = read_engine(run, boot_time)
    settings: Settings | None = plan_.merged.settings
    if decision.deferred:
        settings = docker_daemon.after_reload(
            plan_.effective, plan_.merged.settings, decision.reload
        )
    instance = engine.instance if engine else ""
    merged = plan_.merged
    return Record(merged.owned, merged.replaced, instance, settings, plan_.original)


def _note_pending(decision: RestartDecision, engine: RunningEngine | None, run: Run) -> None:
    """Leave a note for whoever watches the host while a restart has to wait."""
    if decision.deferred and engine is not None:
        document = {"why": decision.deferred, "keys": decision.restart}
        _save(PENDING, document, run)
    else:
        PENDING.unlink(missing_ok=True)
