"""The status as one page that loads nothing: light and dark, on a desk and on a phone. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..base import times
from ..base.text import duration, size
from . import plot
from .plot import escape

_SHOWN_PULLS = 100

_STYLE = """
:root{color-scheme:light dark;--bg:#f6f7f5;--card:#fff;--ink:#1c211d;--soft:#5d665f;--rule:#dde2dd;
--ok:#1f7a4d;--problem:#b3261e;--warning:#9a6200;--unknown:#6b3fa0;--info:#1d5fa8;--bar:#3c7d63}
@media (prefers-color-scheme:dark){:root{--bg:#121512;--card:#1b1f1c;--ink:#e8ece8;--soft:#9aa59d;
--rule:#2e3530;--ok:#58c48d;--problem:#ff8a80;--warning:#f0b44c;--unknown:#c5a3ff;--info:#8abdf5;--bar:#5fae8e}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:20px 16px 60px}
header{display:flex;flex-wrap:wrap;gap:6px 16px;align-items:baseline}
h1{font-size:24px;margin:0}h2{font-size:17px;margin:28px 0 8px}h3{font-size:15px;margin:14px 0 4px}
.quiet,.meta{color:var(--soft);font-size:13px;margin:4px 0}
.badge{font-weight:700;padding:1px 10px;border-radius:12px;border:1.5px solid currentColor;font-size:13px}
.ok{color:var(--ok)}.problem,.critical{color:var(--problem)}.warning{color:var(--warning)}
.unknown{color:var(--unknown)}.info{color:var(--info)}
section,.alert{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px 16px}
.alert{border-left:5px solid currentColor}.alert p{color:var(--ink);margin:2px 0}.alert p.quiet{color:var(--soft)}
#alerts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:8px}
.alert.silenced{opacity:.65}.alert strong{word-break:break-word}
#old{display:none;background:var(--problem);color:var(--bg);padding:8px 16px;border-radius:8px;margin:8px 0}
table{width:100%;border-collapse:collapse;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:600;font-size:12px;border-bottom:1.5px solid var(--rule)}
th,td{padding:5px 8px 5px 0;vertical-align:top;overflow-wrap:anywhere}td{border-bottom:1px solid var(--rule)}
tr:last-child td{border-bottom:0}
.plot{width:100%;height:auto;display:block;font-size:12px}.plot text{fill:var(--soft)}
.plot .area{fill:var(--bar);opacity:.18}.plot .line{fill:none;stroke:var(--bar);stroke-width:2}
.plot .axis{stroke:var(--rule)}.plot .limit{stroke:var(--problem);stroke-dasharray:4 4;opacity:.6}
.plot .bar{fill:var(--warning)}.plot .bar.critical{fill:var(--problem)}.plot .bar.info{fill:var(--info)}
.meter{background:var(--rule);border-radius:4px;height:10px;overflow:hidden;margin:6px 0}
.meter i{display:block;height:100%;background:var(--bar)}.meter i.problem{background:var(--problem)}
.owners{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:4px 12px;font-size:14px;margin-top:8px}
.owners .track{grid-column:1/-1;background:var(--rule);border-radius:3px;height:6px;overflow:hidden}
.owners .track i{display:block;height:100%;background:var(--bar)}.owners .track i.rest{background:var(--unknown)}
.owners span{overflow-wrap:anywhere}.owners .number{text-align:right;white-space:nowrap}
@media (min-width:641px){td:first-child{white-space:nowrap;padding-right:14px}}
summary{cursor:pointer;font-weight:600;padding:4px 0}
@media (max-width:640px){thead{display:none}tr,td{display:block}td{border:0;padding:1px 0}
tr{border-bottom:1px solid var(--rule);padding:7px 0}tr:last-child{border-bottom:0}
td[data-label]::before{content:attr(data-label) ": ";color:var(--soft);font-size:12px}
td:empty{display:none}h1{font-size:21px}.plot{font-size:20px}}
"""
# A page cannot tell by itself that nobody renews it; without this an old one looks well.
_SCRIPT = (
    "const old=document.getElementById('old');"
    "const check=()=>{if(Date.now()>Date.parse(old.dataset.next)+120000)old.style.display='block'};"
    "check();setInterval(check,30000);"
)

Cell: TypeAlias = "tuple[str, str] | str"


def render(document: Mapping[str, Any]) -> str:
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    body = "".join(
        (
            _header(document),
            _alerts(document),
            _disks(document),
            _jobs(document),
            _runners(document),
            _lanes(document),
            _queue(document),
            _board(document),
            _host(document),
            _timeline(document),
            _own(document),
            _checks(document),
        )
    )
    title = f"{document['host']}: {document['overall']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="refresh" content="60"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main><script>{_SCRIPT}</script></body></html>\n"
    )


def _header(document: Mapping[str, Any]) -> str:
    overall = document["overall"]
    problems = "".join(
        f'<div class="alert problem"><p>Not done: {escape(text)}</p></div>'
        for text in document["run"]["problems"]
    )
    return (
        f"<header><h1>{escape(document['host'])}</h1>"
        f'<span class="badge {overall}" id="overall">{overall}</span>'
        f'<span class="meta">{escape(document["generated_at"])}, took {document["run"]["seconds"]} s; '
        f"next by {escape(document['next_expected_at'])}</span></header>"
        f'<div id="old" data-next="{escape(document["next_expected_at"])}">This page is old: the watchdog '
        f"should have run at {escape(document['next_expected_at'])}.</div>{problems}"
    )


def _alerts(document: Mapping[str, Any]) -> str:
    cards = "".join(_alert(alert) for alert in document["alerts"])
    if not cards:
        cards = '<section><p class="ok">No alert.</p></section>'
    pending = "".join(
        f'<p class="quiet">Pending: {escape(item["key"])}: {escape(item["detail"])}</p>'
        for item in document["pending"]
    )
    return f'<h2>Alerts</h2><div id="alerts">{cards}{pending}</div>'


def _alert(alert: Mapping[str, Any]) -> str:
    silence = alert["silenced"]
    note = ""
    title = f"{alert['title']}: {alert['subject']}" if alert["subject"] else alert["title"]
    if silence:
        note = f'<p class="quiet">Silent until {escape(silence["until"])}: {escape(silence["reason"])}</p>'
    return (
        f'<div class="alert {escape(alert["severity"])}{" silenced" if silence else ""}">'
        f"<strong>{escape(title)}</strong>"
        f'<p>{escape(alert["detail"])}</p><p class="quiet">{escape(alert["severity"])} since '
        f"{escape(alert['since'])}; {escape(alert['advice'])}</p>{note}</div>"
    )


def _disks(document: Mapping[str, Any]) -> str:
    parts = []
    for disk in document["disk"]:
        title = f"<h3>{escape(disk['path'])}</h3>"
        if not disk["known"]:
            parts.append(f'{title}<p class="unknown">Unknown: {escape(disk["reason"])}</p>')
            continue
        used, full = disk["used_percent"], disk["full_in_hours"]
        limits = (disk["raise_percent"], disk["clear_percent"])
        trend = f"full in {duration(full * 3600)}" if full is not None else "not about to fill"
        bad = " class=problem" if used >= disk["raise_percent"] else ""
        parts.append(
            f"{title}<p>{used} % of {size(disk['total_bytes'])} used, "
            f"{size(disk['available_bytes'])} free, {trend}</p>"
            f'<div class="meter"><i{bad} style="width:{min(100, used)}%"></i></div>'
            f"{plot.history(disk['history'], disk['total_bytes'], limits)}{_owners(disk['owners'])}"
        )
    return f'<h2>Disk</h2><section id="disk">{"".join(parts) or _none()}</section>'


def _owners(owners: Mapping[str, Any] | None) -> str:
    if owners is None:
        return '<p class="quiet">Who holds it was not measured yet.</p>'
    rows = []
    for bucket in sorted(owners["buckets"], key=lambda item: -item["bytes"]):
        share = (
            100.0 * max(0, bucket["bytes"]) / owners["used_bytes"] if owners["used_bytes"] else 0
        )
        grown = bucket["growth_bytes"]
        growth = f"{'+' if grown > 0 else ''}{size(grown)} in 24 h" if grown else ""
        old = " (not reached in time)" if bucket["stale"] else ""
        rest = " class=rest" if not bucket["name"].startswith("/") else ""
        rows.append(
            f"<span>{escape(bucket['name'])}{old}</span><span class=number>{growth}</span>"
            f"<span class=number>{size(bucket['bytes'])}</span>"
            f'<div class="track"><i{rest} style="width:{share:.1f}%"></i></div>'
        )
    note = (
        f"Measured {escape(owners['measured_at'])} in {owners['seconds']} s; "
        f"{owners['explained_percent']} % of the used bytes have a name."
    )
    return f'<div class="owners">{"".join(rows)}</div><p class="quiet">{note}</p>'


def _jobs(document: Mapping[str, Any]) -> str:
    rows = []
    for job in document["jobs"]["items"]:
        last = job["last_run"]
        notes = []
        if job["paused"]:
            notes.append(
                f"{job['paused']['reason']} ({job['paused']['by']}, {job['paused']['since']})"
            )
        notes += ["review is due"] if job["review_due"] else []
        notes += (
            [f"no success within {duration(job['expect_every_seconds'])}"] if job["missed"] else []
        )
        notes += job["drift"] if job["drift"] is not None else ["actual state unknown"]
        failed = last is not None and last["result"] not in ("success", "skipped", "replaced")
        rows.append(
            (
                job["name"],
                "running" if job["running"] else job["state"],
                job["next_elapse_at"] or "",
                (f"{last['result']} {last['ended_at']}", "problem" if failed else "")
                if last
                else "never seen",
                ("; ".join(notes), "problem" if job["missed"] else ""),
            )
        )
    return _part(
        "Jobs", "jobs", document["jobs"], ("Job", "State", "Next", "Last run", "Notes"), rows
    )


def _runners(document: Mapping[str, Any]) -> str:
    rows = []
    for item in document["runners"]["items"]:
        if not item["known"]:
            rows.append((item["name"], ("unknown", "unknown"), "", "", item["reason"]))
            continue
        fine = item["state"] in ("idle", "busy", "starting", "backoff")
        queued = item["oldest_queued_seconds"]
        notes = "; ".join(
            filter(
                None,
                (
                    item["detail"],
                    f"a job waits for {duration(queued)}" if queued else "",
                    item["last_job"],
                ),
            )
        )
        state = (item["state"], "" if fine else "problem")
        rows.append((item["name"], state, item["since"] or "", item["version"], notes))
    head = ("Runner", "State", "Since", "Version", "Notes")
    return _part("Runners", "runners", document["runners"], head, rows)


def _lanes(document: Mapping[str, Any]) -> str:
    rows: list[Sequence[Cell]] = []
    for item in document["lanes"]["items"]:
        if item["known"]:
            heard = item["last_output_at"] or ""
            what = f"{item['project']} {item['issue']}"
            rows.append((item["name"], what, item["state"], item["started_at"] or "", heard))
        else:
            rows.append((item["name"], "", ("unknown", "unknown"), "", item["reason"]))
    head = ("Lane", "Issue", "State", "Started", "Last heard")
    return _part("Lanes", "lanes", document["lanes"], head, rows)


def _queue(document: Mapping[str, Any]) -> str:
    now = times.seconds(document["generated_at"])
    rows: list[Sequence[Cell]] = []
    for project in document["merge_queue"]["items"]:
        name = project["name"]
        if not project["known"]:
            rows.append((name, "", ("unknown", "unknown"), "", project["reason"], ""))
            continue
        if project["halted_since"]:
            why = project["halted_reason"]
            rows.append((name, "", ("halted", "problem"), "admin", why, project["halted_since"]))
        if project["main_red_since"]:
            rows.append(
                (
                    name,
                    "",
                    ("red", "problem"),
                    "admin",
                    "the default branch is red",
                    project["main_red_since"],
                )
            )
        for pull in project["pull_requests"][:_SHOWN_PULLS]:
            why = f"{pull['code']}: {pull['detail']}" if pull["detail"] else pull["code"]
            age = duration(now - times.seconds(pull["since"])) if pull["since"] else ""
            what = f"#{pull['number']} {pull['title']}"
            rows.append((name, what, pull["decision"], pull["owner"], why, age))
    head = ("Project", "Pull request", "Decision", "Who acts", "Why", "For")
    return _part("Merge queue", "merge_queue", document["merge_queue"], head, rows)


def _board(document: Mapping[str, Any]) -> str:
    board = document["board"]
    rows = [
        (
            item["name"],
            f"{item['tasks_todo']}{'+' if item['todo_truncated'] else ''}",
            str(item["tasks_in_progress"]),
            (str(item["tasks_blocked"]), "warning" if item["tasks_blocked"] else ""),
            str(item["tasks_done"]),
            (
                f"{item['agents_active']} active, {item['agents_running']} running, "
                f"{item['agents_paused']} paused, {item['agents_error']} in error",
                "problem" if item["agents_error"] else "",
            ),
            item["last_success_at"] or "never seen",
        )
        for item in board["items"]
    ]
    head = ("Company", "To do", "Doing", "Blocked", "Done", "Agents", "Last success")
    return _part("Board", "board", board, head, rows, board["detail"])


def _host(document: Mapping[str, Any]) -> str:
    rows: list[Sequence[Cell]] = []
    for name, title in (
        ("engine", "Engine"),
        ("images", "Image"),
        ("certificates", "Certificate"),
        ("workspaces", "Workspaces"),
        ("worktrees", "Worktrees"),
        ("drift", "Drift"),
    ):
        part = document[name]
        if part["state"] != "known":
            mark = "unknown" if part["state"] == "unknown" else ""
            rows.append((title, "", (part["reason"], mark)))
        rows += [(title, str(item.get("name", "")), _told(name, item)) for item in part["items"]]
    return f'<h2>Host</h2><section id="host">{_table(("What", "Which", "State"), rows)}</section>'


def _told(name: str, item: Mapping[str, Any]) -> Cell:
    if item.get("known") is False:
        return str(item["reason"]), "unknown"
    if name == "engine":
        waits = f"; restart pending: {item['restart_pending']}" if item["restart_pending"] else ""
        return f"{item['detail']}{waits}", "" if item["answers"] else "problem"
    if name == "images":
        told = f"built {item['built_at']}, {size(item['size_bytes'])}, smoke test {item['smoke']}"
        lost = {"gone": "not in the engine; ", "another": "another has its name; "}
        missing = lost.get(item["presence"], "")
        return f"{missing}{told}", "problem" if missing or item["smoke"] != "ok" else ""
    if name == "certificates":
        return f"ends {item['ends_at']}"
    if name == "worktrees":
        found = len(item["dangling"])
        return f"{item['count']}, {found} dangling{_missing(item)}", "problem" if found else ""
    if name == "workspaces":
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(item["reasons"].items()))
        words = (f"; {told}" if told else "") + _missing(item)
        return f"{item['count']}{words}", "problem" if told else ""
    changes = "; ".join(item["changes"])
    return changes or f"none, looked at {item['checked_at']}", "problem" if changes else ""


def _missing(item: Mapping[str, Any]) -> str:
    return f"; not there: {', '.join(item['missing'])}" if item["missing"] else ""


def _timeline(document: Mapping[str, Any]) -> str:
    entries = document["timeline"]
    drawn = plot.timeline(entries, times.seconds(document["generated_at"]))
    rows = [
        ((item["at"], ""), (item["change"], _mark(item)), item["key"], item["detail"])
        for item in entries[:60]
    ]
    table = _table(("When", "What", "Alert", "Detail"), rows) if rows else ""
    more = (
        f"<details><summary>{len(rows)} latest changes</summary>{table}</details>" if rows else ""
    )
    return f'<h2>Timeline</h2><section id="timeline">{drawn}{more}</section>'


def _mark(item: Mapping[str, Any]) -> str:
    return "ok" if item["change"] == "recovered" else str(item["severity"])


def _own(document: Mapping[str, Any]) -> str:
    notifications, outside, heals = (
        document["notifications"],
        document["dead_man"],
        document["heals"],
    )
    rows: list[Sequence[Cell]] = []
    if notifications["configured"]:
        waiting = f"{notifications['waiting']} wait {notifications['error']}".strip()
        rows.append(("Messages", (waiting, "warning" if notifications["waiting"] else "")))
    else:
        rows.append(("Messages", ("are sent nowhere", "warning")))
    if outside["configured"]:
        heard = f"last heard of us {outside['last_ok_at'] or 'never'} {outside['error']}"
        rows.append(("Outside watcher", (heard, "problem" if outside["error"] else "")))
    else:
        rows.append(("Outside watcher", ("none is declared", "warning")))
    for item in document["silences"]:
        state = "until" if item["active"] else "ended"
        words = f"{item['match']} {state} {item['until']}: {item['reason']} ({item['by']})"
        rows.append(("Silence", words))
    rows.append(("Repairs", f"mode {heals['mode']}"))
    for item in heals["waiting"]:
        rows.append(("Not repaired", f"{item['target']}: {item['verdict']}"))
    for item in heals["recent"]:
        words = f"{item['at']} {item['action']} {item['target']}: {item['result']} {item['detail']}"
        rows.append(("Repair", (words, "problem" if item["result"] == "failed" else "")))
    return f'<h2>Watchdog</h2><section id="watchdog">{_table(("What", "State"), rows)}</section>'


def _checks(document: Mapping[str, Any]) -> str:
    rows = [
        ((item["status"], item["status"]), item["check"], item["subject"], item["detail"])
        for item in document["checks"]
    ]
    table = _table(("Status", "Check", "Subject", "Detail"), rows)
    return (
        f'<h2>Checks</h2><section id="checks"><details><summary>{len(rows)} findings</summary>'
        f"{table}</details></section>"
    )


def _part(
    title: str,
    name: str,
    part: Mapping[str, Any],
    head: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    note: str = "",
) -> str:
    found = list(rows)
    inner = f'<p class="quiet">{escape(note)}</p>' if note and found else ""
    if part["state"] == "unknown":
        inner += f'<p class="unknown">Unknown: {escape(part["reason"])}</p>'
    elif found:
        inner += _table(head, found)
    else:
        inner += f'<p class="quiet">{escape(part["reason"] or note or "None.")}</p>'
    return f'<h2>{title}</h2><section id="{name}">{inner}</section>'


def _none() -> str:
    return '<p class="quiet">None.</p>'


def _table(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    lines = []
    for row in rows:
        cells = []
        for label, cell in zip(head, row, strict=True):
            text, mark = cell if isinstance(cell, tuple) else (cell, "")
            style = f' class="{escape(mark)}"' if mark else ""
            # Empty cells are left out on a phone, label and all.
            cells.append(
                f'<td data-label="{label}"{style}>{escape(text)}</td>' if text else "<td></td>"
            )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(f"<th>{label}</th>" for label in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
