"""Find crontab lines and timers that may run a declared job a second time; pure but for reading."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_collections.aina.factory.plugins.module_utils.configuration import Section
from ansible_collections.aina.factory.plugins.module_utils.jobs import layout
from ansible_collections.aina.factory.plugins.module_utils.jobs.model import Job, Jobs
from ansible_collections.aina.factory.plugins.module_utils.jobs.observe import ObservationError
from ansible_collections.aina.factory.plugins.module_utils.ports import Run

CRONTABS_DIR = "/var/spool/cron/crontabs"
_INTERPRETERS = {
    "bash",
    "sh",
    "dash",
    "env",
    "python3",
    "python",
    "node",
    "nice",
    "ionice",
    "flock",
}
_SHARED_PROGRAMS = {"factory"}  # one program of many jobs: its name says nothing
_QUERY_SECONDS = 60.0


@dataclass(frozen=True)
class Duplicate:
    """Something foreign that seems to run a declared job too."""

    job: str
    where: str
    what: str


@dataclass(frozen=True)
class Replacement:
    """Lines of a user's crontab that a declared job takes the place of.

    ``park`` is the script that they ran: it is put aside once nothing runs it any more.
    """

    user: str
    matches: str
    job: str | None
    park: str | None = None


def replacements(section: Section) -> list[Replacement]:
    """Read the ``replaces`` list of a section.

    Raises:
        ConfigurationError: a value is wrong.

    """
    found = []
    for item in section.sections("replaces", []):
        matches = item.text("matches")
        if len(matches.strip()) < 4:
            raise item.error("matches", matches, "be at least four characters of the old line")
        found.append(
            Replacement(
                item.text("user"),
                matches,
                item.text("job") if item.has("job") else None,
                item.absolute_path("park") if item.has("park") else None,
            )
        )
        item.done()
    return found


def successor(entry: Replacement, line: str, jobs: Jobs) -> Job | None:
    """Return the declared job that takes the line's place."""
    if entry.job is not None:
        return jobs.get(entry.job)
    return next((job for job in jobs.declared if runs(line, job)), None)


def runs(line: str, job: Job) -> bool:
    """Whether a command line seems to run the job: by its program, or by its name."""
    words = set(re.split(r"[\s'\";&|()=<>]+", line))
    signs = {
        word
        for word in job.command
        if word.startswith("/") and PurePosixPath(word).name not in _INTERPRETERS | _SHARED_PROGRAMS
    }
    if words & signs:
        return True
    return any(PurePosixPath(word).stem == job.name for word in words if word.startswith("/"))


def crontab_duplicates(jobs: Jobs, tables: Mapping[str, str]) -> list[Duplicate]:
    """Return the live lines of foreign crontabs (path to text) that run a declared job."""
    return [
        Duplicate(job.name, path, line.strip())
        for path, text in sorted(tables.items())
        for line in text.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
        for job in jobs.declared
        if runs(line, job)
    ]


def crontabs() -> dict[str, str]:
    """Return every crontab on the host but our own."""
    paths = [Path("/etc/crontab")]
    for directory in ("/etc/cron.d", CRONTABS_DIR):
        if Path(directory).is_dir():
            paths += sorted(path for path in Path(directory).iterdir() if path.is_file())
    return {
        str(path): path.read_text(encoding="utf-8", errors="surrogateescape")
        for path in paths
        if path.is_file() and str(path) != layout.CRON_PATH
    }


def timer_duplicates(jobs: Jobs, run: Run) -> list[Duplicate]:
    """Return the foreign services started by timers that run a declared job."""
    argv = ["systemctl", "show", "--property=Id,TriggeredBy,ExecStart", "--", "*.service"]
    try:
        done = run(argv, environment={"LC_ALL": "C"}, timeout_seconds=_QUERY_SECONDS)
    except (OSError, TimeoutError) as error:
        raise ObservationError(f"systemctl show: {error}") from error
    found = []
    for block in done.stdout.decode(errors="replace").split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        timers = [name for name in values.get("TriggeredBy", "").split() if name.endswith(".timer")]
        command = re.search(r"argv\[\]=(.*?) ; ", values.get("ExecStart", ""))
        if not timers or command is None or values.get("Id", "").startswith(layout.PREFIX):
            continue
        found += [
            Duplicate(job.name, timers[0], command[1])
            for job in jobs.declared
            if runs(command[1], job)
        ]
    return found


def parked(
    entries: Iterable[Replacement],
    settled: Sequence[Job],
    jobs: Jobs,
    tables: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Return the scripts to put aside and where to, for successors that are in place.

    A script that any crontab still names, or that a declared job runs itself, stays.
    """
    found = []
    for entry in entries:
        if entry.park is None or not Path(entry.park).is_file():
            continue
        job = successor(entry, entry.park, jobs)
        used = any(entry.park in text for text in tables.values()) or any(
            entry.park in item.command for item in jobs.declared
        )
        if job is not None and job in settled and not used:
            path = PurePosixPath(entry.park)
            found.append((entry.park, str(path.parent / "parked" / path.name)))
    return found


def without_replaced(
    text: str, entries: Iterable[Replacement], settled: Sequence[Job], jobs: Jobs
) -> tuple[str, list[str], list[str]]:
    """Return a crontab without its replaced lines, those lines, and those kept with the reason."""
    kept, removed, refused = [], [], []
    for line in text.splitlines(keepends=True):
        entry = next((entry for entry in entries if entry.matches in line), None)
        if entry is None:
            kept.append(line)
            continue
        job = successor(entry, line, jobs)
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
