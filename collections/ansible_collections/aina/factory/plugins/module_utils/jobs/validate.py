"""Let systemd judge all rendered units and schedules before any of them is installed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Completed, Run
from ..base.run import ended
from . import layout, render
from .settings import Job, Jobs

JUDGE_SECONDS = 120.0
_ENVIRONMENT = {"LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_LOG_LEVEL": "warning"}
_LINE = re.compile(
    r"(?:.*/)?(?P<unit>factory-[^/:\s]+?)(?:\.d/[^:]+)?(?::(?P<line>\d+))?: (?P<words>.*)"
)
# Fields by the directive that a message's line number points at.
_FIELDS = {
    "Description": "description",
    "OnCalendar": "schedule",
    "RandomizedDelaySec": "jitter_seconds",
    "User": "user",
    "Environment": "environment",
    "LoadCredential": "credentials",
    "LoadCredentialEncrypted": "credentials",
    "TimeoutStartSec": "timeout_seconds",
    "ExecStart": "command",
    "OnFailure": "on_failure",
    "Wants": "requires",
    "After": "requires",
    "CPUWeight": "cpu_weight",
    "IOWeight": "io_weight",
    "MemoryMax": "memory_max_mib",
    "TasksMax": "tasks_max_count",
}


class ValidationError(FactoryError):
    """systemd refuses a job; nothing was installed. Names the job and the field."""


@dataclass(frozen=True)
class _Complaint:
    unit: str
    line: int | None
    words: str


def schedules(jobs: Jobs, run: Run) -> None:
    """Check every schedule in one call, one by one only to find the culprit.

    Raises:
        ValidationError: a schedule cannot be read or never elapses.

    """
    together = [text for job in jobs.declared for text in render.calendars(job)]
    if not together:
        return
    done = _judge(["systemd-analyze", "calendar", "--", *together], run)
    if done.ok and b"Next elapse: never" not in done.stdout:
        return
    for job in jobs.declared:
        for text in render.calendars(job):
            _check_schedule(job, text, run)


def _check_schedule(job: Job, text: str, run: Run) -> None:
    done = _judge(["systemd-analyze", "calendar", "--", text], run)
    if not done.ok:
        raise ValidationError(
            f"jobs.{job.name}.schedule is {job.schedule!r}, timezone {job.timezone!r}; systemd "
            f"says: {done.said}; nothing was installed"
        )
    if b"Next elapse: never" in done.stdout:
        raise ValidationError(
            f"jobs.{job.name}.schedule is {job.schedule!r}, which never comes (again); nothing "
            "was installed"
        )


def units(files: Mapping[str, str], run: Run) -> list[str]:
    """Verify all units together in a directory of their own; return warnings.

    A program that is not there yet is a warning: its package or checkout may come later,
    and until then each run of the job fails visibly.

    Raises:
        ValidationError: systemd complains about one of the units.

    """
    with tempfile.TemporaryDirectory(prefix="factory-jobs-") as directory:
        for name, content in files.items():
            path = Path(directory, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
        names = [f"{directory}/{name}" for name in sorted(files) if ".d/" not in name]
        argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *names]
        # The empty last entry stands for the ordinary directories behind ours.
        done = _judge(argv, run, {"SYSTEMD_UNIT_PATH": f"{directory}:"})
    complaints = _complaints(done.stderr.decode(errors="replace"), files)
    fatal = [item for item in complaints if not _is_missing_program(item)]
    if fatal:
        listed = "; ".join(_describe(item, files) for item in fatal)
        raise ValidationError(f"{listed}; nothing was installed")
    if not done.ok and not done.stderr:
        raise ValidationError(
            f"systemd-analyze verify refuses the rendered units: {done.said}; nothing was installed"
        )
    return [_describe(item, files) for item in complaints]


def _complaints(stderr: str, files: Mapping[str, str]) -> list[_Complaint]:
    found: dict[_Complaint, None] = {}
    for text in stderr.splitlines():
        match = _LINE.fullmatch(text.strip())
        # Our own programs come with the units, after this judgement.
        if (
            match is not None
            and match["unit"] in files
            and layout.LIBRARY_DIR not in match["words"]
        ):
            line = int(match["line"]) if match["line"] else None
            found[_Complaint(match["unit"], line, match["words"])] = None
    return list(found)


def _is_missing_program(complaint: _Complaint) -> bool:
    return "is not executable" in complaint.words


def _describe(complaint: _Complaint, files: Mapping[str, str]) -> str:
    job = layout.job_of(complaint.unit)
    if job is None:
        return f"{complaint.unit}: {complaint.words}"
    field = "command" if _is_missing_program(complaint) else "units"
    if complaint.line is not None:
        lines = files[complaint.unit].splitlines()
        directive = lines[complaint.line - 1].partition("=")[0]
        field = _FIELDS.get(directive, directive)
    return f"jobs.{job}.{field}: {complaint.words}"


def _judge(argv: list[str], run: Run, environment: Mapping[str, str] | None = None) -> Completed:
    return ended(
        run,
        argv,
        name=f"{argv[0]} {argv[1]} did not run",
        error=ValidationError,
        environment={**_ENVIRONMENT, **(environment or {})},
        timeout_seconds=JUDGE_SECONDS,
    )
