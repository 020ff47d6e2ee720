# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say at the end of a run what changed, what failed or waits, and where the time went."""

from __future__ import annotations

DOCUMENTATION = r"""
name: recap
type: aggregate
short_description: Say what changed and where the time went
version_added: 0.1.0
description:
  - Ends a run with one screen. First what a person must know - what stops being reachable, what is removed, what runs
    at another time, what is restarted, who can become root -, then one line for each role with its changes (in check
    mode those to come), what failed and what it had changed before, which hosts were not reached, what waits for
    something, what stays though it was to go, the number of module calls, and the slowest tasks.
  - What a task did before it failed and does not tell is called unknown, never nothing.
  - The JSON document holds all of it, not shortened; C(docs/recap.schema.json) describes it.
author: aina-factory contributors (@ainative-academy)
requirements:
  - enable in configuration
options:
  slowest_count:
    description: How many of the slowest tasks to name.
    type: int
    default: 3
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

from ..module_utils.base import text
from ..plugin_utils import details, summary

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
        "check_variables",
        "set_fact",
        "validate_argument_spec",
    }
)
_UNKNOWN = "whatever else it did is not known"
SCHEMA = 1


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


def _is_local(task: Any) -> bool:
    return task.action.rsplit(".", 1)[-1] in _LOCAL_ACTIONS


class CallbackModule(CallbackBase):
    """Collects results and prints the recap when the run ends."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "aina.factory.recap"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._changes: list[dict[str, Any]] = []
        self._consequences: list[dict[str, str]] = []
        self._notes: list[dict[str, str]] = []
        self._kept: list[dict[str, Any]] = []
        self._failed: list[dict[str, str]] = []
        self._unreachable: list[dict[str, str]] = []
        self._waiting: list[dict[str, str]] = []
        self._coming: set[tuple[str, str]] = set()
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
        self._note(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Note the failure, and what had been changed before it."""
        self._note(result, failed=True)
        values, task = result.result, result.task.get_name()
        if not ignore_errors:
            said = summary.said(values)
            self._failed.append({"host": result.host.get_name(), "task": task, "what": said})

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Note the host of which nothing is known from here on."""
        self._unreachable.append(
            {
                "host": result.host.get_name(),
                "task": result.task.get_name(),
                "what": summary.said(result.result),
            }
        )

    def _note(self, result: Any, *, failed: bool = False) -> None:
        task, host = result.task.get_name(), result.host.get_name()
        values, is_local = result.result, _is_local(result.task)
        if not is_local:
            self._module_calls[host] += len(values.get("results", [])) or 1
        what = describe(values) if values.get("changed") or failed else []
        change = {"host": host, "role": summary.role_of(task), "task": task, "what": what}
        if is_local:
            self._note_words(result)
        elif failed and not self._check_mode:
            self._changes.append({**change, "then": _UNKNOWN})
        elif values.get("changed") or (failed and what):
            self._changes.append(change)
        self._consequences += [
            {"host": host, **{key: str(item[key]) for key in ("kind", "what", "why")}}
            for item in (*(values.get("consequences") or ()), *summary.restarts(what))
        ]
        confirmation = values.get("confirmation") or "taken back unless a new login confirms it"
        self._consequences += [
            {"host": host, "kind": "way_in", "what": what, "why": confirmation}
            for what in values.get("at_risk") or ()
        ]
        if kept := values.get("kept"):
            self._kept.append({"host": host, "task": task, "what": list(kept)})
        self._coming |= {(host, path) for path in values.get("changed_paths") or ()}
        for item in values.get("waiting") or ():
            # In check mode a file may be missing that an earlier task brings.
            if not (self._check_mode and (host, item["for"]) in self._coming):
                self._waiting.append({"host": host, **item})

    def _note_words(self, result: Any) -> None:
        """What a task has to say to the operator, and nothing else, is for the screen."""
        said = result.result.get("msg")
        if result.task.action.rsplit(".", 1)[-1] == "debug" and isinstance(said, str) and said:
            note = {"host": result.host.get_name(), "task": result.task.get_name(), "what": said}
            self._notes.append(note)

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
        written = details.CURRENT[0] if details.CURRENT else None
        self._print(total_seconds, slowest, written)
        path = option("file")
        if path:
            document = {
                "schema": SCHEMA,
                "check_mode": self._check_mode,
                "outcome": self._outcome(),
                "seconds": round(total_seconds, 2),
                "tasks": len(self._seconds),
                "module_calls": dict(self._module_calls),
                "consequences": self._consequences,
                # Of the others "failed" says that nothing is known.
                "changes": [item for item in self._changes if item["what"] or "then" not in item],
                "notes": self._notes,
                "kept": self._kept,
                "failed": self._failed,
                "unreachable": self._unreachable,
                "waiting": self._waiting,
                "slowest": slowest,
                "details": str(written.path) if written and written.path else None,
            }
            Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _outcome(self) -> str:
        """Return the worst that came to pass, as the exit status of the run does."""
        if self._unreachable:
            return "unreachable"
        if self._failed:
            return "failed"
        return "waiting" if self._waiting else "done"

    def _section(self, title: str, lines: Sequence[str], color: str) -> None:
        if lines:
            self._display.banner(title)
        for line in lines:
            self._display.display(line, color=color)

    def _print(
        self, total_seconds: float, slowest: list[dict[str, Any]], written: details.Details | None
    ) -> None:
        show, check_mode = self._display.display, self._check_mode
        known = summary.known(self._consequences, check_mode=check_mode)
        self._section("KNOW THIS FIRST", known, "bright yellow")
        changes = summary.changes(self._changes)
        self._display.banner("WOULD CHANGE" if check_mode else "CHANGED")
        if not changes and (self._failed or self._unreachable):
            show("unknown: the run did not come to its end, see below", color="red")
        elif not changes:
            show("nothing", color="green")
        for line in changes:
            show(line, color="yellow")
        for title, color, items in (
            ("FAILED", "red", self._failed),
            ("UNREACHABLE, NOTHING IS KNOWN OF", "red", self._unreachable),
            ("NOTES", "yellow", self._notes),
        ):
            lines = summary.grouped(
                (item["host"], f"{summary.task_of(item['task'])}: {' '.join(item['what'].split())}")
                for item in items
            )
            self._section(title, lines, color)
        waiting = summary.grouped((item["host"], text.waits(item)) for item in self._waiting)
        self._section("WAITING", waiting, "yellow")
        kept = summary.grouped(
            (item["host"], f"{summary.task_of(item['task'])}: {', '.join(item['what'])}")
            for item in self._kept
        )
        self._section("KEPT, SEE THE WARNINGS ABOVE", kept, "yellow")
        ended = summary.outcome(
            [item["host"] for item in self._failed],
            [item["host"] for item in self._unreachable],
            len(waiting),
            check_mode=check_mode,
        )
        show(f"\n{ended}")
        calls = sum(self._module_calls.values())
        where = f", {calls} module calls on {summary.hosts(sorted(self._module_calls))}"
        show(f"{total_seconds:.1f} s, {len(self._seconds)} tasks" + (where if calls else ""))
        for entry in slowest:
            show(f"{entry['seconds']:8.1f} s  {summary.task_of(entry['task'])}")
        if written:
            gone = f"not written: {written.problem}; --verbose shows it"
            show(
                f"everything, with all differences: {written.path if not written.problem else gone}"
            )
