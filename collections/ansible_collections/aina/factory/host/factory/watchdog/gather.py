"""Read this host's facts: each source by itself, side by side, none for longer than it may."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from factory import jobs
from factory.core.base import projects, settings, times
from factory.core.base.configuration import Section
from factory.core.base.disk import Disk
from factory.core.base.github import settings as github
from factory.core.base.ports import Request, Response, Run
from factory.core.host import units as systemd_units
from factory.core.jobs import layout, observe, report
from factory.core.jobs.settings import Jobs
from factory.core.paperclip.settings import PaperclipSettings
from factory.core.watchdog import attribution, mounts, readings, workspaces
from factory.core.watchdog import services as service_units
from factory.core.watchdog.facts import (
    Absent,
    Attribution,
    Backup,
    Certificate,
    Clock,
    Drift,
    Engine,
    Fact,
    Facts,
    FailedUnit,
    Filesystem,
    Image,
    Known,
    Lane,
    Memory,
    Mount,
    Pressure,
    Reboot,
    Residue,
    Runner,
    Sample,
    Service,
    Unknown,
    Workspaces,
    Worktrees,
)
from factory.core.watchdog.places import resolve
from factory.core.watchdog.policy import Policy
from factory.watchdog import paperclip

_RECENT_FAILURE = 3600.0
_GATEWAY = "factory-lane-gateway.service"
_TIME_ERROR = 5
_UNSYNCHRONISED = 0x40


class AbsentError(Exception):
    """A source has nothing to tell here; the message says what is not configured."""


Source = Callable[[], Any]


@dataclass(frozen=True)
class Host:
    """What the sources are told: policy, configuration, programs, time."""

    policy: Policy
    whole: Section
    run: Run
    now: float
    # When the run before this one looked, if there was one, and the failures it told of.
    last_look_at: float | None = None
    told_failures: Mapping[str, Sequence[str]] | None = None
    proc: Path = Path("/proc")
    system_run_dir: Path = Path("/run")
    unit_dir: Path = Path(layout.UNIT_DIR)
    device_dir: Path = Path("/dev/disk/by-uuid")


def facts(
    host: Host, samples: Mapping[str, tuple[Sample, ...]], given: Mapping[str, Fact[Any]]
) -> Facts:
    """Return everything that can be known now; ``given`` are facts of the caller's own."""
    answers, seconds = side_by_side(_sources(host), host.policy.gather_seconds)
    read: dict[str, Any] = {**answers, "samples": Known(samples), **given}
    return Facts(now=host.now, seconds=seconds, **read)


def _sources(host: Host) -> dict[str, Source]:
    def bound(function: Callable[[Host], Any]) -> Source:
        return lambda: function(host)

    return {
        "disks": bound(disks),
        "mounts": bound(watched_mounts),
        "owners": bound(owners),
        "engine": bound(engine),
        "jobs": bound(declared_jobs),
        "units": bound(units),
        "services": bound(services),
        "runners": bound(runners),
        "lanes": bound(lanes),
        "residue": bound(residue),
        "merge_queues": bound(merge_queues),
        "paperclip": bound(board),
        "images": bound(images),
        "backup": bound(backup),
        "certificates": bound(certificates),
        "memory": bound(memory),
        "pressure": bound(pressure),
        "reboot": bound(reboot),
        "clock": bound(clock),
        "drift": bound(drift),
        "workspaces": bound(all_workspaces),
        "worktrees": bound(worktrees),
    }


def side_by_side(
    sources: Mapping[str, Source], limit_seconds: float
) -> tuple[dict[str, Fact[Any]], dict[str, float]]:
    """Ask all sources at once; one that is late or fails is unknown, and the others are not."""
    answers: dict[str, Fact[Any]] = {}
    seconds: dict[str, float] = {}

    def ask(name: str, source: Source) -> None:
        started = time.monotonic()
        answer = _answer(source)
        # A source that answers after its time has been given up must change nothing.
        if name not in answers:
            answers[name] = answer
            seconds[name] = round(time.monotonic() - started, 3)

    threads = {}
    for name, source in sources.items():
        threads[name] = threading.Thread(target=ask, args=(name, source), daemon=True)
        threads[name].start()
    deadline = time.monotonic() + limit_seconds
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    for name in sources:
        late = Unknown(f"no answer within {limit_seconds:g} s")
        if answers.setdefault(name, late) is late:
            seconds[name] = limit_seconds
    return dict(answers), dict(seconds)


