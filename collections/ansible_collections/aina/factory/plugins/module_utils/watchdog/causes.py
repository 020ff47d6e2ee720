"""Which alert is the cause of which others: one cause is one message; pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping, Sequence

_GITHUB = (
    "merge_report:*",
    "unknown:merge_queues*",
    "runner:*",
    "runner_queue:*",
    "unknown:runners*",
    "job_failed:release-marshal",
    "job_missed:release-marshal",
    "job_failed:lane-*",
    "job_missed:lane-*",
)
# An alert, and what cannot be well while it stands; \1 of a key is what follows its colon.
EFFECTS: Mapping[str, Sequence[str]] = {
    "engine": (
        "image:*",
        "image",
        "unknown:images*",
        "container_start:*",
        "unknown:containers*",
        "job_failed:factory-images",
        "runner:*",
        "runner_queue:*",
        "lane_stuck:*",
        "lane_residue",
        "unit_failed:docker.*",
        "unit_failed:containerd.*",
        "unit_running:docker.*",
        "unit_running:containerd.*",
    ),
    "unknown:engine": ("unknown:images*", "unknown:containers*", "container_start:*"),
    "dns:*": (
        "github",
        "delivery",
        "dead_man",
        "unknown:certificates*",
        "unknown:dead_man",
        "job_failed:factory-images",
        "image:*",
        *_GITHUB,
    ),
    "github": _GITHUB,
    "disk_mount:*": (
        "unknown:disks:{subject}",
        "unknown:owners:{subject}",
        "unknown:samples:{subject}",
        "disk_space:{subject}",
        "disk_inodes:{subject}",
        "disk_trend:{subject}",
        "disk_owners:{subject}",
    ),
    "unknown:disks:*": ("unknown:owners:{subject}", "unknown:samples:{subject}"),
    "disk_space:*": ("disk_trend:{subject}",),
}


def of(key: str, firing: Collection[str]) -> str | None:
    """Return the raised alert that is the cause of another one, if there is one."""
    for pattern, effects in EFFECTS.items():
        for cause in sorted(firing):
            if cause == key or not fnmatch.fnmatchcase(cause, pattern):
                continue
            subject = cause.removeprefix(pattern.removesuffix("*"))
            if any(fnmatch.fnmatchcase(key, item.format(subject=subject)) for item in effects):
                return cause
    return None
