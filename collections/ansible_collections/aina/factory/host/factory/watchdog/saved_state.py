"""What the watchdog remembers between its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.watchdog import alerts, heal, messages, mounts, services
from factory.core.watchdog.facts import DAY
from factory.core.watchdog.settings import WatchdogSettings
from factory.core.watchdog.silences import Silence, from_section
from factory.core.watchdog.trend import DiskSample
from factory.watchdog.store import Store, lines, to_lines

SCHEMA = 1
KEPT_SAMPLES_SECONDS = 14 * DAY
_KEPT_TIMELINE = 200


@dataclass
class WatchdogState:
    """The state of all alerts, messages that wait, repairs, and when the last run ended."""

    tracks: Mapping[str, alerts.Track] = field(default_factory=dict)
    outbox: messages.Outbox = field(default_factory=messages.Outbox)
    attempts: Sequence[heal.Attempt] = ()
    timeline: Sequence[Mapping[str, Any]] = ()
    finished_at: float | None = None
    dead_man_ok_at: float | None = None
    dead_man_error: str = ""
    mounts: Mapping[str, mounts.LastSeenMount] = field(default_factory=dict)
    # Runs of jobs that are told as failed; None, as below, while nobody has looked yet.
    told_failures: Mapping[str, Sequence[str]] | None = None
    restarts: services.History | None = None
    killed_count: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the form that is kept."""
        return {
            "schema": SCHEMA,
            "tracks": alerts.to_documents(self.tracks),
            "outbox": messages.to_document(self.outbox),
            "attempts": [asdict(attempt) for attempt in self.attempts],
            "timeline": list(self.timeline)[-_KEPT_TIMELINE:],
            "finished_at": self.finished_at,
            "dead_man_ok_at": self.dead_man_ok_at,
            "dead_man_error": self.dead_man_error,
            "told_failures": self.told_failures,
            "restarts": self.restarts,
            "killed_count": self.killed_count,
            "mounts": [mounts.to_document(item) for item in self.mounts.values()],
        }


def load(path: Path) -> WatchdogState:
    """Return what is remembered; nothing where nothing is yet.

    Raises:
        ConfigurationError: the file is damaged.

    """
    try:
        section = Section(json.loads(path.read_bytes()), "state")
    except FileNotFoundError:
        return WatchdogState()
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from error

    def number(key: str) -> float | None:
        return section.number(key) if section.has(key) else None

    return WatchdogState(
        alerts.from_documents(section.sections("tracks", ())),
        messages.from_section(section.section("outbox", {})),
        [heal.attempt_from(item) for item in section.sections("attempts", ())],
        section.value("timeline", []),
        number("finished_at"),
        number("dead_man_ok_at"),
        section.text("dead_man_error", ""),
        {item.path: item for item in map(mounts.from_section, section.sections("mounts", ()))},
        _told_failures(section) if section.has("told_failures") else None,
        _restarts(section) if section.has("restarts") else None,
        section.integer("killed_count") if section.has("killed_count") else None,
    )


def _told_failures(section: Section) -> Mapping[str, Sequence[str]]:
    found = section.section("told_failures")
    return {name: found.strings(name) for name, _value in found.items()}


def _restarts(section: Section) -> services.History:
    found = section.value("restarts")
    try:
        return {
            str(name): [(float(at), int(count)) for at, count in entries]
            for name, entries in found.items()
        }
    except (AttributeError, TypeError, ValueError):
        raise section.error("restarts", found, "map units to times and counts") from None


def load_or_begin_anew(store: Store, path: Path) -> WatchdogState:
    """Return what is remembered; a damaged file is put aside and said so."""
    place = store.newest(path)
    try:
        return load(place)
    except (ConfigurationError, OSError) as error:
        aside = place.with_name(f"{place.name}.damaged")
        store.problems.append(f"{error}; it is put aside as {aside}, alerts begin anew")
        try:
            place.replace(aside)
        except OSError as failure:
            store.problems.append(f"{place} cannot be put aside: {failure.strerror}")
        return WatchdogState()


def silences(policy: WatchdogSettings) -> tuple[Silence, ...]:
    """Return the declared silences and those that somebody made on the spot.

    Raises:
        ConfigurationError: the file of the latter is damaged.

    """
    path = silences_path(policy)
    try:
        section = Section(json.loads(path.read_bytes()), "silences")
    except FileNotFoundError:
        return policy.declared_silences
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON: {error}") from error
    made = (from_section(item, None, "made here") for item in section.sections("silences", ()))
    return (*policy.declared_silences, *made)


def silences_path(policy: WatchdogSettings) -> Path:
    """Return the file of the silences that were made on the spot."""
    return Path(policy.state_dir, "silences.json")


def samples_path(policy: WatchdogSettings) -> Path:
    """Return the file of the disks' history."""
    return Path(policy.state_dir, "samples.jsonl")


def load_samples(policy: WatchdogSettings, now: float) -> dict[str, tuple[DiskSample, ...]]:
    """Return the history of every watched disk, oldest first."""
    found: dict[str, list[DiskSample]] = {path: [] for path in policy.disks}
    for line in lines(samples_path(policy)):
        # [time, path, used, available, used inodes]; anything else is none of ours.
        ours = isinstance(line, list) and len(line) == 5 and line[1] in found
        if ours and line[0] >= now - KEPT_SAMPLES_SECONDS:
            found[line[1]].append(DiskSample(line[0], line[2], line[3], line[4]))
    return {path: tuple(samples) for path, samples in found.items()}


def keep_samples(policy: WatchdogSettings, store: Store, fresh: Mapping[str, DiskSample]) -> None:
    """Add one line per disk; the file is cut back once it holds twice what is looked at."""
    path = samples_path(policy)
    for name, sample in fresh.items():
        values = [sample.at, name, sample.used_bytes, sample.available_bytes, sample.inodes_used]
        store.append(path, json.dumps(values))
    most = 2 * len(policy.disks) * KEPT_SAMPLES_SECONDS / policy.interval_seconds
    if path.exists() and path.stat().st_size > most * 80:
        kept = [line for line in lines(path) if isinstance(line, list)]
        store.replace(path, to_lines(kept[-int(most / 2) :]))
