"""Render declared jobs as systemd units; pure."""

from __future__ import annotations

import json

from . import calendar, layout
from .settings import Job, Jobs, Pause, ResourceClass

HEADER = "# Managed by aina.factory.systemd_jobs (role: factory_crons); edits are lost.\n"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_AFTER_BOOT_SECONDS = 30
_ON_FAILURE_FILE = "10-on-failure.conf"
_PREFIX_DROP_IN = f"{layout.PREFIX}.service.d/{_ON_FAILURE_FILE}"


def units(jobs: Jobs) -> dict[str, str]:
    """Return every unit file and drop-in, by its path below the unit directory."""
    files = {
        "factory-notify@.service": _notifier(),
        "factory-trigger-queue@.service": _trigger(
            "after its present run", f"{layout.LIBRARY_DIR}/queue {layout.PREFIX}%i.service"
        ),
        "factory-trigger-replace@.service": _trigger(
            "in place of its present run", f"systemctl --no-block restart {layout.PREFIX}%i.service"
        ),
        _PREFIX_DROP_IN: f"{HEADER}[Unit]\nOnFailure=factory-notify@%n.service\n",
        "factory-jobs.slice": f"{HEADER}[Unit]\nDescription=Scheduled jobs of the factory\n",
    }
    for name, resources in jobs.resource_classes.items():
        files[slice_name(name)] = _slice(name, resources)
    for job in jobs.declared:
        files[layout.service(job.name)] = _service(job, jobs.resource_classes[job.resource_class])
        files[layout.timer(job.name)] = _timer(job)
        if job.on_failure != "alert":
            # The same file name in the longer-named directory takes the prefix's place.
            files[f"{layout.service(job.name)}.d/{_ON_FAILURE_FILE}"] = _on_failure(job)
    return files


def slice_name(resource_class: str) -> str:
    """Return the slice that the jobs of one class share."""
    return f"factory-jobs-{resource_class}.slice"


def pause_document(pause: Pause, origin: str) -> str:
    """Return the content of a pause file."""
    document = {
        "schema": 1,
        "reason": pause.reason,
        "by": pause.by,
        "since": pause.since,
        "review_after": pause.review_after,
        "origin": origin,
    }
    return json.dumps(document, indent=2) + "\n"


def tmpfiles(jobs: Jobs) -> str:
    """Return the tmpfiles.d lines that make the shared lock files at boot.

    Root makes them, readable and writable for every job's user, in a directory in which
    nobody else can put something in their place.
    """
    locks = sorted({lock for job in jobs.declared for lock in job.locks})
    files = [f"f {layout.lock_path(lock)} 0666 root root -\n" for lock in locks]
    directory = f"d {layout.SHARED_LOCK_DIR} 0755 root root -\n" if files else ""
    return "".join((HEADER, directory, *files))


def quote(word: str, *, expands_variables: bool) -> str:
    """Return ``word`` as one argument of a unit file's line."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    for character, code in (("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        escaped = escaped.replace(character, code)
    escaped = "".join(
        character if character.isprintable() else "".join(f"\\x{b:02x}" for b in character.encode())
        for character in escaped
    )
    if expands_variables:
        escaped = escaped.replace("$", "$$")
    return f'"{escaped}"'


def command_line(job: Job) -> list[str]:
    """Return the job's argument list with its shared locks around it, in sorted order."""
    wait = [] if job.on_overlap == "queue" else ["-n", "-E", str(layout.SKIPPED)]
    locks = [
        word
        for lock in job.lock_names
        for word in ("/usr/bin/flock", *wait, layout.lock_path(lock))
    ]
    return [*locks, *job.command]


