"""The status for a terminal; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..base import times
from ..base.text import duration, printable, size

_COLOURS = {
    "problem": "31",
    "critical": "31",
    "unknown": "35",
    "warning": "33",
    "info": "36",
    "ok": "32",
}
_SHOWN_OWNERS = 10
_SHOWN_PULLS = 15
_BAR = 24


def summary(document: Mapping[str, Any]) -> str:
    """Return one run in a few lines: what is raised, and what kept the watchdog from its work."""
    lines = [f"{document['host']}: {document['overall']}"]
    lines += [_alert(alert) for alert in document["alerts"]]
    lines += [f"not done: {problem}" for problem in document["run"]["problems"]]
    lines.append(f"{len(document['checks'])} findings in {document['run']['seconds']} s")
    return "\n".join(map(printable, lines))


def measured(document: Mapping[str, Any]) -> str:
    """Return a measurement of the disks as a table."""
    lines = []
    for disk in document["disks"]:
        lines.append(f"{disk['path']}: {size(disk['used_bytes'])} used")
        for owner in disk["owners"]:
            known = owner["bytes"] is not None
            stale = "  (not reached in time)" if owner["stale"] else ""
            lines.append(
                f"  {size(owner['bytes']) if known else '?':>10}  {printable(owner['path'])}{stale}"
            )
        lines.append(f"  {size(disk['deleted_open_bytes']):>10}  deleted but still open")
        lines.append(f"  {size(disk['unattributed_bytes']):>10}  unattributed")
    lines += [f"not done: {problem}" for problem in document["problems"]]
    return "\n".join(lines) or "no disk is watched"


def render(document: Mapping[str, Any], now: float, width: int, *, coloured: bool = False) -> str:
    paint = _paint if coloured else _plain
    blocks = [
        _head(document, now, paint),
        _alerts(document, paint),
        _disks(document),
        _jobs(document),
        _runners(document),
        _lanes(document),
        _queue(document, now),
        _board(document),
        _rest(document),
    ]
    # Tables are cut at the terminal's edge; what is wrong is told in full.
    told = [*blocks[0], "", *blocks[1], ""]
    rest = [_cut(line, width) for block in blocks[2:] if block for line in [*block, ""]]
    return "\n".join([*told, *rest]).rstrip("\n")


def _plain(_word: str, text: str) -> str:
    return text


def _paint(word: str, text: str) -> str:
    return f"\033[{_COLOURS.get(word, '0')}m{text}\033[0m"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _head(document: Mapping[str, Any], now: float, paint: Any) -> list[str]:
    age = now - times.seconds(document["generated_at"])
    is_old = now > times.seconds(document["next_expected_at"]) + 60
    overall = "unknown" if is_old or age < -60 else document["overall"]
    lines = [f"{document['host']}  {paint(overall, overall.upper())}  {duration(age)} ago"]
    if is_old:
        words = f"this is old: the watchdog should have run at {document['next_expected_at']}"
        lines.append(paint("problem", words))
    if age < -60:
        words = f"this is dated {duration(-age)} ahead of now; did the clock go back?"
        lines.append(paint("problem", words))
    lines += [paint("problem", f"not done: {text}") for text in document["run"]["problems"]]
    if (work := document["planned"]) is not None:
        words = f"emptied of work since {work['since']} by {work['by']}: {work['reason']}"
        lines.append(paint("info", printable(words)))
    return lines


def _alert(alert: Mapping[str, Any]) -> str:
    return f"{alert['severity'].upper():<8} {alert['key']}: {alert['detail']}"


def _alerts(document: Mapping[str, Any], paint: Any) -> list[str]:
    lines = []
    for alert in document["alerts"]:
        silence = alert.get("silenced")
        note = f" [silent until {silence['until']}: {silence['reason']}]" if silence else ""
        note += f" [an effect of {alert['cause']}]" if alert.get("cause") else ""
        lines.append(paint(alert["severity"], printable(f"{_alert(alert)}{note}")))
        lines.append(f"{'':<8} since {alert['since']}; {alert['advice']}")
    if not lines:
        lines.append(paint("ok", "no alert"))
    lines += [
        f"pending  {item['key']}: {printable(item['detail'])}" for item in document["pending"]
    ]
    return lines


def _disks(document: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for disk in document["disk"]:
        if not disk["known"]:
            lines.append(f"DISK {disk['path']}: unknown: {disk['reason']}")
            continue
        filled = round(_BAR * disk["used_percent"] / 100)
        gauge = "█" * filled + "░" * (_BAR - filled)
        full = disk["full_in_hours"]
        trend = f"full in {duration(full * 3600)}" if full is not None else "not about to fill"
        lines.append(
            f"DISK {disk['path']}  {gauge} {disk['used_percent']} % of {size(disk['total_bytes'])}, "
            f"{size(disk['available_bytes'])} free, {trend}"
        )
        owners = disk["owners"]
        if owners is None:
            lines.append("  who holds it was not measured yet")
            continue
        rows = []
        buckets = sorted(owners["buckets"], key=lambda item: -item["bytes"])
        for bucket in buckets[:_SHOWN_OWNERS]:
            grown = bucket["growth_bytes"]
            sign = "+" if grown and grown > 0 else ""
            rows.append(
                (
                    size(bucket["bytes"]),
                    f"{sign}{size(grown)}" if grown is not None else "",
                    printable(bucket["name"]) + (" (old)" if bucket["stale"] else ""),
                )
            )
        lines += _table(("SIZE", "24 H", f"WHO (measured {owners['measured_at']})"), rows)
    return lines


def _jobs(document: Mapping[str, Any]) -> list[str]:
    rows = []
    for job in document["jobs"]["items"]:
        last = job["last_run"]
        notes = [job["paused"]["reason"]] if job["paused"] else []
        notes += ["review is due"] if job["review_due"] else []
        notes += ["missed"] if job["missed"] else []
        rows.append(
            (
                job["name"],
                "running" if job["running"] else job["state"],
                job["next_elapse_at"] or "-",
                f"{last['result']} {last['ended_at']}" if last else "never seen",
                "; ".join(notes),
            )
        )
    return _part("JOBS", document["jobs"], ("JOB", "STATE", "NEXT", "LAST RUN", "NOTES"), rows)


def _runners(document: Mapping[str, Any]) -> list[str]:
    rows = [
        (item["name"], item["state"], item["since"] or "", item["version"], item["detail"])
        if item["known"]
        else (item["name"], "unknown", "", "", item["reason"])
        for item in document["runners"]["items"]
    ]
    head = ("RUNNER", "STATE", "SINCE", "VERSION", "NOTES")
    return _part("RUNNERS", document["runners"], head, rows)


def _lanes(document: Mapping[str, Any]) -> list[str]:
    rows = [
        (item["name"], item["project"], item["issue"], item["state"], item["started_at"] or "")
        if item["known"]
        else (item["name"], "", "", "unknown", item["reason"])
        for item in document["lanes"]["items"]
    ]
    head = ("LANE", "PROJECT", "ISSUE", "STATE", "STARTED")
    return _part("LANES", document["lanes"], head, rows)


def _queue(document: Mapping[str, Any], now: float) -> list[str]:
    rows = []
    for project in document["merge_queue"]["items"]:
        if not project["known"]:
            rows.append((project["name"], "", "unknown", "", project["reason"], ""))
            continue
        if project["halted_since"]:
            rows.append((project["name"], "", "HALTED", "admin", project["halted_reason"], ""))
        for pull in project["pull_requests"][:_SHOWN_PULLS]:
            age = duration(now - times.seconds(pull["since"])) if pull["since"] else ""
            why = f"{pull['code']}: {pull['detail']}" if pull["detail"] else pull["code"]
            rows.append(
                (project["name"], f"#{pull['number']}", pull["decision"], pull["owner"], why, age)
            )
    head = ("PROJECT", "PR", "DECISION", "WHO", "WHY", "FOR")
    return _part("MERGE QUEUE", document["merge_queue"], head, rows)


def _board(document: Mapping[str, Any]) -> list[str]:
    board = document["board"]
    if board["state"] != "known":
        return [f"BOARD: {board['reason']}"]
    rows = [
        (
            item["name"],
            str(item["tasks_todo"]) + ("+" if item["todo_truncated"] else ""),
            str(item["tasks_in_progress"]),
            str(item["tasks_blocked"]),
            str(item["tasks_done"]),
            f"{item['agents_running']} running, {item['agents_error']} in error",
            item["last_success_at"] or "never seen",
        )
        for item in board["items"]
    ]
    head = ("COMPANY", "TODO", "DOING", "BLOCKED", "DONE", "AGENTS", "LAST SUCCESS")
    return [f"BOARD: {board['detail']}", *(_table(head, rows) if rows else [])]


def _rest(document: Mapping[str, Any]) -> list[str]:
    notifications, outside = document["notifications"], document["dead_man"]
    waiting = f", {notifications['waiting']} wait" if notifications["waiting"] else ""
    sent = "sent" + waiting if notifications["configured"] else "sent nowhere"
    heard = f"last heard of us {outside['last_ok_at'] or 'never'}"
    lines = [
        f"MESSAGES: {sent}",
        f"OUTSIDE WATCHER: {heard if outside['configured'] else 'none is declared'}",
    ]
    lines += [
        f"SILENCE: {item['match']} until {item['until']}: {item['reason']} ({item['by']})"
        for item in document["silences"]
        if item["active"]
    ]
    backup = document["backup"]
    for item in backup["items"]:
        last = item["last_success_at"] or "never"
        lines.append(f"BACKUP: {item['state']} {item['detail']}, last good one {last}")
    lines += [f"BACKUP: {backup['reason']}"] if not backup["items"] else []
    changed = document["local_drift"]
    for item in changed["items"]:
        told = item["error"] or "; ".join(item["changes"]) or "nothing"
        lines.append(f"SINCE THE LAST CONVERGE: {told}")
    lines += [f"SINCE THE LAST CONVERGE: {changed['reason']}"] if not changed["items"] else []
    drift = document["drift"]
    if drift["state"] == "known":
        changes = drift["items"][0]["changes"]
        lines.append(f"DRIFT: {'; '.join(changes) or 'none'}")
    else:
        lines.append(f"DRIFT: {drift['reason']}")
    return [printable(line) for line in lines]


def _part(
    title: str, part: Mapping[str, Any], head: Sequence[str], rows: Iterable[Sequence[str]]
) -> list[str]:
    if part["state"] != "known":
        return [f"{title}: {'unknown: ' if part['state'] == 'unknown' else ''}{part['reason']}"]
    found = list(rows)
    return _table(head, found) if found else [f"{title}: none"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [[printable(str(cell)) for cell in row] for row in [head, *rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return [
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]
        ).rstrip()
        for line in lines
    ]