def _answer(source: Source) -> Fact[Any]:
    try:
        return Known(source())
    except AbsentError as reason:
        return Absent(str(reason))
    except (OSError, TimeoutError) as error:
        return Unknown(str(error) or type(error).__name__)
    except ValueError as error:
        return Unknown(str(error))
    except Exception as error:
        # Whatever goes wrong in one source, the others have still to be told.
        return Unknown(f"{type(error).__name__}: {error}")


# -- disk ---------------------------------------------------------------------------------


def disks(host: Host) -> Mapping[str, Fact[Filesystem]]:
    """Return the watched filesystems; one that cannot be asked is unknown alone."""
    places = watched_mounts(host)
    return {
        path: _answer(lambda path=path: _mounted(path, places[path]))  # type: ignore[misc]
        for path in host.policy.disks
    }


def _mounted(path: str, mount: Fact[Mount]) -> Filesystem:
    if isinstance(mount, Known) and not mount.value.mounted:
        # Its numbers would be those of another filesystem.
        raise OSError(f"{path} is not mounted")
    return filesystem(path)


def watched_mounts(host: Host) -> Mapping[str, Fact[Mount]]:
    """Return what is mounted at the watched paths."""
    # Asked first: a mount on demand is there afterwards.
    flags = {path: _answer(lambda path=path: os.statvfs(path)) for path in host.policy.disks}  # type: ignore[misc]
    table = mounts.parse((host.proc / "self/mountinfo").read_bytes())
    names = _names_of_devices(host.device_dir)

    def read(path: str, answer: Fact[os.statvfs_result]) -> Mount:
        real = os.path.realpath(path)
        place = mounts.holder(real, table)
        if place != real:
            return Mount(place, mounted=False)
        entry = table[real]
        number = entry.device if entry.device in names else _device_number(entry.source)
        identity = f"{entry.kind} {names.get(number, entry.source)}"
        if not isinstance(answer, Known):
            raise OSError(answer.reason)
        return Mount(place, True, identity, bool(answer.value.f_flag & os.ST_RDONLY))

    return {path: _answer(lambda path=path: read(path, flags[path])) for path in flags}  # type: ignore[misc]


def _names_of_devices(directory: Path) -> Mapping[str, str]:
    """Return the UUID of the filesystem on each device: numbers and names change at a boot."""
    found = {}
    for link in directory.iterdir() if directory.is_dir() else ():
        try:
            number = link.stat().st_rdev
        except OSError:
            continue
        found[f"{os.major(number)}:{os.minor(number)}"] = link.name
    return found


def _device_number(source: str) -> str:
    """Return the number of a device file; "" for any other source, such as a server's."""
    try:
        number = Path(source).stat().st_rdev if source.startswith("/dev/") else 0
    except OSError:
        return ""
    return f"{os.major(number)}:{os.minor(number)}" if number else ""


def filesystem(path: str) -> Filesystem:
    """Return the state of the filesystem that holds ``path``."""
    answer = os.statvfs(path)
    unit = answer.f_frsize
    used = (answer.f_blocks - answer.f_bfree) * unit
    disk = Disk(path, answer.f_blocks * unit, used, answer.f_bavail * unit)
    return Filesystem(disk, answer.f_files, answer.f_ffree, Path(path).stat().st_dev)


def owners(host: Host) -> Mapping[str, Attribution]:
    """Return the newest measurement of who holds the disks."""
    if not host.policy.measure.roots:
        raise AbsentError("no places to measure are declared (measure.roots)")
    path = Path(host.policy.state_dir, "owners.json")
    if not path.exists():
        if _is_new(host, "measure_age_hours"):
            raise AbsentError("not measured yet")
        raise OSError(f"{path} does not exist; did the job that measures the disk ever run?")
    section = Section(_json(path), "owners")
    return {item.text("path"): attribution.from_section(item) for item in section.sections("disks")}


def _is_new(host: Host, limit: str) -> bool:
    """Whether the host is watched for less than the hours of a limit."""
    return (host.now - _watched_since(host)) / 3600 < host.policy.limits[limit].raise_at


def _watched_since(host: Host) -> float:
    """Return when the first sample that is kept was taken; now where there is none."""
    samples = Path(host.policy.state_dir, "samples.jsonl")
    if not samples.exists():
        return host.now
    with samples.open(encoding="utf-8") as lines:
        return float(json.loads(next(lines, json.dumps([host.now])))[0])


