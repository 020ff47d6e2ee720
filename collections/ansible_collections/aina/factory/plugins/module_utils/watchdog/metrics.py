"""The run as metrics for node_exporter's textfile collector; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .alerts import Transition
from .check import Finding, Status
from .checks import BY_NAME
from .checks.disk_owners import SOURCE as OWNERS
from .facts import Known
from .filesystems import DISKS
from .sources import Facts

PREFIX = "aina_factory"
_CODES = {Status.OK: 0, Status.PROBLEM: 1, Status.UNKNOWN: 2}


@dataclass(frozen=True)
class Metric:
    """One gauge: name without prefix, what it says, and its samples by labels."""

    name: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def render(
    facts: Facts,
    findings: Sequence[Finding],
    step: Transition,
    seconds: float,
    waiting: int,
    muted: Mapping[str, str] | None = None,
) -> str:
    """Return the text of the file; ``muted`` says by key why a raised alert is not told."""
    found = _all(facts, findings, step, seconds, waiting, muted or {})
    return "".join(_text(metric) for metric in found)


def _all(
    facts: Facts,
    findings: Sequence[Finding],
    step: Transition,
    seconds: float,
    waiting: int,
    muted: Mapping[str, str],
) -> Iterable[Metric]:
    yield Metric(
        "watchdog_last_run_timestamp_seconds",
        "When the watchdog last completed a run.",
        [({}, facts.now)],
    )
    yield Metric("watchdog_run_duration_seconds", "How long that run took.", [({}, seconds)])
    yield Metric(
        "check_status",
        "What a check says: 0 ok, 1 problem, 2 unknown.",
        [
            ({"check": item.check, "subject": item.subject}, _CODES[item.status])
            for item in findings
            if item.status in _CODES
        ],
    )
    yield Metric(
        "check_value",
        "The quantity that a check measures, in the unit of its label.",
        [
            (
                {
                    "check": item.check,
                    "subject": item.subject,
                    "unit": BY_NAME[item.check].unit,
                },
                item.value,
            )
            for item in findings
            if item.value is not None
        ],
    )
    yield Metric(
        "alert_firing",
        "Alerts that are raised, by severity, and why one is not told.",
        [
            (
                {
                    "check": item.check,
                    "subject": item.subject,
                    "severity": item.severity,
                    **({"muted": muted[item.key]} if item.key in muted else {}),
                },
                1,
            )
            for item in step.firing
        ],
    )
    yield Metric("undelivered_messages", "Messages that wait to be delivered.", [({}, waiting)])
    yield from _disks(facts)
    yield from _owners(facts)


def _disks(facts: Facts) -> Iterable[Metric]:
    disks = facts[DISKS]
    found = disks.value if isinstance(disks, Known) else {}
    read = [(path, fact.value) for path, fact in found.items() if isinstance(fact, Known)]
    yield Metric(
        "disk_used_bytes",
        "Used bytes of a watched filesystem.",
        [({"path": path}, item.disk.used_bytes) for path, item in read],
    )
    yield Metric(
        "disk_available_bytes",
        "Bytes of a watched filesystem that programs may still use.",
        [({"path": path}, item.disk.available_bytes) for path, item in read],
    )


def _owners(facts: Facts) -> Iterable[Metric]:
    owners = facts[OWNERS]
    samples: list[tuple[Mapping[str, str], float]] = []
    for path, fact in owners.value.items() if isinstance(owners, Known) else ():
        if not isinstance(fact, Known):
            continue
        found = fact.value
        samples += [
            ({"path": path, "owner": owner.path}, owner.bytes)
            for owner in found.owners
            if owner.bytes is not None
        ]
        samples.append(({"path": path, "owner": "deleted_open"}, found.deleted_open_bytes))
        samples.append(({"path": path, "owner": "unattributed"}, found.unattributed_bytes))
    yield Metric("disk_owner_bytes", "Who holds the used bytes of a filesystem.", samples)


def _text(metric: Metric) -> str:
    name = f"{PREFIX}_{metric.name}"
    lines = [f"# HELP {name} {metric.help}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in metric.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    # A file name that is not UTF-8 would make the whole file unreadable.
    clean = text.encode("utf-8", "replace").decode()
    return clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(value) if isinstance(value, int) else f"{value:.10g}"
