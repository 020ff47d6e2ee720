"""Find crontab lines and timers that may run a declared job a second time; pure but for reading."""

from __future__ import annotations

import fnmatch
import os
import pwd
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..base.ports import Run
from ..base.run import output
from . import command_lines, layout
from .command_lines import CrontabEntry, Reading
from .observe import ObservationError
from .settings import Job, Jobs, Replacement

CRONTABS_DIR = "/var/spool/cron/crontabs"
_SYSTEM_TABLE = "/etc/crontab"
_SYSTEM_TABLES_DIR = "/etc/cron.d"
_ANACRON_TABLE = "/etc/anacrontab"
_ANACRON_SCHEDULE = re.compile(r"(?:\S+[ \t]+){3}")
_SCRIPT_DIRS = tuple(f"/etc/cron.{period}" for period in ("hourly", "daily", "weekly", "monthly"))
_SCRIPT_MAX_BYTES = 64 * 1024
_PATH_MAX = 4096
_SEPARATORS = r"[\s'\"=;&|()<>:]"
# Neither cron nor run-parts looks at other names, such as backup.dpkg-old.
_CRON_NAME = re.compile(r"[A-Za-z0-9_-]+\Z")
# One program of many jobs: its name says nothing without its arguments.
_SHARED_PROGRAMS = {"factory"} | command_lines.SHELLS | command_lines.INTERPRETERS
_SHARED_DIRS = {"/bin", "/sbin", "/usr/bin", "/usr/sbin"}
_QUERY_SECONDS = 60.0
_SHELL_TEXT = re.compile(r"(?:\S*/)?(?:sh|bash|dash)(?: -\S+)*? -\w*c (?P<text>.*)\Z", re.DOTALL)


@dataclass(frozen=True)
class ForeignDuplicate:
    """Something foreign that seems to run a declared job too."""

    job: str
    where: str
    what: str


def successor(entry: Replacement, reading: Reading, jobs: Jobs) -> Job | None:
    """Return the declared job that takes the line's place."""
    if entry.job is not None:
        return jobs.get(entry.job)
    return next((job for job in jobs.declared if runs(reading, job)), None)


def runs(reading: Reading, job: Job) -> bool:
    """Whether a command line seems to run the job: by its program, or by its name."""
    for own in command_lines.read(shlex.join(job.command)).commands:
        path = PurePosixPath(own[0])
        if path.name in _SHARED_PROGRAMS or str(path.parent) in _SHARED_DIRS:
            if any(_same_call(found, own) for found in reading.commands):
                return True
        elif own[0].startswith("/") and own[0] in reading.words:
            return True
    return any(
        PurePosixPath(found[0]).stem == job.name and re.search(r"[/.]", found[0])
        for found in reading.commands
    )


def _same_call(found: tuple[str, ...], own: tuple[str, ...]) -> bool:
    """Whether both call one program with the same first words; it may stand without its path."""
    names = [PurePosixPath(words[0]).name for words in (found, own)]
    return names[0] == names[1] and found[1 : len(own)] == own[1:]


def crontab_duplicates(jobs: Jobs, tables: Mapping[str, str]) -> list[ForeignDuplicate]:
    """Return the live lines of foreign crontabs (path to text) that run a declared job."""
    return [
        ForeignDuplicate(job.name, path, line.strip())
        for path, text in sorted(tables.items())
        for line, entry in _entries(path, text)
        if entry is not None and entry.is_live
        for job in jobs.declared
        if runs(entry.reading, job)
    ]


def _entries(path: str, text: str) -> Iterator[tuple[str, CrontabEntry | None]]:
    """Return the lines of a table, each with what it runs, as its place says."""
    directory, name = os.path.split(path)
    if directory in _SCRIPT_DIRS:
        for line in text.splitlines():
            yield line, None if line.lstrip().startswith("#") else CrontabEntry(line, {}, True)
    elif path == _ANACRON_TABLE:
        yield from command_lines.entries(text, "root", _home, _ANACRON_SCHEDULE)
    else:
        is_system = path == _SYSTEM_TABLE or directory == _SYSTEM_TABLES_DIR
        yield from command_lines.entries(text, None if is_system else name, _home)


def _home(user: str) -> str:
    try:
        return pwd.getpwnam(user).pw_dir
    except KeyError:
        return ""


