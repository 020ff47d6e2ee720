"""The status as one page that loads nothing: light and dark, on a desk and on a phone. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
.alert{border-left:5px solid currentColor;overflow-wrap:anywhere}
.alert p{color:var(--ink);margin:2px 0}.alert p.quiet{color:var(--soft)}
#alerts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(340px,100%),1fr));gap:8px}
.alert.silenced{border-style:dashed}.alert strong{word-break:break-word}
#old{display:none;background:var(--problem);color:var(--bg);padding:8px 16px;border-radius:8px;margin:8px 0}
table{width:100%;border-collapse:collapse;font-size:14px}
th{text-align:left;color:var(--soft);font-weight:600;font-size:12px;border-bottom:1.5px solid var(--rule)}
th,td{padding:5px 8px 5px 0;vertical-align:top;overflow-wrap:anywhere}
th,td.word{overflow-wrap:normal}td{border-bottom:1px solid var(--rule)}
tr:last-child td{border-bottom:0}
.plot{width:100%;height:auto;display:block;font-size:12px}.plot text{fill:var(--soft)}
.plot .area{fill:var(--bar);opacity:.18}.plot .line{fill:none;stroke:var(--bar);stroke-width:2}
.plot .axis{stroke:var(--rule)}.plot .limit{stroke:var(--problem);stroke-dasharray:4 4;opacity:.6}
.plot .bar{fill:var(--warning)}.plot .bar.critical{fill:var(--problem)}.plot .bar.info{fill:var(--info)}
.share{display:block;width:100%;height:8px;border-radius:4px;background:var(--rule);margin:4px 0;overflow:hidden}
.share rect{fill:var(--bar)}.share.problem rect{fill:var(--problem)}.share.rest rect{fill:var(--unknown)}
#tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(240px,100%),1fr));gap:8px;margin:8px 0}
#tiles section{padding:7px 12px;min-width:0}#tiles h2{margin:0;font-size:15px}
#tiles ul{list-style:none;margin:0;padding:0}
#tiles li{white-space:nowrap;overflow:hidden;text-overflow:ellipsis;font-size:13px;line-height:1.45}
#note{background:var(--warning);color:var(--bg);padding:6px 16px;border-radius:8px}
pre{overflow-wrap:anywhere;white-space:pre-wrap;margin:2px 0 8px;font-size:13px}code{overflow-wrap:anywhere}
.said{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
a{color:var(--info)}a:focus-visible,summary:focus-visible{outline:3px solid var(--info);outline-offset:2px}
.owners{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:4px 12px;font-size:14px;margin-top:8px}
.owners .share{grid-column:1/-1}
.owners span{overflow-wrap:anywhere}.owners .number{text-align:right;white-space:nowrap}
#alerts{align-items:start}
@media (min-width:641px){#tiles li{white-space:normal;overflow-wrap:anywhere}
td:first-child{white-space:nowrap;padding-right:14px}}
summary{cursor:pointer;font-weight:600;padding:4px 0}
@media (max-width:640px){thead{display:none}tr,td{display:block}td{border:0;padding:1px 0}
tr{border-bottom:1px solid var(--rule);padding:7px 0}tr:last-child{border-bottom:0}
td[data-label]::before{content:attr(data-label) ": ";color:var(--soft);font-size:12px}
td:empty{display:none}h1{font-size:21px}.plot{font-size:20px}}
"""
# A page cannot tell by itself that nobody renews it; without this an old one looks well.
_OLD = (
    "const check=()=>{const old=document.getElementById('old');"
    "if(old&&Date.now()>Date.parse(old.dataset.next)+120000)old.style.display='block'};"
    "check();setInterval(check,30000);"
)
# A file cannot be asked whether it is new; the console looks without loading anything anew.
_SCRIPT = f"{_OLD}setTimeout(()=>location.reload(),60000);"
_RELATIVE = (
    "const relative=()=>{for(const e of document.querySelectorAll('time')){"
    "const s=(Date.parse(e.dateTime)-Date.now())/1e3,a=Math.abs(s);"
    "const t=a<60?Math.round(a)+' s':a<5400?Math.round(a/60)+' min':"
    "a<129600?Math.round(a/3600)+' h':Math.round(a/86400)+' d';"
    "e.textContent=s<0?t+' ago':'in '+t}};relative();"
)
LIVE_SCRIPT = (
    f"{_OLD}{_RELATIVE}"
    "const live=document.getElementById('live'),note=document.getElementById('note'),"
    "said=document.getElementById('said');let tag=live.dataset.tag;"
    "const look=async()=>{if(document.hidden)return;try{"
    "const r=await fetch(location.pathname+'?part',{headers:{'If-None-Match':tag},cache:'no-store',redirect:'error'});"
    "if(r.status===200){const open=[...live.querySelectorAll('details[open]')].map(e=>e.id),"
    "at=document.activeElement?.id;live.innerHTML=await r.text();tag=r.headers.get('ETag');"
    "for(const id of open){const e=document.getElementById(id);if(e)e.open=true}"
    "if(at)document.getElementById(at)?.focus();"
    "const words=document.getElementById('headline')?.textContent||'';"
    "if(said.textContent!==words)said.textContent=words}"
    "else if(r.status!==304)throw r.status;note.hidden=true}catch{note.hidden=false}check();relative()};"
    "setInterval(look,5000);document.addEventListener('visibilitychange',look);"
)


