"""Bring a host's jobs to the declared state: observe, plan, validate, act."""

from __future__ import annotations

import json
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..base import files, locks, settings
from ..base.configuration import ConfigurationError, Section
from ..base.errors import FactoryError
from ..base.ports import Run
from ..base.run import checked
from ..host import managed_files, system_users
from ..host.managed_files import Attributes, DirectorySpec, FileSpec
from ..host.steps import PROGRAMS
from ..host.way_in import root_equivalents
from . import cron, elsewhere, foreign, layout, observe, plan, render, scripts, takeover, validate
from .settings import Job, Jobs, Replacement

ACTION_SECONDS = 300.0
_BACKUP_DIR = "/var/backups/aina-factory"
_ROOT = Attributes("root", "root", 0o644)
_ROOT_DIRECTORY = Attributes("root", "root", 0o755)
_PROGRAM = Attributes("root", "root", 0o755)


class ConvergeError(FactoryError):
    """An action failed; the message quotes the tool and says what state that leaves."""


@dataclass(frozen=True)
class Wanted:
    """The files of the declared state, for the backend of this host."""

    directories: tuple[DirectorySpec, ...]
    files: tuple[FileSpec, ...]
    units: dict[str, str]  # below the unit directory

    @property
    def unit_paths(self) -> frozenset[str]:
        """Absolute paths of all unit files and drop-ins."""
        return frozenset(f"{layout.UNIT_DIR}/{name}" for name in self.units)


@dataclass
class ConvergeResult:
    """What was done, or in check mode would be."""

    backend: str
    changed: bool = False
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    runtime_paused: list[dict[str, str | None]] = field(default_factory=list)
    foreign: list[dict[str, str]] = field(default_factory=list)
    replaced_lines: list[str] = field(default_factory=list)
    consequences: list[dict[str, str]] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    unfed: list[tuple[str, str]] = field(default_factory=list)


def converge(
    document: Mapping[str, Any], *, present: bool, check: bool, run: Run
) -> ConvergeResult:
    """Bring the jobs of ``document`` (the ``jobs`` section) into force.

    Raises:
        ConfigurationError, ValidationError: the declaration is refused; nothing was changed.
        ObservationError: the host's state could not be read; nothing was changed.
        ConvergeError, ManagedFilesError: a step failed; the next run carries on.

    """
    jobs = settings.read(Jobs, Section(document, "jobs"))
    replacements = jobs.replaces
    if not present:
        jobs = replace(jobs, jobs=())
    systemd = observe.systemd_is_running()
    result = ConvergeResult("systemd" if systemd else "cron")
    wanted = _wanted(jobs, document, systemd) if present else Wanted((), (), {})
    _check_users(jobs, result, check=check, run=run)
    called = {job.command[0] for job in jobs.declared}
    result.lacking = {path for path in called & {*PROGRAMS} if not Path(path).exists()}
    result.unfed = unfed(jobs)
    with _exclusive(check=check):
        settled = _bring(jobs, wanted, result, systemd=systemd, check=check, run=run)
        _report_foreign(jobs, settled, replacements, result, check=check, run=run)
    return result


def unfed(jobs: Jobs) -> list[tuple[str, str]]:
    """Return the jobs that wait for a file, each with the file."""
    active = [job for job in jobs.declared if job.is_active]
    return [(job.name, path) for job in active for path in job.needs if not Path(path).exists()]


def _wanted(jobs: Jobs, document: Mapping[str, Any], systemd: bool) -> Wanted:
    units = render.units(jobs) if systemd else {}
    programs = scripts.SYSTEMD if systemd else scripts.CRON
    contents = {f"{layout.UNIT_DIR}/{name}": text for name, text in units.items()}
    contents[layout.TMPFILES_PATH] = render.tmpfiles(jobs)
    section = {key: document[key] for key in ("jobs", "resource_classes")}
    contents[layout.CONFIGURATION_PATH] = (
        json.dumps({"jobs": section}, indent=2, ensure_ascii=False) + "\n"
    )
    for job in jobs.declared:
        if job.paused is not None:
            contents[f"{layout.PAUSED_DIR}/{job.name}"] = render.pause_document(
                job.paused, "declared"
            )
    if not systemd:
        contents[layout.CRON_PATH] = cron.crontab(jobs, observe.host_timezone())
    files = [FileSpec(path, text.encode(), _ROOT) for path, text in contents.items()]
    files += [
        FileSpec(f"{layout.LIBRARY_DIR}/{name}", text.encode(), _PROGRAM)
        for name, text in programs.items()
    ]
    directories = [
        DirectorySpec(layout.PAUSED_DIR, _ROOT_DIRECTORY, exclusive=True),
        DirectorySpec(layout.LIBRARY_DIR, _ROOT_DIRECTORY, exclusive=True),
        DirectorySpec(layout.RUNTIME_PAUSED_DIR, _ROOT_DIRECTORY),
        DirectorySpec(layout.RUNS_DIR, _ROOT_DIRECTORY),
        DirectorySpec(layout.FAILURES_DIR, _ROOT_DIRECTORY),
    ]
    return Wanted(tuple(directories), tuple(files), units)