# -- engine, units, jobs ------------------------------------------------------------------


def engine(host: Host) -> Engine:
    """Ask the engine whether it is there, through its socket and without its client."""
    path = host.policy.engine_socket_path
    if not path:
        raise AbsentError("no engine is declared (engine_socket_path)")
    pending = observe.read_json(Path(host.policy.data_dir, "docker-restart-pending.json"))
    waits = str((pending or {}).get("why", ""))
    try:
        answer = _ask_engine(host, "_ping")
    except (FileNotFoundError, ConnectionError) as error:
        return Engine(False, f"{path}: {error.strerror or type(error).__name__}", waits)
    if answer.status != 200:
        return Engine(False, f"{path} answers with status {answer.status}", waits)
    why = _why_nothing_starts(host)
    if why:
        return Engine(False, f"answers at {path}, but no container can start: {why}", waits)
    return Engine(True, f"answers at {path}", waits)


def _why_nothing_starts(host: Host) -> str:
    """Ask for something that the engine does not know by itself; "" when all is well."""
    limit = host.policy.gather_seconds / 4
    try:
        answer = _ask_engine(host, "version", limit)
    except TimeoutError:
        return f"it does not tell its parts within {limit:g} s; is containerd stuck?"
    if answer.status != 200:
        return f"it does not tell its parts (status {answer.status})"
    told = json.loads(answer.body).get("Components") or ()
    parts = {item["Name"]: item.get("Version") for item in told}
    # Docker leaves out what did not answer it; other engines have no such part.
    lost = "Engine" in parts and parts.get("containerd") in (None, "", "N/A")
    return "containerd does not answer it" if lost else ""


def _ask_engine(host: Host, what: str, limit_seconds: float | None = None) -> Response:
    from factory.unix_http import fetch_through

    request = Request("GET", f"http://engine/{what}")
    limit = limit_seconds or host.policy.gather_seconds / 2
    return fetch_through(host.policy.engine_socket_path)(request, timeout_seconds=limit)


def declared_jobs(host: Host) -> Mapping[str, Any]:
    """Return declared against actual jobs, as ``factory jobs`` does, and failures since the last look.

    A run that succeeded since hides the failure before it, but not the note of it.
    """
    if not host.whole.has("jobs"):
        raise AbsentError("no jobs are declared")
    declared = settings.read(Jobs, host.whole.section("jobs"))
    try:
        actual = jobs.actual(declared, host.run)
    except observe.ObservationError as error:
        raise OSError(str(error)) from error
    failures, told = _news(actual.last_runs, _failure_notes(host), host)
    return {**report.report(declared, actual, host.now), "failures": failures, "told": told}


def _news(
    last_runs: Mapping[str, Mapping[str, Any]], notes: Iterable[FailedUnit], host: Host
) -> tuple[dict[str, FailedUnit], dict[str, list[str]]]:
    """Return the failures of which nobody was told yet, and those that are told by now, by job.

    A note may be written after the look that saw its run fail, or long before the first one.
    """
    failures: dict[str, FailedUnit] = {}
    told: dict[str, list[str]] = {}
    for name, record in last_runs.items():
        if record.get("result") not in report.FINE and record.get("invocation_id"):
            told[name] = [str(record["invocation_id"])]
    for note in notes:
        job = layout.job_of(note.name)
        if job is None:
            continue
        known = (host.told_failures or {}).get(job, [])
        is_old = note.at is not None and host.now - note.at >= _RECENT_FAILURE
        if note.run not in known and not (host.told_failures is None and is_old):
            failures[job] = note
        told[job] = sorted({*told.get(job, []), note.run})
    return failures, told


