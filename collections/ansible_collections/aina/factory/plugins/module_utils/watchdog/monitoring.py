"""Made from the list of checks: alert rules, a dashboard, the table in the documents; pure."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from .check import UNKNOWN, Check
from .checks import CHECKS, LIMITS
from .metrics import PREFIX

_INTERVAL_MINUTES = 15
_HEADER = (
    "---\n"
    "# Made from the checks of the watchdog by: factory watchdog --print rules\n"
    "# Its metrics come through node_exporter's textfile collector.\n"
)


def rules() -> str:
    """Return a rules file: one alert per check, and one for a watchdog that is silent."""
    alerts = [_silent_watchdog(), *(_rule(check) for check in CHECKS), _unknown()]
    blocks = "".join(_block(alert) for alert in alerts)
    return f"{_HEADER}groups:\n  - name: aina-factory\n    rules:\n{blocks}"


def _block(alert: dict[str, Any]) -> str:
    lines = [
        f"      - alert: {alert['alert']}",
        *_entry(8, "expr", alert["expr"]),
        f"        for: {alert['for']}",
        # Of an alert of the product it is a label of its own, which grows with its stage.
        *(
            ["        labels:", f"          severity: {alert['severity']}"]
            if "severity" in alert
            else []
        ),
        "        annotations:",
        *_entry(10, "summary", alert["summary"]),
        *_entry(10, "description", alert["description"]),
    ]
    return "\n".join(lines) + "\n"


def _entry(indent: int, key: str, text: str) -> list[str]:
    """Return a text as a folded block of YAML, in which every letter is itself."""
    lines = textwrap.wrap(text, 96, break_long_words=False, break_on_hyphens=False)
    return [f"{' ' * indent}{key}: >-", *(f"{' ' * (indent + 2)}{line}" for line in lines)]


def _name(check: Check[Any]) -> str:
    return "Factory" + "".join(word.capitalize() for word in check.name.split("_"))


def _rule(check: Check[Any]) -> dict[str, Any]:
    # The product has one state of an alert: whatever it tells fires, when it tells it.
    return {
        "alert": _name(check),
        "expr": f'{PREFIX}_alert_firing{{check="{check.name}",muted=""}} == 1',
        "for": "0m",
        "summary": f"{check.title}: {{{{ $labels.subject }}}} on {{{{ $labels.instance }}}}",
        "description": check.advice,
    }


def _silent_watchdog() -> dict[str, Any]:
    metric = f"{PREFIX}_watchdog_last_run_timestamp_seconds"
    return {
        "alert": "FactoryWatchdogSilent",
        "expr": f"time() - {metric} > {3 * _INTERVAL_MINUTES * 60} or absent({metric})",
        "for": "0m",
        "severity": "critical",
        "summary": "The watchdog does not run on {{ $labels.instance }}",
        "description": "factory jobs; journalctl -u factory-job-watchdog",
    }


def _unknown() -> dict[str, Any]:
    return {
        "alert": "FactoryCheckUnknown",
        "expr": f'{PREFIX}_alert_firing{{check="{UNKNOWN}",muted=""}} == 1',
        "for": "0m",
        "summary": "{{ $labels.subject }} cannot be known on {{ $labels.instance }}",
        "description": "find out why; what is not known is never taken as fine",
    }


def dashboard() -> str:
    """Return a dashboard: the state of all checks, the disk, and one plot per quantity."""
    panels: list[dict[str, Any]] = [
        _panel("state-timeline", "Checks", f"{PREFIX}_check_status", "{{check}} {{subject}}"),
        _panel("table", "Alerts", f"{PREFIX}_alert_firing", "{{severity}} {{check}} {{subject}}"),
        _panel("timeseries", "Disk used", f"{PREFIX}_disk_used_bytes", "{{path}}", "bytes"),
        _panel("timeseries", "Who holds it", f"{PREFIX}_disk_owner_bytes", "{{owner}}", "bytes"),
    ]
    panels += [
        _panel(
            "timeseries",
            check.title,
            f'{PREFIX}_check_value{{check="{check.name}"}}',
            "{{subject}}",
            "percent" if check.unit == "percent" else "none",
        )
        for check in CHECKS
        if check.unit
    ]
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
        panel["gridPos"] = {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8}
    document = {
        "title": "AINA factory",
        "uid": "aina-factory",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "5m",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "type": "datasource",
                    "query": "prometheus",
                    "label": "Source",
                }
            ]
        },
        "panels": panels,
    }
    return json.dumps(document, indent=2) + "\n"


def tables() -> str:
    """Return the document of all checks and limits."""
    lines = [
        "# Checks and limits",
        "",
        "<!-- Made from the checks of the watchdog by: factory watchdog --print checks -->",
        "",
        "| check | what | severity | raised after | limit |",
        "|---|---|---|---|---|",
    ]
    for check in CHECKS:
        needed, window = check.raise_after
        limit = check.selftest.limit
        own = f"`{limit.name}`" if limit is not None else ""
        lines.append(
            f"| `{check.name}` | {check.title} | {check.severity} | {needed} of {window} | {own} |"
        )
    lines += ["", "| limit | of | raised at | cleared at |", "|---|---|---:|---:|"]
    for item in LIMITS:
        sign = "≥" if item.high_is_bad else "≤"
        users = ", ".join(f"`{check.name}`" for check in CHECKS if item in check.limits)
        lines.append(f"| `{item.name}` | {users} | {sign} {item.raise_at:g} | {item.clear_at:g} |")
    return "\n".join(lines) + "\n"


def _panel(
    kind: str, title: str, expression: str, legend: str, unit: str = "none"
) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "type": kind,
        "title": title,
        "datasource": source,
        "targets": [
            {"refId": "A", "datasource": source, "expr": expression, "legendFormat": legend}
        ],
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
    }
