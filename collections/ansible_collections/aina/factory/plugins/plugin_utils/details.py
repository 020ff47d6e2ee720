# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that a run says, in a file that only its owner reads; the screen shows what matters."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any, TextIO

from . import summary

KEPT_COUNT = 30
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def default_directory() -> Path:
    """Return where runs are written down unless somebody says otherwise."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    return base / "aina-factory/runs"


class Details:
    """The file of one run. ``problem`` says why there is none, or why it ends early."""

    def __init__(self, directory: Path | None = None) -> None:
        self.path: Path | None = None
        self.problem = ""
        self._stream: TextIO | None = None
        try:
            directory = directory or default_directory()
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            stem = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
            path = directory / f"{stem}-{os.getpid()}.log"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._stream = os.fdopen(os.open(path, flags, 0o600), "w", 1, "utf-8", "replace")
            self.path = path
            # Names begin with the time, so that they sort by age.
            for old in sorted(directory.glob("*.log"))[:-KEPT_COUNT]:
                old.unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:
            # RuntimeError: an account without a home.
            self.problem = str(error)

    def write(self, text: str) -> None:
        """Add text as whole lines, without secrets and without what moves a cursor."""
        if self._stream is None:
            return
        plain = _COLOR.sub("", text)
        lines = (summary.clean(line.replace("\t", "    ")) for line in plain.split("\n"))
        try:
            self._stream.write("\n".join(lines).rstrip("\n") + "\n")
        except OSError as error:
            self.problem = str(error)
            self.close()

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None


class Display:
    """Stands in for Ansible's display: what is said goes into the file, warnings to the screen as well."""

    # What decides how much is said.
    verbosity = 0

    def __init__(self, details: Details, real: Any) -> None:
        self._details, self._real = details, real

    def display(self, msg: str, *_words: Any, log_only: bool = False, **_options: Any) -> None:
        # What is for a log only was said in colors before.
        if not log_only:
            self._details.write(msg)

    def banner(self, msg: str, *_words: Any, **_options: Any) -> None:
        self._details.write(f"\n{msg}")

    def _error(self, exception: Any, **_options: Any) -> None:
        """A failed task; the screen has a line of its own for it."""
        event = getattr(exception, "event", exception)
        self._details.write(getattr(event, "formatted_traceback", None) or str(exception))

    def __getattr__(self, name: str) -> Any:
        """Warnings, errors, and whatever else a display can."""
        return getattr(self._real, name)


# Of the run of this process; what prints the last line names it.
CURRENT: list[Details] = []