def units(host: Host) -> tuple[FailedUnit, ...]:
    """Return the units that have failed, and those of whose failure a note was left.

    Jobs are left out: their own check tells more.
    """
    if not observe.systemd_is_running():
        raise AbsentError("no systemd runs here")
    listed = _systemctl(host, "list-units", "--state=failed", "--plain", "--no-legend", "--full")
    names = [line.split()[0] for line in listed.splitlines() if line.split()]
    found: dict[str, FailedUnit] = {}
    if names:
        properties = "--property=Id,Result,InactiveEnterTimestamp"
        for block in _systemctl(host, "show", properties, "--", *names).split("\n\n"):
            values = dict(line.partition("=")[::2] for line in block.splitlines())
            name = values.get("Id", "")
            at = observe.timestamp(values.get("InactiveEnterTimestamp", ""))
            found[name] = FailedUnit(name, True, at, values.get("Result", "unknown"))
    recent = host.now - _RECENT_FAILURE
    since = recent if host.last_look_at is None else min(recent, host.last_look_at)
    for unit in _failure_notes(host):
        if unit.at is None or unit.at >= since:
            found.setdefault(unit.name, unit)
    return tuple(u for name, u in sorted(found.items()) if not name.startswith(layout.PREFIX))


def services(host: Host) -> tuple[Service, ...]:
    """Return the units that have not failed, and do not keep running either."""
    if not observe.systemd_is_running():
        raise AbsentError("no systemd runs here")
    declared = host.policy.heal.units
    words = [f"--type={service_units.TYPES}", "--all", "--plain", "--no-legend", "--full"]
    listing = _systemctl(host, "list-units", *words)
    enabled = {link.name for link in host.unit_dir.glob("*.wants/*")}
    names = service_units.candidates(listing, enabled, declared)
    if not names:
        return ()
    properties = f"--property={service_units.PROPERTIES}"
    answer = _systemctl(host, "show", properties, "--", *names)
    return service_units.parse(answer, declared, observe.timestamp)


def _systemctl(host: Host, *words: str) -> str:
    done = host.run(
        ["systemctl", words[0], "--timestamp=unix", *words[1:]],
        environment={"LC_ALL": "C", "TZ": "UTC"},
        timeout_seconds=host.policy.gather_seconds,
    )
    if not done.ok:
        raise OSError(f"systemctl {words[0]}: {done.said}")
    return done.stdout.decode(errors="replace")


def _failure_notes(host: Host) -> list[FailedUnit]:
    """Return the newest failure of each unit that was ever written down."""
    notes = []
    for name, document in _documents(Path(host.policy.data_dir, "failures")).items():
        if isinstance(document, Known):
            section = Section(document.value, name)
            at, unit = section.number("failed_at_seconds"), section.text("unit")
            run = section.text("invocation_id", "") or str(at)
            notes.append(FailedUnit(unit, False, at, section.text("result", "unknown"), run))
        else:
            notes.append(FailedUnit(name, False, None, "the note of it cannot be read", "-"))
    return notes


# -- what the other capabilities wrote down -----------------------------------------------


def runners(host: Host) -> Mapping[str, Fact[Runner]]:
    """Return the runners; a project that declares one of which nothing is known is unknown."""
    found = dict(
        readings.listed(_documents(Path(host.policy.data_dir, "runners")), readings.runner)
    )
    known = [fact.value.project for fact in found.values() if isinstance(fact, Known)]
    for section in host.whole.sections("projects", ()):
        declared = section.value("runner", {})
        name = section.text("name")
        if not declared:
            continue
        slots = declared.get("slots", 1) if declared.get("mode") == "ephemeral" else 1
        missing = int(slots) - known.count(name)
        if missing > 0:
            waits = _waits_for(github.of(host.whole).login_of("runners").files)
            found[name] = Unknown(
                f"{missing} of {slots} runners of {name} have written no state{waits}"
            )
    if not found:
        raise AbsentError("no project declares a runner")
    return found


def lanes(host: Host) -> Mapping[str, Fact[Lane]]:
    """Return the lanes that are running: those with a state and without a result."""
    root = Path(host.policy.data_dir, "lanes")
    if not root.is_dir() and not _declares(host, "lanes"):
        raise AbsentError("no project declares lanes")
    documents = {}
    for directory in sorted(root.iterdir()) if root.is_dir() else ():
        state = directory / "state.json"
        if state.exists() and not (directory / "result.json").exists():
            documents[directory.name] = _answer(lambda state=state: _json(state))  # type: ignore[misc]
    found = dict(readings.listed(documents, readings.lane))
    waits = _waits_for(_lane_secrets(host))
    if waits:
        found["all"] = Unknown(f"no lane can start{waits}")
    return found


def _lane_secrets(host: Host) -> list[str]:
    """Return the files that lanes need: the login, and the keys that their gateway is handed."""
    if not host.whole.has("lanes"):
        return []
    try:
        handed = systemd_units.credentials(_GATEWAY, host.run)
    except systemd_units.UnitsError:
        handed = []  # it is not there yet, as a unit
    return [*github.of(host.whole).login_of("lanes").files, *(item.path for item in handed)]