class Html(str):
    """Text that is meant for the browser as it is."""

    __slots__ = ()


Cell: TypeAlias = "tuple[str, str] | str"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def content_policy(script: str, *, connects: bool = False) -> str:
    """Return what a browser may do for the page: its own style and script, and nothing else."""
    own = f"style-src {_digest(_STYLE)}; script-src {_digest(script)}; img-src data:"
    asks = "; connect-src 'self'" if connects else ""
    return f"default-src 'none'; {own}{asks}; base-uri 'none'; form-action 'none'"


def render(document: Mapping[str, Any]) -> str:
    """Return the status as a file of its own."""
    policy = content_policy(_SCRIPT)
    return _whole(
        f"{document['host']}: {document['overall']}",
        f"<main>{main(document, times.seconds(document['generated_at']))}</main>",
        _SCRIPT,
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
    )


def live(title: str, inner: str, tag: str) -> str:
    """Return a page of the console: what is shown is asked for again, and exchanged in place."""
    body = (
        '<p id="said" class="said" role="status"></p>'
        '<main><p id="note" role="alert" hidden>The server does not answer; what is shown is old.</p>'
        f'<div id="live" data-tag="{escape(tag)}">{inner}</div></main>'
    )
    return _whole(title, body, LIVE_SCRIPT)


def _whole(title: str, body: str, script: str, meta: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{meta}'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def main(
    document: Mapping[str, Any], now: float, lanes: Mapping[str, LaneNow] | None = None
) -> str:
    """Return what the page shows of the status; ``lanes`` is what running ones do at this moment."""
    return "".join(
        (
            _header(document, now),
            _tiles(document, now, lanes or {}),
            _alerts(document, now),
            _disks(document),
            _jobs(document),
            _runners(document),
            _lanes(document, linked=lanes is not None),
            _queue(document),
            _board(document),
            _host(document),
            _timeline(document),
            _own(document),
            _checks(document),
        )
    )


@dataclass(frozen=True)
class LaneNow:
    """What a running lane does at this moment, and what it has cost; money is 0 where no price is known."""

    does: str
    tokens: int
    cost_usd: float = 0.0

    @property
    def cost(self) -> str:
        """What it has cost, for people."""
        money = f" ({self.cost_usd:.2f} USD)" if self.cost_usd else ""
        return f"{self.tokens:,} tokens{money}"


def when(moment: str | None, now: float) -> Html:
    """Return a moment as people say it, the exact one beside it."""
    if not moment:
        return Html("")
    away = times.seconds(moment) - now
    words = f"{duration(-away)} ago" if away < 0 else f"in {duration(away)}"
    exact = escape(moment)
    return Html(f'<time datetime="{exact}" title="{exact}">{words}</time>')


def _share(percent: float, mark: str = "") -> str:
    width = f"{max(0.0, min(100.0, percent)):.1f}"
    return (
        f'<svg class="share {mark}" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width}" height="8"/></svg>'
    )


def _tile(name: str, title: str, lines: Iterable[str], mark: str = "") -> str:
    items = "".join(f"<li>{line}</li>" for line in lines)
    head = f'<h2><a href="#{name}">{title}</a></h2>'
    return f'<section class="tile {mark}" id="tile-{name}">{head}<ul>{items}</ul></section>'


def _tiles(document: Mapping[str, Any], now: float, lanes: Mapping[str, LaneNow]) -> str:
    """Return what people come for: disk, agents, queue, jobs."""
    tiles = (
        _disk_tile(document),
        _agents_tile(document, now, lanes),
        _queue_tile(document, now),
        _jobs_tile(document, now),
    )
    return f'<div id="tiles">{"".join(tiles)}</div>'


def _not_known(part: Mapping[str, Any]) -> list[str]:
    if part["state"] == "known":
        return []
    word = "Unknown" if part["state"] == "unknown" else "None"
    mark = "unknown" if part["state"] == "unknown" else "quiet"
    return [f'<span class="{mark}">{word}: {escape(part["reason"])}</span>']