def _check_users(jobs: Jobs, result: ConvergeResult, *, check: bool, run: Run) -> None:
    wanted = system_users.service_accounts({job.user for job in jobs.declared})
    made = system_users.plan(wanted, (), {entry.pw_name for entry in pwd.getpwall()})
    if not check:
        system_users.apply(made, run)
    result.actions += made.actions
    for job in jobs.declared:
        try:
            pwd.getpwnam(job.user)
        except KeyError:
            message = f"jobs.{job.name}.user is {job.user!r}, which is no account of this host"
            if job.user in made.add:
                continue
            # In check mode the account may be what this very run would create.
            if not check and job.is_active:
                raise ConfigurationError(f"{message}; create it first") from None
            result.warnings.append(message)
    why = {job.user: root_equivalents.read(job.user, run) for job in jobs.declared}
    result.warnings += root_warnings(jobs, why)


def root_warnings(jobs: Jobs, why: Mapping[str, Sequence[str]]) -> list[str]:
    """Name the jobs that run unattended as a person who is as good as root.

    ``why`` is what makes a user that, by name; nothing where nothing does.
    """
    return [
        f"the job {job.name} runs unattended as {job.user}, who is as good as root "
        f"({', '.join(why[job.user])}); give it an account of its own, such as user: "
        f"factory-{job.name}, or say root_equivalent: true"
        for job in jobs.declared
        if not job.root_equivalent and why[job.user]
    ]


def _bring(
    jobs: Jobs, wanted: Wanted, result: ConvergeResult, *, systemd: bool, check: bool, run: Run
) -> list[Job]:
    """Plan and act; return the jobs that are (or in check mode will be) in their state."""
    paused = observe.pauses(layout.RUNTIME_PAUSED_DIR, "runtime")
    _report_pauses(jobs, paused, result)
    disk = observe.disk()
    installed = plan.Installed(_units(jobs, run) if systemd else {}, disk, set(paused))
    written = {
        change.path
        for change in managed_files.plan((), wanted.files, ())
        if change.path in wanted.unit_paths
    }
    steps = plan.plan(jobs, installed, wanted.unit_paths, written)
    if not systemd:
        steps = plan.UnitPlan((), (), steps.absent_paths, {}, {})
        result.warnings += cron.unsupported(jobs)
    changes = managed_files.plan(
        wanted.directories, wanted.files, _absent(wanted, steps.absent_paths)
    )
    if written:
        validate.schedules(jobs, run)
        result.warnings += validate.units(wanted.units, run)
    result.warnings += [
        f"{path} was written by somebody else and changes a job; declare it or remove it"
        for path in plan.foreign_drop_ins(disk, wanted.unit_paths)
    ]
    _describe(result, changes, steps)
    if not check:
        _act(steps.before_files, run)
        managed_files.apply(changes, run)
        _make_locks(jobs)
        let_boots_pass(jobs, steps.after_files)
        _act(steps.after_files, run)
        if systemd and result.changed:
            installed = plan.Installed(_units(jobs, run), disk, set(paused))
            return [job for job in jobs.declared if plan.is_settled(job, installed)]
    return list(jobs.declared)


def _units(jobs: Jobs, run: Run) -> dict[str, observe.Unit]:
    names = [unit(job.name) for job in jobs.declared for unit in (layout.timer, layout.service)]
    return observe.units(names, run)


