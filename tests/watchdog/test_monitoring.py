"""Rules and dashboard for Prometheus' users, judged by Prometheus' own tool."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.core.watchdog import alerts, causes, checks, metrics, monitoring
from factory.core.watchdog.check import Finding, Status
from factory.core.watchdog.silences import Silence
from factory.core.watchdog.sources import Facts
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


# A day of a server in trouble, run by run: what is bad, and what somebody has silenced.
BAD_RUNS: dict[str, Callable[[int], bool]] = {
    "engine": lambda run: 4 <= run < 12,
    "image": lambda run: 4 <= run < 14,
    "disk_space": lambda run: run >= 10,
    "drift": lambda run: 20 <= run < 30,
    # By turns: fires in the product, and would never do so where each bad run had to follow another.
    "runner": lambda run: run >= 30 and run % 2 == 0,
    "certificate": lambda run: run == 40,
    "memory": lambda run: 44 <= run < 60 and run % 5 != 0,
}
RUNS, MINUTES = 96, 15


def _day(run: int) -> Iterator[Finding]:
    for name, is_bad in BAD_RUNS.items():
        status = Status.PROBLEM if is_bad(run) else Status.OK
        subject = "x" if name in ("image", "runner", "certificate", "disk_space") else ""
        value = 80.0 + run / 5 if name == "disk_space" else None
        yield Finding(name, subject, status, "words", value)
    unknown = Status.UNKNOWN if 50 <= run < 58 else Status.OK
    yield Finding("clock", "", unknown, "words")


def test_the_rules_fire_when_the_watchdog_tells_and_never_otherwise(
    promtool: str, tmp_path: Path
) -> None:
    silence = Silence("drift", seed.NOW + 26 * MINUTES * 60, "x", "y")
    samples: dict[str, list[str]] = {}
    cases: list[dict[str, Any]] = []
    tracks: Mapping[str, alerts.Track] = {}
    titles = {**checks.BY_NAME}
    told_count = 0
    for run in range(RUNS):
        now = seed.NOW + run * MINUTES * 60
        found = [*_day(run)]
        step = alerts.step(tracks, found, seed.POLICY, (silence,), now)
        tracks = step.tracks
        firing = {track.key for track in step.firing}
        muted = {key: "silenced" for key in firing if silence.covers(key) and silence.active(now)}
        heard = firing - muted.keys()
        muted |= {key: "effect" for key in heard if causes.of(key, heard) is not None}
        text = metrics.render(Facts(now), found, step, 0.2, 0, muted)
        lines = [
            line.rpartition(" ")[::2] for line in text.splitlines() if "_alert_firing{" in line
        ]
        for name, value in lines:
            samples.setdefault(name, ["_"] * run)
            samples[name].append(value)
        for values in samples.values():
            values += ["_"] * (run + 1 - len(values))
        told = [track for track in step.firing if track.key not in muted]
        told_count += len(told)
        for name in (*BAD_RUNS, "unknown"):
            wanted = [
                {
                    "exp_labels": {
                        "severity": track.severity,
                        "check": track.check,
                        **({"subject": track.subject} if track.subject else {}),
                    },
                    "exp_annotations": {
                        "summary": f"{titles[name].title}: {track.subject} on "
                        if name in titles
                        else f"{track.subject} cannot be known on ",
                        "description": track.advice,
                    },
                }
                for track in told
                if track.check == name
            ]
            rule = monitoring._name(titles[name]) if name in titles else "FactoryCheckUnknown"
            # Whatever is exported is there until the next run, as a scraped file is.
            case = {"eval_time": f"{run * MINUTES + 3}m", "alertname": rule, "exp_alerts": wanted}
            cases.append(case)
    series = [
        {
            "series": name,
            # A sample counts for five minutes; a file is scraped each minute.
            "values": " ".join(
                f"{value} {value} {value} {value} {value}" + " _" * 10 for value in values
            ),
        }
        for name, values in samples.items()
    ]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": cases}],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test))

    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert told_count > 50


def test_a_watchdog_that_is_silent_is_an_alert(promtool: str, tmp_path: Path) -> None:
    silent = {
        "exp_labels": {"severity": "critical"},
        "exp_annotations": {
            "summary": "The watchdog does not run on ",
            "description": "factory jobs; journalctl -u factory-job-watchdog",
        },
    }
    case = {"eval_time": "5m", "alertname": "FactoryWatchdogSilent", "exp_alerts": [silent]}
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": [], "alert_rule_test": [case]}],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps(test))

    done = subprocess.run(
        [promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