def _waits_for(paths: Iterable[str]) -> str:
    missing = [path for path in paths if not Path(path).exists()]
    return f": {' and '.join(missing)} must be put there, then converge" if missing else ""


def _declares(host: Host, key: str) -> bool:
    return any(section.value(key, {}) for section in host.whole.sections("projects", ()))


def residue(host: Host) -> Residue:
    """Return what ended lanes left behind."""
    path = Path(host.policy.data_dir, "lanes/residue.json")
    if not path.exists():
        raise AbsentError("no lane has ended yet")
    return readings.residue(_json(path))


def merge_queues(host: Host) -> Mapping[str, Fact[Mapping[str, Any]]]:
    """Return the last merge cycle of every project under the marshal, in its own words."""
    from factory.core.marshal import status

    if not host.whole.has("marshal"):
        raise AbsentError("no marshal is declared")
    section = host.whole.section("marshal")
    root = Path(section.absolute_path("state_dir", f"{host.policy.data_dir}/marshal"))
    names = [item.text("name") for item in section.sections("projects", ())]
    if not names:
        raise AbsentError("no project has a merge policy")
    stale = host.policy.limits["merge_report_minutes"].raise_at * 60

    def read(name: str) -> Mapping[str, Any]:
        path = root / name / "report.json"
        report = _json(path) if path.exists() else None
        told = status.facts(report, host.now, stale_seconds=stale)
        if told["state"] == "unknown":
            raise ValueError(told["detail"])
        return told

    return {name: _answer(lambda name=name: read(name)) for name in names}  # type: ignore[misc]


def board(host: Host) -> Any:
    """Ask Paperclip."""
    if not host.whole.has("paperclip"):
        raise AbsentError("no Paperclip is declared")
    chosen = settings.read(PaperclipSettings, host.whole.section("paperclip"))
    return paperclip.ask(chosen, host.proc, host.policy.gather_seconds)


def images(host: Host) -> Mapping[str, Fact[Image]]:
    """Return the images that the factory builds."""
    directory = Path(host.policy.data_dir, "images")
    documents = _documents(directory)
    if not documents and host.whole.has("images"):
        raise OSError(f"images are declared, but {directory} tells of none")
    if not documents:
        raise AbsentError("no image of the factory is declared")
    found = readings.listed(documents, readings.image)
    if not host.policy.engine_socket_path:
        return found
    there = _images_in_engine(host)
    return {
        name: Known(replace(fact.value, presence=_presence(documents[name], there)))
        if isinstance(fact, Known)
        else fact
        for name, fact in found.items()
    }


def _images_in_engine(host: Host) -> Mapping[str, str]:
    """Return the factory's images that the engine has, by name, with the mark of their content."""
    from factory.core.images.plan import CONTENT_LABEL
    from factory.core.images.settings import PREFIX

    filters = json.dumps({"reference": [f"{PREFIX}/*:current"]})
    answer = _ask_engine(host, f"images/json?{urlencode({'filters': filters})}")
    if answer.status != 200:
        raise OSError(f"the engine does not tell its images: status {answer.status}")
    return {
        str(name): str((item.get("Labels") or {}).get(CONTENT_LABEL, ""))
        for item in json.loads(answer.body)
        for name in item.get("RepoTags") or ()
    }


def _presence(document: Fact[Any], there: Mapping[str, str]) -> str:
    record = document.value if isinstance(document, Known) else {}
    content = there.get(str(record.get("image")))
    if content is None:
        return "gone"
    return "there" if content == record.get("content", content) else "another"


def drift(host: Host) -> Drift:
    """Return what the last look for drift found."""
    path = Path(host.policy.data_dir, "drift.json")
    if not path.exists() and not host.whole.has("drift"):
        raise AbsentError("nobody looks for drift here")
    return readings.drift(_json(path))


# -- host ---------------------------------------------------------------------------------


def backup(host: Host) -> Backup:
    """Return how the last backup ended, where one is declared."""
    if not host.whole.has("backup"):
        raise AbsentError("no backup is declared")
    path = Path(host.policy.data_dir, "backup/report.json")
    if path.exists():
        return readings.backup(_json(path))
    if _is_new(host, "backup_age_hours"):
        raise AbsentError("no backup was made yet")
    return Backup("failed", f"{path} does not exist; did the job that makes it ever run?", None)