def _absent(wanted: Wanted, removed: Sequence[str]) -> list[str]:
    """Return every path of ours, for either backend, that is not wanted here."""
    ours = {layout.CRON_PATH, layout.TMPFILES_PATH, layout.CONFIGURATION_PATH}
    ours |= {f"{layout.UNIT_DIR}/{name}" for name in render.units(Jobs())}
    if not wanted.directories:
        ours |= {layout.PAUSED_DIR, layout.RUNTIME_PAUSED_DIR, layout.LIBRARY_DIR}
    ours |= set(removed)
    ours -= {item.path for item in wanted.files}
    # A directory goes with its content: naming both would remove the content twice.
    return sorted(path for path in ours if not any(path.startswith(f"{up}/") for up in ours))


def _report_pauses(
    jobs: Jobs, paused: Mapping[str, observe.PauseFile], result: ConvergeResult
) -> None:
    for name, pause in paused.items():
        result.runtime_paused.append(
            {"name": name, "reason": pause.reason, "by": pause.by, "since": pause.since}
        )
        known = "" if jobs.get(name) else ", which is not declared"
        result.warnings.append(
            f"job {name}{known} is paused on the host since {pause.since} by {pause.by}: "
            f"{pause.reason}; 'factory resume {name}' ends that"
        )


def _describe(
    result: ConvergeResult, changes: Sequence[managed_files.Change], steps: plan.UnitPlan
) -> None:
    result.diff += [
        {
            "before_header": change.path,
            "after_header": f"{change.path} ({change.kind})",
            "before": change.before,
            "after": change.after,
        }
        for change in changes
    ]
    if steps.states_before:
        result.diff.append(
            {
                "before_header": "timers",
                "after_header": "timers",
                "before": _state_lines(steps.states_before),
                "after": _state_lines(steps.states_after),
            }
        )
    result.actions += [
        " ".join((action.verb, *action.units))
        for action in (*steps.before_files, *steps.after_files)
    ]
    result.changed = bool(changes or result.actions)


def _state_lines(states: Mapping[str, str]) -> str:
    return "".join(f"{name}: {state}\n" for name, state in states.items())


def _act(actions: Sequence[plan.Action], run: Run) -> None:
    for action in actions:
        option = [action.option] if action.option else []
        argv = ["systemctl", *option, action.verb, *(["--"] if action.units else []), *action.units]
        done = run(argv, environment={"LC_ALL": "C"}, timeout_seconds=ACTION_SECONDS)
        # A unit that left memory by itself has nothing to be reset.
        if not done.ok and action.verb != "reset-failed":
            raise ConvergeError(
                f"{' '.join(argv)} ended with {done.returncode}: {done.said}; run again once that is "
                "solved, the run carries on from here"
            )


def _make_locks(jobs: Jobs) -> None:
    """Make the shared lock files now; tmpfiles.d makes them at boot."""
    directory = Path(layout.SHARED_LOCK_DIR)
    for lock in {lock for job in jobs.declared for lock in job.locks}:
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        path = Path(layout.lock_path(lock))
        path.touch(exist_ok=True)
        path.chmod(0o666)


def let_boots_pass(jobs: Jobs, actions: Sequence[plan.Action]) -> None:
    """Keep a job at boot from running because its timer is started now."""
    started = {unit for action in actions if action.verb == "start" for unit in action.units}
    for job in jobs.declared:
        if job.at_boot and layout.timer(job.name) in started:
            files.write(Path(layout.booted_path(job.name)), b"")


def _report_foreign(
    jobs: Jobs,
    settled: Sequence[Job],
    replacements: Sequence[Replacement],
    result: ConvergeResult,
    *,
    check: bool,
    run: Run,
) -> None:
    tables = foreign.crontabs()
    for user in sorted({entry.user for entry in replacements}):
        path = f"{foreign.CRONTABS_DIR}/{user}"
        entries = [entry for entry in replacements if entry.user == user]
        text = user_crontab(user, run) if path in tables else ""
        left, removed, refused = foreign.without_replaced(text, entries, settled, jobs)
        result.warnings += [f"crontab of {user}: {reason}" for reason in refused]
        if removed:
            result.changed = True
            result.replaced_lines += removed
            result.consequences += [
                {
                    "kind": "moved",
                    "what": f"{path}: {line!r}",
                    "why": "the line goes; a declared job runs it from now on",
                }
                for line in removed
            ]
            result.diff.append(
                {"before_header": path, "after_header": path, "before": text, "after": left}
            )
            tables[path] = left
            if not check:
                _replace_crontab(user, text, left, removed, run)
    commands = foreign_commands(run, systemd=result.backend == "systemd")
    _park(replacements, settled, jobs, tables, commands, result, check=check)
    duplicates = foreign.crontab_duplicates(jobs, tables)
    duplicates += foreign.command_duplicates(jobs, commands)
    for item in duplicates:
        result.foreign.append({"job": item.job, "where": item.where, "what": item.what})
        result.warnings.append(
            f"job {item.job} may run twice: {item.where} also has {item.what!r}; remove it, or "
            "name the line in factory_crons_replaces"
        )