def _disk_tile(document: Mapping[str, Any]) -> str:
    lines: list[str] = []
    for disk in document["disk"][:3]:
        path = escape(disk["path"])
        if not disk["known"]:
            lines.append(f'<span class="unknown">{path} unknown: {escape(disk["reason"])}</span>')
            continue
        full, used = disk["full_in_hours"], disk["used_percent"]
        grown = disk["growth_bytes_per_hour"]
        trend = "trend not known yet" if grown is None else "not about to fill"
        trend = f"full in {duration(full * 3600)}" if full is not None else trend
        mark = "problem" if used >= disk["raise_percent"] else ""
        word = "too full: " if mark else ""
        lines.append(f'<strong class="{mark}">{word}{used} %</strong> of {path}, {trend}')
        lines.append(_share(used, mark))
        buckets = sorted(
            (disk["owners"] or {"buckets": []})["buckets"], key=lambda item: -item["bytes"]
        )
        lines += [
            f'<span title="{escape(item["name"])}">{size(item["bytes"])} {escape(item["name"])}</span>'
            for item in buckets[: 3 if len(document["disk"]) == 1 else 1]
        ]
    return _tile("disk", "Disk", lines or ["No disk is watched."])


def _agents_tile(document: Mapping[str, Any], now: float, lanes: Mapping[str, LaneNow]) -> str:
    items = document["lanes"]["items"]
    lines = _not_known(document["lanes"])
    for item in items[:3]:
        name = escape(item["name"])
        if not item["known"]:
            lines.append(f'<span class="unknown">{name} unknown: {escape(item["reason"])}</span>')
            continue
        doing = lanes.get(item["name"])
        what = f"{escape(item['project'])} #{escape(item['issue'])}"
        cost = f"{doing.cost}, " if doing else ""
        lines.append(f"<strong>{what}</strong> {cost}begun {when(item['started_at'], now)}")
        words = doing.does if doing and doing.does else item["state"]
        lines.append(f'<span title="{escape(words)}">{escape(words)}</span>')
    lines += [f"and {len(items) - 3} more"] if len(items) > 3 else []
    for item in document["board"]["items"][:1]:
        lines.append(
            f"{escape(item['name'])}: {item['agents_running']} running, {item['agents_active']} active, "
            f"{item['agents_error']} in error"
        )
    return _tile("lanes", f"Agents at work: {len(items)}", lines or ["No lane is running."])


def _queue_tile(document: Mapping[str, Any], now: float) -> str:
    lines, count = _not_known(document["merge_queue"]), 0
    for project in document["merge_queue"]["items"][:2]:
        name = escape(project["name"])
        if not project["known"]:
            lines.append(
                f'<span class="unknown">{name} unknown: {escape(project["reason"])}</span>'
            )
            continue
        count += project["open_count"]
        if project["halted_since"]:
            why = escape(project["halted_reason"])
            lines.append(f'<strong class="problem">halted</strong> {why}')
        if project["main_red_since"]:
            red = when(project["main_red_since"], now)
            lines.append(f'<strong class="problem">default branch red</strong> since {red}')
        waiting = {who: item for who, item in project["waiting"].items() if item["count"]}
        words = ", ".join(f"{escape(who)} {item['count']}" for who, item in waiting.items())
        lines.append(f"{name}: waits for {words}" if words else f"{name}: nothing waits")
        oldest = max(waiting.values(), key=lambda item: item["oldest_seconds"], default=None)
        pulls = {pull["number"]: pull for pull in project["pull_requests"]}
        if oldest is not None and oldest["oldest_number"] in pulls:
            pull = pulls[oldest["oldest_number"]]
            why = f"{pull['code']} {pull['detail']}".strip()
            lines.append(f"oldest {_pull_link(project, pull)}: {escape(why)}")
    return _tile("merge_queue", f"Pull requests: {count}", lines)


def _pull_link(project: Mapping[str, Any], pull: Mapping[str, Any]) -> str:
    number, repository = int(pull["number"]), str(project.get("repository", ""))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        return f"#{number}"
    address = f"https://github.com/{repository}/pull/{number}"
    return f'<a href="{escape(address)}" rel="noreferrer noopener">#{number}</a>'


def _jobs_tile(document: Mapping[str, Any], now: float) -> str:
    jobs = document["jobs"]["items"]
    lines = _not_known(document["jobs"])
    bad = [job for job in jobs if job["missed"] or _has_failed(job)]
    for job in bad[:2]:
        words = "failed" if _has_failed(job) else "missed"
        lines.append(f'<strong class="problem">{words}</strong> {escape(job["name"])}')
    running = [escape(job["name"]) for job in jobs if job["running"]]
    paused = [escape(job["name"]) for job in jobs if job["paused"]]
    lines += [f"running: {', '.join(running)}"] if running else []
    lines += [f"paused: {', '.join(paused)}"] if paused else []
    due = sorted((job["next_elapse_at"], job["name"]) for job in jobs if job["next_elapse_at"])
    lines += [f"next: {escape(due[0][1])} {when(due[0][0], now)}"] if due else []
    return _tile("jobs", f"Jobs: {len(jobs)}, {len(bad)} not well", lines)


