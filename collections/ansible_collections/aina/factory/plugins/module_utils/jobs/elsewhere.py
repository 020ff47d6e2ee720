"""What runs by the clock outside of crontabs and the system's timers: at, and users' own timers.

What it reads is its owner's: bounded, and only ever looked at.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from .foreign import ForeignCommand

AT_DIR = "/var/spool/cron/atjobs"
_SHARED_UNITS_DIR = "/etc/systemd/user"
_HOME_UNITS_DIRS = (".config/systemd/user", ".local/share/systemd/user")
_MAX_BYTES = 64 * 1024
_FILES_MAX_COUNT = 500
# at writes the environment and the directory first; these lines end it.
_AT_BEGIN = re.compile(
    r"^cd (?P<directory>.*?) \|\| \{\n\s*echo 'Execution directory inaccessible'[^}]*\}\n",
    re.MULTILINE,
)
_SETTING = re.compile(r"\s*(?P<key>[A-Za-z]+)\s*=\s*(?P<value>.*)\Z")
_STARTS = ("ExecStartPre", "ExecStart", "ExecStartPost")
# A user writes the name: whatever could be no file's name names nothing.
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.@%\\-]{1,200}")


def at_jobs() -> list[ForeignCommand]:
    """Return what waits to be run once by at."""
    found = []
    for path in _listed(Path(AT_DIR)):
        text = _text(path)
        begin = _AT_BEGIN.search(text)
        directory = begin["directory"].replace("\\", "") if begin else ""
        body = text[begin.end() :] if begin else text
        found += [
            ForeignCommand(f"at job {path}", line.strip(), directory, is_quoted=True)
            for line in body.splitlines()
            if line.strip() and not line.lstrip().startswith("#")
        ]
    return found


def user_timers(homes: Iterable[tuple[str, str]]) -> list[ForeignCommand]:
    """Return what the timers of users' own managers start.

    ``homes``: the name and the home of each user. Timers of all users count for each.
    """
    places = [("", "", [Path(_SHARED_UNITS_DIR)])]
    places += [
        (user, home, [Path(home, below) for below in _HOME_UNITS_DIRS])
        for user, home in homes
        if home.startswith("/") and home != "/"
    ]
    return [
        command
        for user, home, directories in places
        for directory in directories
        for timer in _listed(directory)
        if timer.suffix == ".timer"
        for command in _started(timer, user, home, [*directories, Path(_SHARED_UNITS_DIR)])
    ]


def _started(
    timer: Path, user: str, home: str, directories: list[Path]
) -> Iterator[ForeignCommand]:
    named = [value for key, value in _settings(timer) if key == "Unit"]
    service = named[-1] if named else f"{timer.stem}.service"
    if not _UNIT_NAME.fullmatch(service):
        return
    where = f"{timer} of {user}" if user else str(timer)
    files = [path for directory in directories if _is_file(path := directory / service)][:1]
    files += [
        path
        for directory in directories
        for path in _listed(directory / f"{service}.d")
        if path.suffix == ".conf"
    ]
    settings = [setting for path in files for setting in _settings(path)]
    directory = next((value for key, value in settings if key == "WorkingDirectory"), "")
    for key, value in settings:
        if key in _STARTS and value:
            text = value.lstrip("-@:+!|").replace("%h", home)
            yield ForeignCommand(
                where, text, directory.lstrip("-").replace("%h", home) or home, is_quoted=True
            )


def _settings(path: Path) -> Iterator[tuple[str, str]]:
    for line in re.sub(r"\\\n", " ", _text(path)).splitlines():
        if (match := _SETTING.match(line)) and not line.lstrip().startswith(("#", ";")):
            yield match["key"], match["value"].strip()


def _is_file(path: Path) -> bool:
    """Whether it is a plain file; one that cannot be looked at is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _listed(directory: Path) -> list[Path]:
    """Return the plain files of a directory; none where it cannot be looked into."""
    try:
        paths = sorted(directory.iterdir())[:_FILES_MAX_COUNT]
        return [path for path in paths if not path.name.startswith(".") and path.is_file()]
    except OSError:
        return []


def _text(path: Path) -> str:
    """Return the beginning of a file; a pipe or a device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return stream.read(_MAX_BYTES).decode(errors="replace")