def foreign_commands(run: Run, *, systemd: bool) -> list[foreign.ForeignCommand]:
    """Return what runs by the clock beside crontabs."""
    homes = [(entry.pw_name, entry.pw_dir) for entry in pwd.getpwall()]
    timers = foreign.timer_commands(run) if systemd else []
    return [*timers, *elsewhere.user_timers(homes), *elsewhere.at_jobs()]


def _park(
    replacements: Sequence[Replacement],
    settled: Sequence[Job],
    jobs: Jobs,
    tables: Mapping[str, str],
    commands: Sequence[foreign.ForeignCommand],
    result: ConvergeResult,
    *,
    check: bool,
) -> None:
    """Put scripts aside that nothing runs any more; they stay readable where their owner looks."""
    present = [entry.park for entry in replacements if entry.park and Path(entry.park).is_file()]
    users = dict(tables)
    for command in commands:
        users[command.where] = f"{users.get(command.where, '')}{command.text}\n"
    for script in present:
        result.warnings += [
            f"{script} is not parked: {where}" for where in foreign.users_of(script, jobs, users)
        ]
    for source, target in foreign.parked(replacements, settled, jobs, users):
        result.changed = True
        result.actions.append(f"park {source}")
        result.consequences.append(
            {
                "kind": "moved",
                "what": source,
                "why": f"nothing runs it any more: it lies in {Path(target).parent} from now on",
            }
        )
        result.diff.append(
            {
                "before_header": source,
                "after_header": target,
                "before": "here\n",
                "after": "parked\n",
            }
        )
        if check:
            continue
        if Path(target).exists():
            raise ConvergeError(f"{source} cannot be parked: {target} exists; look at both")
        Path(target).parent.mkdir(exist_ok=True)
        takeover.record([takeover.Taken("script", source, target)])
        Path(source).rename(target)


def user_crontab(user: str, run: Run) -> str:
    """Return a crontab as its owner wrote it: the stored file has a header of cron's own."""
    argv = ["crontab", "-u", user, "-l"]
    done = checked(run, argv, error=ConvergeError, timeout_seconds=ACTION_SECONDS)
    return done.stdout.decode("utf-8", "surrogateescape")


def _replace_crontab(user: str, before: str, after: str, removed: Sequence[str], run: Run) -> None:
    content = before.encode("utf-8", "surrogateescape")
    copy = copy_path(Path(_BACKUP_DIR, f"crontab-{user}"), content)
    if not copy.exists():
        specification = FileSpec(str(copy), content, Attributes("root", "root", 0o600))
        managed_files.apply(managed_files.plan((), [specification], ()), run)
    takeover.record([takeover.Taken("line", line, str(copy), user) for line in removed])
    install_crontab(user, after, run)


def install_crontab(user: str, text: str, run: Run) -> None:
    """Give a user another crontab.

    Raises:
        ConvergeError: crontab refuses it.

    """
    checked(
        run,
        ["crontab", "-u", user, "-"],
        error=ConvergeError,
        stdin=text.encode("utf-8", "surrogateescape"),
        timeout_seconds=ACTION_SECONDS,
    )


def copy_path(first: Path, content: bytes) -> Path:
    """Return where a crontab is kept before an edit; it may be there already.

    The first copy has the plain name, later ones are numbered; none is ever overwritten.
    """
    number, path = 0, first
    while path.exists():
        if path.read_bytes() == content:
            break
        number += 1
        path = first.with_name(f"{first.name}.{number}")
    return path


@contextmanager
def _exclusive(*, check: bool) -> Iterator[None]:
    """Keep ``factory pause`` and a second converge out; a killed holder leaves no lock."""
    if check:
        yield
        return
    # Its holders end soon: each of their steps has a limit.
    with locks.waiting(layout.LOCK_PATH):
        yield