def certificates(host: Host) -> Mapping[str, Fact[Certificate]]:
    """Return when the declared certificates end: files (wildcards allowed) and HOST:PORT."""
    if not host.policy.certificates:
        raise AbsentError("no certificates are declared")
    files = [item for item in host.policy.certificates if item.startswith("/")]
    servers = [item for item in host.policy.certificates if not item.startswith("/")]
    found = resolve(files)
    places: list[tuple[str, Callable[[], bytes]]] = []
    places += [(path, Path(path).read_bytes) for path in sorted({*chain(*found.values())})]
    places += [(name, lambda name=name: _server_certificate(name)) for name in servers]  # type: ignore[misc]
    told: dict[str, Fact[Certificate]] = {
        name: _answer(lambda name=name, read=read: _certificate(host, name, read()))  # type: ignore[misc]
        for name, read in places
    }
    for pattern, paths in found.items():
        if not paths:
            told[pattern] = Unknown(f"{pattern} is declared (certificates), and no file fits it")
    return told


def _certificate(host: Host, place: str, pem: bytes) -> Certificate:
    argv = ["openssl", "x509", "-noout", "-enddate", "-dateopt", "iso_8601"]
    done = host.run(argv, stdin=pem, timeout_seconds=host.policy.gather_seconds)
    name, _equals, date = done.stdout.decode(errors="replace").strip().partition("=")
    if not done.ok or name != "notAfter":
        raise OSError(f"{place} holds no certificate that openssl can read")
    return Certificate(place, times.seconds(date))


def _server_certificate(server: str) -> bytes:
    import ssl

    name, _colon, port = server.rpartition(":")
    return ssl.get_server_certificate((name, int(port)), timeout=10).encode()


def memory(host: Host) -> Memory:
    """Return the host's memory."""
    return readings.memory((host.proc / "meminfo").read_text())


def pressure(host: Host) -> Pressure:
    """Return the host's pressure, where the kernel measures it."""
    directory = host.proc / "pressure"
    if not directory.is_dir():
        raise AbsentError("this kernel does not measure pressure")
    texts = [(directory / kind).read_text() for kind in ("memory", "io", "cpu")]
    return readings.pressure(*texts)


def reboot(host: Host) -> Reboot:
    """Return whether the host asks for a reboot, by the distribution's own mark."""
    mark = host.system_run_dir / "reboot-required"
    if not mark.exists():
        return Reboot(None)
    packages = host.system_run_dir / "reboot-required.pkgs"
    names = packages.read_text().split() if packages.exists() else []
    return Reboot(mark.stat().st_mtime, tuple(dict.fromkeys(names)))


def clock(host: Host) -> Clock:
    """Return the kernel's own account of its clock."""
    if not host.policy.clock_enabled:
        raise AbsentError("the clock is not watched (clock_enabled)")
    state, status, max_error = _adjtimex()
    trace = Path(host.policy.state_dir, "state.json")
    newest = trace.stat().st_mtime if trace.exists() else None
    synchronised = state != _TIME_ERROR and not status & _UNSYNCHRONISED
    return Clock(synchronised, max_error / 1e6, newest)


def _adjtimex() -> tuple[int, int, int]:
    import ctypes

    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("frequency", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        )

    asked = Timex()
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    if state < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
    return state, asked.status, asked.maxerror


def all_workspaces(host: Host) -> Workspaces:
    """Look at every agent workspace."""
    if not host.policy.heal.workspace_roots:
        raise AbsentError("no roots of workspaces are declared (heal.workspace_roots)")
    return workspaces.survey(host.policy.heal.workspace_roots)


def worktrees(host: Host) -> Worktrees:
    """Look at every registered worktree of every project."""
    found = projects.from_sections(host.whole.sections("projects", ()))
    if not found:
        raise AbsentError("no project is declared")
    return workspaces.survey_worktrees(project.path for project in found)


# -- files --------------------------------------------------------------------------------


def _documents(directory: Path) -> dict[str, Fact[Any]]:
    """Return every JSON document of a directory by its stem, each read by itself."""
    if not directory.is_dir():
        return {}
    return {
        path.stem: _answer(lambda path=path: _json(path))  # type: ignore[misc]
        for path in sorted(directory.glob("[!.]*.json"))
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