def crontabs() -> dict[str, str]:
    """Return every crontab on the host but our own, and the scripts of ``/etc/cron.daily``.

    A script's text begins with its path and, for a link, with the path that it leads to.
    """
    paths = [Path(_SYSTEM_TABLE), Path(_ANACRON_TABLE)]
    paths += [path for path in _files(_SYSTEM_TABLES_DIR) if _CRON_NAME.match(path.name)]
    paths += [path for path in _files(CRONTABS_DIR) if not path.name.startswith(".")]
    found = {
        str(path): path.read_text(encoding="utf-8", errors="surrogateescape")
        for path in paths
        if path.is_file() and str(path) != layout.CRON_PATH
    }
    for directory in _SCRIPT_DIRS:
        for path in _files(directory):
            if _CRON_NAME.match(path.name) and os.access(path, os.X_OK):
                with path.open("rb") as stream:
                    text = stream.read(_SCRIPT_MAX_BYTES).decode(errors="replace")
                names = dict.fromkeys((str(path), str(path.resolve())))
                found[str(path)] = "\n".join((*names, text))
    return found


def live_lines(tables: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the table and the text of each entry that is live; of a script only its path."""
    return [
        (path, line.strip())
        for path, text in sorted(tables.items())
        for line, entry in list(_entries(path, text))[: 1 if _is_script(path) else None]
        if entry is not None and entry.is_live
    ]


def _is_script(path: str) -> bool:
    return str(PurePosixPath(path).parent) in _SCRIPT_DIRS


def clocked(tables: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the live lines, by table, that run by the host's clock; scripts of a directory are not."""
    found = {
        path: [
            line.strip()
            for line, entry in _entries(path, text)
            if entry is not None and entry.is_live and not entry.at_boot
        ]
        for path, text in tables.items()
        if path != _ANACRON_TABLE and not _is_script(path)
    }
    return {path: lines for path, lines in found.items() if lines}


def _files(directory: str) -> list[Path]:
    if not Path(directory).is_dir():
        return []
    return sorted(path for path in Path(directory).iterdir() if path.is_file())


@dataclass(frozen=True)
class ForeignCommand:
    """A command line that a foreign timer, or at, starts."""

    where: str
    text: str
    directory: str
    is_quoted: bool = False

    @property
    def reading(self) -> Reading:
        """What it runs; systemd itself shows the words without their quotes."""
        shell = None if self.is_quoted else _SHELL_TEXT.match(self.text)
        return command_lines.read(shell["text"] if shell else self.text, {}, self.directory)


def timer_commands(run: Run) -> list[ForeignCommand]:
    """Return what the foreign services run that timers start.

    Raises:
        ObservationError: systemd does not say.

    """
    # Between two runs such a service is inactive: without --all it would not be listed.
    argv = ["systemctl", "show", "--all", "--no-pager"]
    argv += ["--property=Id,TriggeredBy,WorkingDirectory,ExecStartPre,ExecStart,ExecStartPost"]
    argv += ["--", "*.service"]
    shown = output(
        run,
        argv,
        name="systemctl show",
        error=ObservationError,
        environment={"LC_ALL": "C"},
        timeout_seconds=_QUERY_SECONDS,
    )
    found = []
    for block in shown.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        timers = [name for name in values.get("TriggeredBy", "").split() if name.endswith(".timer")]
        if not timers or values.get("Id", "").startswith(layout.PREFIX):
            continue
        found += [
            ForeignCommand(timers[0], text, values.get("WorkingDirectory", ""))
            for text in re.findall(
                r"^Exec\w+=.*?argv\[\]=(.*?) ; (?:ignore_errors=|\})", block, re.MULTILINE
            )
        ]
    return found


def command_duplicates(jobs: Jobs, commands: Iterable[ForeignCommand]) -> list[ForeignDuplicate]:
    """Return those of foreign commands that run a declared job."""
    return [
        ForeignDuplicate(job.name, command.where, command.text)
        for command in commands
        for job in jobs.declared
        if runs(command.reading, job)
    ]


def parked(
    entries: Iterable[Replacement],
    settled: Sequence[Job],
    jobs: Jobs,
    tables: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return the scripts to put aside and where to, for successors that are in place.

    A script that any line of a table still names, or that a declared job runs itself, stays.
    """
    found = []
    for entry in entries:
        if entry.park is None or not Path(entry.park).is_file():
            continue
        job = successor(entry, command_lines.read(shlex.quote(entry.park)), jobs)
        if job is not None and job in settled and not users_of(entry.park, jobs, tables):
            path = PurePosixPath(entry.park)
            found.append((entry.park, str(path.parent / "parked" / path.name)))
    return found


def users_of(script: str, jobs: Jobs, tables: Mapping[str, str]) -> list[str]:
    """Return what still names the script: lines that are no comments, and declared jobs."""
    lines = [
        (f"{path} has {line.strip()!r}", line)
        for path, text in sorted(tables.items())
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
    ]
    lines += [(f"job {job.name}", shlex.join(job.command)) for job in jobs.declared]
    return [where for where, line in lines if _holds_path(line, script)]


def _holds_path(line: str, script: str) -> bool:
    """Whether a line may name the script; one whose directory cannot be told counts."""
    name = re.escape(PurePosixPath(script).name)
    for found in re.finditer(rf"(?<![\w.-]){name}(?![\w.-])", line):
        before = line[max(0, found.start() - _PATH_MAX) : found.start()]
        directory = re.split(_SEPARATORS, before)[-1]
        if not directory.startswith("/") or os.path.normpath(directory + found[0]) == script:
            return True
    # A pattern, or the whole directory.
    words = re.split(_SEPARATORS, line[:_PATH_MAX])
    if "run-parts" in line and any(script.startswith(f"{word}/") for word in words if word):
        return True
    path = PurePosixPath(script)
    return any(
        fnmatch.fnmatchcase(script, word) or fnmatch.fnmatchcase(path.name, word.split("/")[-1])
        for word in words
        if re.search(r"[*?\[]", word) and re.search(r"[A-Za-z/]", word)
    )


def without_replaced(
    text: str, entries: Iterable[Replacement], settled: Sequence[Job], jobs: Jobs
) -> tuple[str, list[str], list[str]]:
    """Return a crontab without its replaced lines, those lines, and those kept with the reason.

    Only a line whose one command is the replaced one goes. One that does more, or only names
    the script, is its owner's; so are comments, but for one that holds such a line at rest.
    """
    kept, removed, refused = [], [], []
    named = list(entries)
    user = named[0].user if named else ""
    for line, found in command_lines.entries(text, user, _home):
        taking = [entry for entry in named if found is not None and _takes(entry, line, found)]
        if found is None or not taking:
            kept.append(line)
            if found is not None and found.is_live:
                refused += _touched(named, line, found)
            continue
        job = successor(taking[0], found.reading, jobs)
        if job is not None and job in settled:
            removed.append(line.rstrip("\n"))
            continue
        kept.append(line)
        reason = (
            f"its successor {job.name} is not in its declared state yet"
            if job is not None
            else "no declared job takes its place; name one as 'job'"
        )
        refused.append(f"{line.strip()!r} stays: {reason}")
    return "".join(kept), removed, refused


def _takes(entry: Replacement, line: str, found: CrontabEntry) -> bool:
    """Whether the line holds the text, and its one command is what the text names."""
    wanted, only = entry.matches.strip(), found.reading.only
    if found.at_boot or wanted in (line.strip(), found.command):
        return not found.at_boot or wanted == line.strip()
    return wanted in line and bool(only) and _names(entry, found, only)


def _names(entry: Replacement, found: CrontabEntry, words: tuple[str, ...]) -> bool:
    wanted = command_lines.read(entry.matches, found.variables).only
    if not wanted or words[1 : len(wanted)] != wanted[1:]:
        return False
    name, program = wanted[0].removeprefix("./"), PurePosixPath(words[0])
    paths = (str(program), str(program.with_suffix(""))) if program.name else ()
    return any(path == name or path.endswith(f"/{name}") for path in paths)


def _touched(entries: Sequence[Replacement], line: str, found: CrontabEntry) -> list[str]:
    """Say of a line that stays what it has to do with the replaced ones, if anything."""
    for entry in entries:
        if any(_names(entry, found, words) for words in found.reading.commands):
            reason = f"it does more than run {entry.matches!r}; change it by hand"
            if found.at_boot:
                reason = f"it runs {entry.matches!r} at boot, which no timer of the job does"
            elif found.reading.only:
                reason = f"it runs {entry.matches!r} in other words; name those as 'matches'"
        elif entry.matches in line:
            reason = f"it only mentions {entry.matches!r}"
        else:
            continue
        return [f"{line.strip()!r} stays: {reason}"]
    return []
