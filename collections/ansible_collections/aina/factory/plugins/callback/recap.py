# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say at the end of a run what changed, and where the time went."""

from __future__ import annotations

DOCUMENTATION = r"""
name: recap
type: aggregate
short_description: Say what changed and where the time went
version_added: 0.1.0
description:
  - Ends a run with one screen. Every change by host (in check mode every change to come),
    what stays though it was to go, the number of module calls, and the slowest tasks.
author: aina-factory contributors (@ainative-academy)
requirements:
  - enable in configuration
options:
  slowest_count:
    description: How many of the slowest tasks to name.
    type: int
    default: 10
    env:
      - name: AINA_RECAP_SLOWEST_COUNT
    ini:
      - section: callback_recap
        key: slowest_count
  slow_seconds:
    description: Tasks faster than this are not named among the slowest.
    type: float
    default: 1.0
    env:
      - name: AINA_RECAP_SLOW_SECONDS
    ini:
      - section: callback_recap
        key: slow_seconds
  file:
    description: Also write the recap as JSON to this path.
    type: path
    env:
      - name: AINA_RECAP_FILE
    ini:
      - section: callback_recap
        key: file
"""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

# These run on the control node alone: no module travels to the host.
_LOCAL_ACTIONS = frozenset(
    {
        "assert",
        "debug",
        "fail",
        "import_role",
        "import_tasks",
        "include_role",
        "include_tasks",
        "include_vars",
        "meta",
        "set_fact",
        "validate_argument_spec",
    }
)
_SUMMARY_WIDTH = 96


def describe(result: dict[str, Any]) -> list[str]:
    """Return what a module result says it changed, as short phrases."""
    for key in ("actions", "changed_paths", "changed_units"):
        value = result.get(key)
        if isinstance(value, list) and value:
            return [str(item) for item in value]
    if isinstance(result.get("results"), list):
        return [
            phrase
            for item in result["results"]
            if isinstance(item, dict) and item.get("changed")
            for phrase in describe(item)
        ]
    for key in ("dest", "path", "name"):
        if isinstance(result.get(key), str):
            return [result[key]]
    return []


class CallbackModule(CallbackBase):
    """Collects results and prints the recap when the run ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "aina.factory.recap"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self._changes: list[dict[str, Any]] = []
        self._kept: list[dict[str, Any]] = []
        self._seconds: dict[str, float] = {}
        self._module_calls: Counter[str] = Counter()
        self._started = time.monotonic()
        self._task_started = self._started
        self._task_name = ""
        self._check_mode = False

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Remember when a task began."""
        self._end_task()
        self._task_name = task.get_name()
        self._check_mode = self._check_mode or bool(task.check_mode)

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """A handler is a task like any other."""
        self.v2_playbook_on_task_start(task, False)

    def _end_task(self) -> None:
        now = time.monotonic()
        if self._task_name:
            earlier = self._seconds.get(self._task_name, 0.0)
            self._seconds[self._task_name] = earlier + now - self._task_started
        self._task_started = now
        self._task_name = ""

    def v2_runner_on_ok(self, result: Any) -> None:
        """Count the call; note the change."""
        task, host = result.task, result.host.get_name()
        values = result.result
        if task.action.rsplit(".", 1)[-1] not in _LOCAL_ACTIONS:
            self._module_calls[host] += len(values.get("results", [])) or 1
        if values.get("changed"):
            self._changes.append(
                {"host": host, "task": task.get_name(), "what": describe(values)},
            )
        if kept := values.get("kept"):
            self._kept.append({"host": host, "task": task.get_name(), "what": list(kept)})

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the recap and write it when a file is asked for."""
        self._end_task()
        total_seconds = time.monotonic() - self._started
        option: Callable[[str], Any] = self.get_option
        ranked = sorted(self._seconds.items(), key=lambda item: -item[1])
        slowest = [
            {"task": task, "seconds": round(seconds, 2)}
            for task, seconds in ranked[: option("slowest_count")]
            if seconds >= option("slow_seconds")
        ]
        self._print(total_seconds, slowest)
        path = option("file")
        if path:
            document = {
                "check_mode": self._check_mode,
                "seconds": round(total_seconds, 2),
                "tasks": len(self._seconds),
                "module_calls": dict(self._module_calls),
                "changes": self._changes,
                "kept": self._kept,
                "slowest": slowest,
            }
            Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _print(self, total_seconds: float, slowest: list[dict[str, Any]]) -> None:
        show = self._display.display
        self._display.banner("WOULD CHANGE" if self._check_mode else "CHANGED")
        if not self._changes:
            show("nothing", color="green")
        for change in self._changes:
            what = ", ".join(change["what"])
            if len(what) > _SUMMARY_WIDTH:
                what = f"{what[:_SUMMARY_WIDTH]}… ({len(change['what'])} in all)"
            show(
                f"{change['host']}: {change['task']}" + (f": {what}" if what else ""),
                color="yellow",
            )
        if self._kept:
            self._display.banner("KEPT, SEE THE WARNINGS ABOVE")
        for item in self._kept:
            show(f"{item['host']}: {item['task']}: {', '.join(item['what'])}", color="yellow")
        calls = ", ".join(
            f"{count} module calls on {host}" for host, count in sorted(self._module_calls.items())
        )
        show(
            f"\n{total_seconds:.1f} s, {len(self._seconds)} tasks" + (f", {calls}" if calls else "")
        )
        for entry in slowest:
            show(f"{entry['seconds']:8.1f} s  {entry['task']}")