def _has_failed(job: Mapping[str, Any]) -> bool:
    last = job["last_run"]
    return last is not None and last["result"] not in ("success", "skipped", "replaced")


def _headline(document: Mapping[str, Any]) -> str:
    alerts = [alert for alert in document["alerts"] if not alert["silenced"]]
    if document["overall"] == "ok":
        return "All is well."
    counts = {
        word: sum(alert["severity"] == word for alert in alerts)
        for word in ("critical", "warning", "info")
    }
    words = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return (
        f"{words or 'Not certain yet'}; first: {alerts[0]['title']}"
        if alerts
        else "Not certain yet."
    )


def is_doubtful(document: Mapping[str, Any], now: float) -> bool:
    """Whether the status says nothing of now: nobody renewed it, or it is from the future."""
    is_old = now > times.seconds(document["next_expected_at"]) + 120
    return is_old or now < times.seconds(document["generated_at"]) - 60


def _header(document: Mapping[str, Any], now: float) -> str:
    overall = "unknown" if is_doubtful(document, now) else document["overall"]
    problems = "".join(
        f'<div class="alert problem"><p>Not done: {escape(text)}</p></div>'
        for text in document["run"]["problems"]
    )
    return (
        f"<header><h1>{escape(document['host'])}</h1>"
        f'<span class="badge {overall}" id="overall">{overall}</span>'
        f'<span class="meta">looked {when(document["generated_at"], now)}</span>'
        f'<span class="meta" id="headline">{escape(_headline(document))}</span></header>'
        f'<div id="old" data-next="{escape(document["next_expected_at"])}">This page is old: the watchdog '
        f"should have run at {escape(document['next_expected_at'])}.</div>{problems}"
    )


def _alerts(document: Mapping[str, Any], now: float) -> str:
    cards = "".join(_alert(alert, now) for alert in document["alerts"])
    if not cards:
        cards = '<section><p class="ok">No alert.</p></section>'
    pending = "".join(
        f'<p class="quiet">Pending: {escape(item["key"])}: {escape(item["detail"])}</p>'
        for item in document["pending"]
    )
    return f'<h2>Alerts</h2><div id="alerts">{cards}{pending}</div>'


def _alert(alert: Mapping[str, Any], now: float) -> str:
    silence = alert["silenced"]
    cause = alert["cause"]
    note = f'<p class="quiet">An effect of {escape(cause)}.</p>' if cause else ""
    title = f"{alert['title']}: {alert['subject']}" if alert["subject"] else alert["title"]
    if silence:
        note += f'<p class="quiet">Silent until {escape(silence["until"])}: {escape(silence["reason"])}</p>'
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
        parts.append(
            f"{title}<p>{used} % of {size(disk['total_bytes'])} used, "
            f"{size(disk['available_bytes'])} free, {trend}</p>"
            f"{_share(used, 'problem' if used >= disk['raise_percent'] else '')}"
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
        rest = "" if bucket["name"].startswith("/") else "rest"
        rows.append(
            f"<span>{escape(bucket['name'])}{old}</span><span class=number>{growth}</span>"
            f"<span class=number>{size(bucket['bytes'])}</span>"
            f"{_share(share, rest)}"
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
        failed = _has_failed(job)
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


def _lanes(document: Mapping[str, Any], *, linked: bool) -> str:
    rows: list[Sequence[Cell]] = []
    for item in document["lanes"]["items"]:
        if item["known"]:
            heard = item["last_output_at"] or ""
            what = f"{item['project']} {item['issue']}"
            name = Html(f'<a href="/lane/{escape(item["name"])}">{escape(item["name"])}</a>')
            rows.append(
                (
                    name if linked else item["name"],
                    what,
                    item["state"],
                    item["started_at"] or "",
                    heard,
                )
            )
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
            what = Html(f"{_pull_link(project, pull)} {escape(pull['title'])}")
            rows.append((name, what, (pull["decision"], "word"), (pull["owner"], "word"), why, age))
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
        f'<details id="changes"><summary>{len(rows)} latest changes</summary>{table}</details>'
        if rows
        else ""
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
        f'<h2>Checks</h2><section id="checks"><details id="all"><summary>{len(rows)} findings</summary>'
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
            shown = text if isinstance(text, Html) else escape(text)
            style = f' class="{escape(mark)}"' if mark else ""
            # Empty cells are left out on a phone, label and all.
            cells.append(f'<td data-label="{label}"{style}>{shown}</td>' if text else "<td></td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    titles = "".join(f"<th>{label}</th>" for label in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
