# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show what matters while a run goes on; write everything else to a file."""

from __future__ import annotations

DOCUMENTATION = r"""
name: screen
type: stdout
short_description: Show what fails and what takes long, write everything to a file
version_added: 0.1.0
description:
  - Shows warnings, failures, hosts that do not answer, and what a run is waiting for when that takes long. All else,
    the differences of every task included, goes to a file that only its owner can read; P(aina.factory.recap#callback)
    sums it up and names the file in its last line.
  - With C(-v) the screen shows everything, as P(ansible.builtin.default#callback) does, and no file is written.
  - Passwords in addresses are left out. What a task hides by C(no_log) or C(sensitive) is in neither place.
author: aina-factory contributors (@ainative-academy)
requirements:
  - set as stdout in configuration
extends_documentation_fragment:
  - default_callback
  - result_format_callback
options:
  details_dir:
    description: Where the files are; the newest 30 stay. By default C(aina-factory/runs) in the user's state directory.
    type: path
    env:
      - name: AINA_DETAILS_DIR
    ini:
      - section: callback_screen
        key: details_dir
  progress_seconds:
    description: After how long without a word the screen says what the run is waiting for.
    type: float
    default: 12.0
    env:
      - name: AINA_PROGRESS_SECONDS
    ini:
      - section: callback_screen
        key: progress_seconds
"""

import sys
import threading
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

from ..module_utils.base import text
from ..plugin_utils import details, summary

_REFRESH_SECONDS = 0.5
_WARNING_WIDTH = 400


class CallbackModule(Default):
    """The default screen, written to a file, and a few lines for whoever looks on."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "aina.factory.screen"

    def __init__(self) -> None:
        above: Any = super()
        above.__init__()
        self._screen: Any = self._display
        self._task = ""
        self._waited_for: dict[str, None] = {}
        self._task_at = self._said_at = time.monotonic()
        self._is_terminal = sys.stdout.isatty()
        # Of the line of progress that is not ended yet.
        self._is_open, self._line, self._role, self._line_width = False, "", "", 0
        self._over = threading.Event()
        self._lock = threading.Lock()

    def _option(self, name: str) -> Any:
        asked: Any = self
        return asked.get_option(name)

    @property
    def _is_brief(self) -> bool:
        return self._display is not self._screen

    def _run_is_verbose(self, result: Any, verbosity: int = 0) -> bool:
        # The first -v shows what the file would hold.
        above: Any = super()
        return bool(above._run_is_verbose(result, verbosity + 1))

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Begin the file."""
        if self._screen.verbosity == 0:
            directory = self._option("details_dir")
            made = details.Details(Path(directory) if directory else None)
            details.CURRENT[:] = [made]
            written: Any = details.Display(made, self._screen)
            self._display = written
            threading.Thread(target=self._watch, daemon=True).start()
        above: Any = super()
        above.v2_playbook_on_start(playbook)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._begin(task)
        above: Any = super()
        above.v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._begin(task)
        above: Any = super()
        above.v2_playbook_on_handler_task_start(task)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        with self._lock:
            self._waited_for[host.get_name()] = None
        above: Any = super()
        above.v2_runner_on_start(host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._end(result)
        above: Any = super()
        above.v2_runner_on_ok(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._end(result)
        above: Any = super()
        above.v2_runner_on_skipped(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._end(result)
        if self._is_brief and not ignore_errors:
            self._say_of(result, "failed", summary.said(result.result))
        above: Any = super()
        above.v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._end(result)
        if self._is_brief:
            self._say_of(result, "the host does not answer", summary.said(result.result))
        above: Any = super()
        above.v2_runner_on_unreachable(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """End the file."""
        self._over.set()
        with self._lock:
            self._clear()
        above: Any = super()
        above.v2_playbook_on_stats(stats)
        if self._is_brief and not stats.processed:
            self._screen.display("no host: the inventory, or --limit, names none for this playbook")
        for made in details.CURRENT if self._is_brief else ():
            made.close()

    def _handle_warnings(self, res: Any) -> None:
        """Show the warnings of a task, one a line; the recap lists by itself what waits."""
        above: Any = super()
        if not self._is_brief:
            above._handle_warnings(res)
            return
        waits = {text.waits(item) for item in res.get("waiting") or ()}
        host = self._current_task_result.host.get_name() if self._current_task_result else ""
        for warning in res.pop("warnings", None) or ():
            self._display.display(f"[WARNING]: {warning}")
            if warning not in waits:
                words = " ".join(str(warning).split())
                self._say(
                    summary.cut(f"[WARNING]: {host}: {words}", _WARNING_WIDTH), "bright purple"
                )
        above._handle_warnings(res)

    def _begin(self, task: Any) -> None:
        with self._lock:
            self._task, self._task_at = task.get_name(), time.monotonic()
            self._waited_for.clear()

    def _end(self, result: Any) -> None:
        with self._lock:
            self._waited_for.pop(result.host.get_name(), None)

    def _say_of(self, result: Any, word: str, said: str) -> None:
        task = summary.task_of(result.task.get_name())
        self._say(f"{result.host.get_name()}: {task}: {word}: {said}", "red")

    def _say(self, line: str, color: str) -> None:
        with self._lock:
            self._clear()
            self._screen.display(summary.clean(line), color=color)
            self._said_at = time.monotonic()

    def _watch(self) -> None:
        """Say what the run waits for, until it is over."""
        interval = self._option("progress_seconds")
        while not self._over.wait(min(_REFRESH_SECONDS, interval)):
            now = time.monotonic()
            with self._lock:
                if not self._task or not self._waited_for or self._over.is_set():
                    continue
                who, seconds = summary.hosts(self._waited_for), f"{now - self._task_at:.0f} s"
                if self._is_terminal:
                    line = summary.clean(f"  … {who}: {summary.task_of(self._task)}: {seconds}")
                    self._show(f"\r{summary.cut(line, self._screen.columns)}\x1b[K")
                elif now - self._said_at >= interval:
                    self._append(f"  … {who}: ", summary.role_of(self._task), seconds)
                    self._said_at = now

    def _append(self, begin: str, role: str, seconds: str) -> None:
        """Go on with the line as long as it is about the same hosts: much waiting is not many lines."""
        more = f", {seconds}" if role == self._role else f", {role} {seconds}"
        if begin != self._line or self._line_width + len(more) > summary.WIDTH:
            self._clear()
            self._line, self._line_width, more = begin, 0, f"{begin}{role} {seconds}"
        self._role = role
        self._line_width += len(more)
        self._show(summary.clean(more))

    def _show(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._is_open = True

    def _clear(self) -> None:
        """Let what follows begin a line of its own."""
        if self._is_open:
            sys.stdout.write("\r\x1b[K" if self._is_terminal else "\n")
        self._is_open, self._line, self._role = False, "", ""
