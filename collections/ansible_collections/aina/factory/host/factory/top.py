"""The status in a terminal that is kept up to date, drawn by rich."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from factory.core.base import times
from factory.core.base.text import duration, printable, size
from factory.core.status.page import LaneNow, is_doubtful
from factory.watchdog.published import Published

Show = Callable[[Published, Mapping[str, LaneNow], float], None]

_COLOURS = {
    **{"problem": "bold red", "critical": "bold red", "unknown": "magenta"},
    **{"warning": "yellow", "info": "cyan", "ok": "green"},
}
_SHOWN = 12


@contextmanager
def screen(*, coloured: bool, console: Console | None = None) -> Iterator[Show]:
    """Take the terminal over; what is given is shown in the place of the last."""
    chosen = console or Console(no_color=not coloured)
    with Live(console=chosen, screen=True, auto_refresh=False) as live:

        def show(found: Published, lanes: Mapping[str, LaneNow], now: float) -> None:
            live.update(drawn(found, lanes, now), refresh=True)

        yield show


def drawn(found: Published, lanes: Mapping[str, LaneNow], now: float) -> RenderableType:
    """Return all there is to see, the most urgent first; or why there is nothing."""
    document = found.document
    if document is None:
        return Panel(_text(found.problem, "unknown"))
    return Group(
        _head(document, now),
        *_alerts(document, now),
        _disks(document),
        _lanes(document, lanes, now),
        _queue(document, now),
        _jobs(document, now),
    )


def _text(words: object, mark: str = "") -> Text:
    # Whatever others wrote is text: neither markup nor anything that a terminal obeys.
    return Text(printable(str(words)), style=_COLOURS.get(mark, ""), overflow="ellipsis")


def _ago(moment: str | None, now: float) -> str:
    if not moment:
        return ""
    away = times.seconds(moment) - now
    return f"in {duration(away)}" if away > 0 else f"{duration(abs(away))} ago"


def _head(document: Mapping[str, Any], now: float) -> RenderableType:
    overall = "unknown" if is_doubtful(document, now) else str(document["overall"])
    planned = document.get("planned")
    words = f"{document['host']}  {overall.upper()}  {_ago(document['generated_at'], now)}"
    if planned:
        words += f"  emptied of work by {planned['by']}: {planned['reason']}"
    return _text(f"{words}  (q: enough)", overall)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, expand=True)
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=True, ratio=3 if number == len(columns) - 1 else None)
    return table


def _alerts(document: Mapping[str, Any], now: float) -> Sequence[RenderableType]:
    lines = [
        _text(
            f"{item['severity'].upper():<8} {item['key']}: {item['detail']}"
            f" ({_ago(item['since'], now)}){_note(item)}",
            item["severity"],
        )
        for item in document["alerts"][:_SHOWN]
    ]
    more = len(document["alerts"]) - _SHOWN
    return [*lines, _text(f"and {more} more")] if more > 0 else lines or [_text("no alert", "ok")]


def _note(alert: Mapping[str, Any]) -> str:
    if alert["silenced"]:
        return f" [silent: {alert['silenced']['reason']}]"
    return f" [an effect of {alert['cause']}]" if alert["cause"] else ""


def _disks(document: Mapping[str, Any]) -> RenderableType:
    table = _table("Disks", "disk", "", "used", "free, trend, who grew most")
    for disk in document["disk"]:
        if not disk["known"]:
            table.add_row(
                _text(disk["path"]), "", _text("unknown", "unknown"), _text(disk["reason"])
            )
            continue
        mark = "problem" if disk["used_percent"] >= disk["raise_percent"] else ""
        full = disk["full_in_hours"]
        trend = f"full in {duration(full * 3600)}" if full is not None else "not about to fill"
        grown = [item for item in (disk["owners"] or {}).get("buckets", ()) if item["growth_bytes"]]
        most = max(grown, key=lambda item: item["growth_bytes"], default=None)
        who = (
            f", {most['name']} +{size(most['growth_bytes'])}"
            if most and most["growth_bytes"] > 0
            else ""
        )
        table.add_row(
            _text(disk["path"]),
            ProgressBar(total=100, completed=disk["used_percent"], width=24),
            _text(f"{disk['used_percent']} %", mark),
            _text(f"{size(disk['available_bytes'])} free, {trend}{who}"),
        )
    return table


def _unless_known(table: Table, part: Mapping[str, Any]) -> RenderableType:
    if part["state"] != "known":
        mark = "unknown" if part["state"] == "unknown" else ""
        return _text(f"{table.title}: {part['reason']}", mark)
    return table if table.row_count else _text(f"{table.title}: none")


def _lanes(document: Mapping[str, Any], lanes: Mapping[str, LaneNow], now: float) -> RenderableType:
    table = _table("Agents", "lane", "for", "begun", "tokens", "does")
    for item in document["lanes"]["items"][:_SHOWN]:
        if not item["known"]:
            table.add_row(_text(item["name"]), "", "", "", _text(item["reason"], "unknown"))
            continue
        does = lanes.get(item["name"])
        table.add_row(
            _text(item["name"]),
            _text(f"{item['project']} {item['issue']}"),
            _text(_ago(item["started_at"], now)),
            _text(f"{does.tokens:,}" if does else ""),
            _text(does.does if does and does.does else item["state"]),
        )
    return _unless_known(table, document["lanes"])


def _queue(document: Mapping[str, Any], now: float) -> RenderableType:
    table = _table("Pull requests", "pull request", "waits for", "since", "why")
    for project in document["merge_queue"]["items"]:
        if not project["known"]:
            table.add_row(
                _text(project["name"]), _text("unknown", "unknown"), "", _text(project["reason"])
            )
            continue
        for pull in project["pull_requests"][:_SHOWN]:
            table.add_row(
                _text(f"{project['name']} #{pull['number']}"),
                _text(pull["owner"] if pull["decision"] != "merge" else "merges now"),
                _text(_ago(pull["since"], now)),
                _text(f"{pull['code']} {pull['detail'] or ''} {pull['title']}"),
            )
    return _unless_known(table, document["merge_queue"])


def _jobs(document: Mapping[str, Any], now: float) -> RenderableType:
    table = _table("Jobs", "job", "state", "next", "last run", "notes")
    for job in document["jobs"]["items"]:
        last = job["last_run"] or {}
        failed = bool(last) and last["result"] not in ("success", "skipped")
        notes = [job["paused"]["reason"]] if job["paused"] else []
        notes += ["missed"] if job["missed"] else []
        table.add_row(
            _text(job["name"]),
            _text("running" if job["running"] else job["state"]),
            _text(_ago(job["next_elapse_at"], now)),
            _text(
                f"{last['result']} {_ago(last['ended_at'], now)}" if last else "never seen",
                "problem" if failed else "",
            ),
            _text("; ".join(notes)),
        )
    return _unless_known(table, document["jobs"])
