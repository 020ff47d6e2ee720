"""Rules and dashboard for Prometheus' users, judged by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from factory.core.watchdog import checks, metrics, monitoring
from watchdog import seed

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs/monitoring/alerts.yml"
UNPACKED = ROOT / ".cache/prometheus/usr/bin"
DASHBOARD = ROOT / "docs/monitoring/dashboard.json"
CHECKS = ROOT / "docs/monitoring/checks.md"


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool") or shutil.which("promtool", path=str(UNPACKED))
    if found is None:
        pytest.skip("no promtool (Debian: apt install prometheus)")
    return found


def exported(runs: int = 3) -> str:
    report = seed.report(runs=runs)
    return metrics.render(report.facts, report.findings, report.step, report.seconds, 0)


def test_the_files_in_the_documents_are_those_of_the_checks() -> None:
    again = "factory watchdog --print {} > {}"
    assert RULES.read_text() == monitoring.rules(), again.format("rules", RULES)
    assert DASHBOARD.read_text() == monitoring.dashboard(), again.format("dashboard", DASHBOARD)
    assert CHECKS.read_text() == monitoring.tables(), again.format("checks", CHECKS)


def test_every_check_has_its_rule_and_every_quantity_its_panel() -> None:
    rules = yaml.safe_load(monitoring.rules())["groups"][0]["rules"]
    panels = json.loads(monitoring.dashboard())["panels"]
    told = " ".join(rule["expr"] for rule in rules)
    drawn = " ".join(panel["targets"][0]["expr"] for panel in panels)
    for check in checks.CHECKS:
        assert f'check="{check.name}"' in told
        if check.unit:
            assert f'check="{check.name}"' in drawn
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names)) == len(checks.CHECKS) + 2


def test_what_is_exported_is_what_the_rules_and_panels_ask_for() -> None:
    known = set(re.findall(r"^# TYPE (\S+)", exported(), re.MULTILINE))
    asked = set(re.findall(rf"\b{metrics.PREFIX}_\w+", monitoring.rules() + monitoring.dashboard()))

    assert asked <= known


def test_promtool_finds_no_fault_in_metrics_and_rules(promtool: str) -> None:
    told = subprocess.run(
        [promtool, "check", "metrics"],
        input=exported(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr + told.stdout
    broken = subprocess.run(
        [promtool, "check", "metrics"], input='a{b="\n', capture_output=True, text=True, check=False
    )
    assert broken.returncode != 0
    subprocess.run([promtool, "check", "rules", str(RULES)], check=True, capture_output=True)


def series(text: str) -> list[dict[str, str]]:
    """Return the exported metrics as constant input of a rules test."""
    found = []
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            found.append({"series": name, "values": f"{value}x120"})
    return found


def test_the_rules_fire_for_exactly_what_the_watchdog_found(promtool: str, tmp_path: Path) -> None:
    report = seed.report()
    bad = {(item.check, item.subject) for item in report.findings if item.status == "problem"}
    cases = []
    for check in checks.CHECKS:
        name = monitoring._name(check)
        firing = [
            {
                "exp_labels": {
                    "severity": check.severity,
                    "check": check.name,
                    # Prometheus knows no empty label.
                    **({"subject": subject} if subject else {}),
                },
                "exp_annotations": {
                    "summary": f"{check.title}: {subject} on ",
                    "description": check.advice,
                },
            }
            for found, subject in sorted(bad)
            if found == check.name
        ]
        cases.append({"eval_time": "60m", "alertname": name, "exp_alerts": firing})
    silent = {
        "exp_labels": {"severity": "critical"},
        "exp_annotations": {
            "summary": "The watchdog does not run on ",
            "description": "factory jobs; journalctl -u factory-job-watchdog",
        },
    }
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {"interval": "1m", "input_series": series(exported()), "alert_rule_test": cases},
            {
                "interval": "1m",
                "input_series": [],
                "alert_rule_test": [
                    {
                        "eval_time": "5m",
                        "alertname": "FactoryWatchdogSilent",
                        "exp_alerts": [silent],
                    }
                ],
            },
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test))

    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(len(case["exp_alerts"]) for case in cases) >= 10