def _service(job: Job, resources: ResourceClass) -> str:
    required = " ".join(job.required_units)
    # kill_old ends the old run by SIGTERM: expected there, a failure everywhere else.
    replaced = " SIGTERM" if job.on_overlap == "kill_old" else ""
    lines = [
        "[Unit]",
        f"Description={_text(_describe(job))}",
        f"ConditionPathExists=!{layout.PAUSED_DIR}/{job.name}",
        f"ConditionPathExists=!{layout.RUNTIME_PAUSED_DIR}/{job.name}",
        # A timer that is started later finds its time after the boot passed, and fires at once.
        *([f"ConditionPathExists=!{layout.booted_path(job.name)}"] if job.at_boot else []),
        *([f"Wants={_text(required)}", f"After={_text(required)}"] if required else []),
        *(f"ConditionPathExists={path}" for path in job.needs),
        "",
        "[Service]",
        "Type=oneshot",
        f"User={job.user}",
        "WorkingDirectory=-~",
        f"Environment=PATH={_PATH}",
        *(
            f"Environment={quote(f'{name}={value}', expands_variables=False)}"
            for name, value in sorted(job.environment.items())
        ),
        *(_credential(entry) for entry in job.credentials),
        f"SyslogIdentifier={layout.PREFIX}{job.name}",
        f"Slice={slice_name(job.resource_class)}",
        f"Nice={resources.nice}",
        *(["IOSchedulingClass=idle"] if resources.io_idle else []),
        f"TimeoutStartSec={job.timeout_seconds}",
        "TimeoutStopSec=30",
        f"SuccessExitStatus={layout.SKIPPED}{replaced}",
        *(
            [f"ExecStartPre=+/usr/bin/install -D -m 0644 /dev/null {layout.booted_path(job.name)}"]
            if job.at_boot
            else []
        ),
        "ExecStart=" + " ".join(quote(word, expands_variables=True) for word in command_line(job)),
        f"ExecStopPost=+{layout.LIBRARY_DIR}/record {job.name}",
    ]
    return HEADER + "\n".join(lines) + "\n"


def _timer(job: Job) -> str:
    unit = layout.service(job.name)
    if job.on_overlap == "queue":
        unit = f"factory-trigger-queue@{job.name}.service"
    elif job.on_overlap == "kill_old":
        unit = f"factory-trigger-replace@{job.name}.service"
    lines = [
        "[Unit]",
        f"Description=Timer: {_text(_describe(job))}",
        "",
        "[Timer]",
        *(f"OnCalendar={expression}" for expression in calendars(job)),
        *([f"OnBootSec={_AFTER_BOOT_SECONDS}"] if job.at_boot else []),
        f"RandomizedDelaySec={job.jitter_seconds}",
        "FixedRandomDelay=true",
        "AccuracySec=1s",
        f"Persistent={'true' if job.catch_up else 'false'}",
        f"Unit={unit}",
        "",
        "[Install]",
        "WantedBy=timers.target",
    ]
    return HEADER + "\n".join(lines) + "\n"


def calendars(job: Job) -> tuple[str, ...]:
    """Return the job's OnCalendar expressions, each with its time zone; none for the boot."""
    return calendar.in_zone(job.schedule, job.timezone)


def _slice(name: str, resources: ResourceClass) -> str:
    lines = [
        "[Unit]",
        f"Description=Scheduled jobs of the factory: {name}",
        "",
        "[Slice]",
        f"CPUWeight={resources.cpu_weight}",
        f"IOWeight={resources.io_weight}",
        *([f"MemoryMax={resources.memory_max_mib}M"] if resources.memory_max_mib else []),
        f"TasksMax={resources.tasks_max_count}",
    ]
    return HEADER + "\n".join(lines) + "\n"


def _notifier() -> str:
    # Its own name does not begin with the jobs' prefix: it cannot call itself.
    return (
        f"{HEADER}[Unit]\nDescription=Report the failure of %i\n\n[Service]\nType=oneshot\n"
        f"TimeoutStartSec=60\nExecStart={layout.LIBRARY_DIR}/notify %i\n"
    )


def _trigger(when: str, command: str) -> str:
    return (
        f"{HEADER}[Unit]\nDescription=Start the job %i {when}\n\n[Service]\nType=oneshot\n"
        f"TimeoutStartSec=infinity\nExecStart={command}\n"
    )


def _on_failure(job: Job) -> str:
    units = job.failure_units or ()
    return f"{HEADER}[Unit]\n" + "".join(f"OnFailure={unit}\n" for unit in units)


def _describe(job: Job) -> str:
    if job.paused is None:
        return job.title
    review = f", review after {job.paused.review_after}" if job.paused.review_after else ""
    return (
        f"{job.title} [paused since {job.paused.since} by {job.paused.by}{review}: "
        f"{job.paused.reason}]"
    )


def _text(text: str) -> str:
    escaped = text.replace("%", "%%")
    # A trailing backslash would swallow the next line.
    return escaped + " ." if escaped.endswith("\\") else escaped


def _credential(entry: str) -> str:
    """Return the line that hands a secret over; what ends in .cred is encrypted for this host."""
    verb = "LoadCredentialEncrypted" if entry.endswith(".cred") else "LoadCredential"
    return f"{verb}={_text(entry if ':' in entry else f'{entry}:{entry}')}"
