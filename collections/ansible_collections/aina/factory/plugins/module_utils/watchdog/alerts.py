"""From findings to alerts: a state machine per key, kept from run to run; pure.

ok → pending (bad, but not N of M yet) → firing → ok. Between its two thresholds a value
changes nothing. Whoever comes back soon after having recovered must stay well for ever
longer before it is believed, so that flapping ends in few messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from ..base import times
from ..base.configuration import Section
from . import causes
from .check import UNKNOWN, Finding, Status
from .checks import BY_NAME
from .facts import DAY, HOUR
from .settings import WatchdogSettings
from .silences import Silence, covering

_UNKNOWN_TITLE = "Cannot be known"
_MOST_DOUBLINGS = 4
# So many new outages of an alert that is not trusted yet are told at once within a day; any
# further one has to last.
_MOST_AT_ONCE = 4
_LASTING_SECONDS = 2 * HOUR
_GONE = "no longer found"
_GONE_BEFORE = f"{_GONE}; before: "


class AlertChange(StrEnum):
    """What a message says of an alert."""

    RAISED = "raised"
    WORSE = "worse"
    REMINDER = "reminder"
    RECOVERED = "recovered"


@dataclass(frozen=True)
class Track:
    """The history of one key, as far as it matters.

    ``recent`` holds for the last M runs whether they were bad; ``told_at`` is when a
    message last spoke of the alert, and None while none did; ``relapses`` are the times at
    which it was raised again within a day. ``well_since`` is set while it is raised, though
    good by now; ``again_since`` when it then became bad once more, and ``untold_outage``
    while nobody was told of that. ``stage`` counts how many of its check's stages the value
    has reached, ``told_stage`` of how many a message spoke.
    """

    key: str
    check: str
    subject: str
    recent: tuple[bool, ...] = ()
    good_runs: int = 0
    since: float | None = None
    raised_at: float | None = None
    told_at: float | None = None
    reminders: int = 0
    cleared_at: float | None = None
    relapses: tuple[float, ...] = ()
    detail: str = ""
    value: float | None = None
    well_since: float | None = None
    again_since: float | None = None
    untold_outage: bool = False
    stage: int = 0
    told_stage: int = 0

    @property
    def firing(self) -> bool:
        """Whether the alert is raised."""
        return self.raised_at is not None

    @property
    def pending(self) -> bool:
        """Whether it is bad, but not for long enough."""
        return not self.firing and any(self.recent)

    @property
    def severity(self) -> str:
        """How urgent it is: critical, warning or info."""
        if self.stage and self.firing:
            return "critical"
        return BY_NAME[self.check].severity if self.check in BY_NAME else "warning"

    @property
    def title(self) -> str:
        """What it is about, for people."""
        return BY_NAME[self.check].title if self.check in BY_NAME else _UNKNOWN_TITLE

    @property
    def advice(self) -> str:
        """What a person does about it."""
        if self.check in BY_NAME:
            return BY_NAME[self.check].advice
        return "find out why; what is not known is never taken as fine"

    @property
    def _told_detail(self) -> str:
        # What is no longer there is neither well nor to be trusted again.
        if self.well_since is None or self.detail.startswith(_GONE_BEFORE):
            return self.detail
        since = times.iso_or_none(self.well_since)
        return f"well since {since}, and not trusted yet; before: {self.detail}"

    def document(self) -> dict[str, Any]:
        """Return the JSON form for people and programs."""
        return {
            "key": self.key,
            "check": self.check,
            "subject": self.subject,
            "severity": self.severity,
            "title": self.title,
            "detail": self._told_detail,
            "advice": self.advice,
            "value": self.value,
            "since": times.iso_or_none(self.since),
            "raised_at": times.iso_or_none(self.raised_at),
            "told_at": times.iso_or_none(self.told_at),
        }


@dataclass(frozen=True)
class Edge:
    """One change that a message tells of."""

    change: AlertChange
    track: Track
    # Other raised alerts that it is the cause of.
    effects: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transition:
    """What one run makes of the state: the new one, and what is to be told."""

    tracks: Mapping[str, Track]
    edges: tuple[Edge, ...]

    @property
    def firing(self) -> list[Track]:
        """The raised alerts, the most urgent first."""
        order = ("critical", "warning", "info")
        firing = [track for track in self.tracks.values() if track.firing]
        return sorted(firing, key=lambda track: (order.index(track.severity), track.key))


@dataclass(frozen=True)
class _Verdict:
    """How one key stands in this run."""

    check: str
    subject: str
    bad: bool
    lingers: bool
    detail: str
    value: float | None
    raise_after: tuple[int, int]
    clear_runs: int


def step(
    tracks: Mapping[str, Track],
    findings: Sequence[Finding],
    policy: WatchdogSettings,
    silences: Iterable[Silence],
    now: float,
) -> Transition:
    """Advance every key by one run."""
    active = tuple(silences)
    verdicts = _verdicts(findings, policy)
    # A check that cannot tell of single things has looked at the others all the same.
    answered = {finding.check for finding in findings}
    answered -= {
        finding.check
        for finding in findings
        if finding.status is Status.UNKNOWN and not finding.subject
    }
    unclear = {finding.key for finding in findings if finding.status is Status.UNKNOWN}
    next_tracks: dict[str, Track] = {}
    judged: list[tuple[Track, Track]] = []
    for key in sorted({*tracks, *verdicts}):
        track = tracks.get(key)
        verdict = verdicts.get(key)
        if verdict is None and track is not None:
            if key in unclear or not _is_gone(track, answered):
                next_tracks[key] = track
                continue
            verdict = _gone(track, policy)
        if verdict is None:
            continue
        before = track or Track(key, verdict.check, verdict.subject)
        # A recovery is told in the words of the last bad moment.
        before = replace(before, detail=before.detail.removeprefix(_GONE_BEFORE))
        after = _advance(before, verdict, now)
        if key not in verdicts and after.firing:
            after = replace(after, detail=f"{_GONE_BEFORE}{after.detail}")
        judged.append((before, after))
        next_tracks[key] = after
    firing = {key for key, track in next_tracks.items() if track.firing}
    # What is not told does not tell of its effects either.
    spoken = {key for key in firing if covering(key, active, now) is None}
    # A cause that is bad by now, though not for long enough, will tell of its effects itself.
    begun = {key for key, track in next_tracks.items() if track.recent[-1:] == (True,)}
    standing = spoken | {key for key in begun if covering(key, active, now) is None}
    edges: list[Edge] = []
    for before, track in judged:
        key = track.key
        silenced = key not in spoken or causes.of(key, standing) is not None
        after, change = _speak(before, track, policy, now, silenced=silenced)
        if change is not None:
            told = after if change is not AlertChange.RECOVERED else before
            effects = tuple(item for item in sorted(firing) if causes.of(item, {key}) == key)
            edges.append(Edge(change, told, effects))
        next_tracks[key] = after
    kept = {
        key: track
        for key, track in next_tracks.items()
        if track.firing or any(track.recent) or _recent_relapse(track, now)
    }
    return Transition(kept, tuple(edges))


def _verdicts(findings: Sequence[Finding], policy: WatchdogSettings) -> dict[str, _Verdict]:
    found: dict[str, _Verdict] = {}
    for finding in findings:
        unknown = finding.status is Status.UNKNOWN
        if not unknown:
            found[finding.key] = _Verdict(
                finding.check,
                finding.subject,
                finding.status is Status.PROBLEM,
                finding.lingers,
                finding.detail,
                finding.value,
                BY_NAME[finding.check].raise_after,
                policy.clear_runs_count,
            )
        # Whatever is not known is a key of its own: it neither raises nor clears the other.
        name = finding.source or finding.key
        runs = policy.unknown_runs_count
        key = f"{UNKNOWN}:{name}"
        if unknown or key not in found:
            found[key] = _Verdict(
                UNKNOWN, name, unknown, False, finding.detail, None, (runs, runs), 1
            )
    return found


def _is_gone(track: Track, answered: set[str]) -> bool:
    """Whether what the key was about is no longer there, and not merely unknown."""
    if track.check == UNKNOWN:
        return True
    return track.check in answered or track.check not in BY_NAME


def _gone(track: Track, policy: WatchdogSettings) -> _Verdict:
    # What is known again is believed at once, as ever.
    runs = 1 if track.check == UNKNOWN else policy.clear_runs_count
    return _Verdict(track.check, track.subject, False, False, _GONE, None, (1, 1), runs)


def _advance(track: Track, verdict: _Verdict, now: float) -> Track:
    needed, window = verdict.raise_after
    bad = verdict.bad or (track.firing and verdict.lingers)
    again_since = track.again_since
    recent = (*track.recent, bad)[-window:]
    # Well for as long as anybody else needs to be, and bad again: an outage of its own.
    if track.firing and track.good_runs >= verdict.clear_runs:
        again_since, recent = (now, (True,)) if bad else (None, recent)
    since = track.since
    if bad and since is None:
        since = now
    if not any(recent) and not track.firing:
        since = None
    after = replace(
        track,
        check=verdict.check,
        subject=verdict.subject,
        recent=recent,
        good_runs=0 if bad else track.good_runs + 1,
        since=since,
        relapses=tuple(at for at in track.relapses if now - at < DAY),
        # A cleared alert is told in the words of its last bad moment.
        detail=verdict.detail if bad or not track.firing else track.detail,
        value=verdict.value,
        well_since=None if bad or not track.firing else track.well_since or now,
        stage=_stage(verdict) if bad else 0,
        again_since=again_since,
    )
    if after.firing and again_since is not None and sum(recent) >= needed and bad:
        lasts = now - again_since >= _LASTING_SECONDS
        if lasts or len(after.relapses) < _MOST_AT_ONCE:
            return replace(
                after,
                since=again_since,
                again_since=None,
                untold_outage=True,
                relapses=(*after.relapses, now),
            )
    if not after.firing and sum(recent) >= needed:
        relapsed = track.cleared_at is not None and now - track.cleared_at < DAY
        relapses = (*after.relapses, now) if relapsed else after.relapses
        return replace(after, raised_at=now, relapses=relapses)
    doublings = min(len(after.relapses), _MOST_DOUBLINGS)
    if after.firing and after.good_runs >= verdict.clear_runs * 2**doublings:
        return replace(
            after,
            raised_at=None,
            since=None,
            recent=(),
            reminders=0,
            cleared_at=now,
            told_at=None,
            well_since=None,
            again_since=None,
            untold_outage=False,
            stage=0,
            told_stage=0,
        )
    return after


def _stage(verdict: _Verdict) -> int:
    check = BY_NAME.get(verdict.check)
    return check.stage(verdict.value) if check is not None else 0


def _recent_relapse(track: Track, now: float) -> bool:
    return track.cleared_at is not None and now - track.cleared_at < DAY


def _speak(
    before: Track, after: Track, policy: WatchdogSettings, now: float, *, silenced: bool
) -> tuple[Track, AlertChange | None]:
    if before.firing and not after.firing:
        # Whoever was told of the problem wants the all-clear, a silence or not.
        return after, AlertChange.RECOVERED if before.told_at is not None else None
    # What is well by now, though not trusted yet, is no news to whom nobody told anything.
    if not after.firing or silenced or (after.told_at is None and after.well_since is not None):
        return after, None
    if after.told_at is None or after.untold_outage:
        after = replace(after, untold_outage=False, reminders=0)
        return _spoken_of(after, now), AlertChange.RAISED
    if after.stage > after.told_stage:
        return _spoken_of(after, now), AlertChange.WORSE
    if now - after.told_at >= pause_before_reminder(after.reminders, policy):
        after = replace(after, reminders=after.reminders + 1)
        return _spoken_of(after, now), AlertChange.REMINDER
    return after, None


def _spoken_of(track: Track, now: float) -> Track:
    return replace(track, told_at=now, told_stage=max(track.stage, track.told_stage))


def pause_before_reminder(reminders: int, policy: WatchdogSettings) -> float:
    """Return how long after the last message the next reminder is due, in seconds."""
    chosen = policy.reminders
    # Beyond this the longest pause has long been reached, and powers would overflow.
    return min(chosen.longest_seconds, chosen.first_seconds * chosen.factor ** min(reminders, 64))


def to_documents(tracks: Mapping[str, Track]) -> list[dict[str, Any]]:
    """Return the JSON form that is kept between runs."""
    return [asdict(track) for _key, track in sorted(tracks.items())]


def from_documents(sections: Iterable[Section]) -> dict[str, Track]:
    """Read what was kept.

    Raises:
        ConfigurationError: it is damaged.

    """
    tracks = {}
    for section in sections:
        track = _track(section)
        tracks[track.key] = track
    return tracks


def _track(section: Section) -> Track:
    def number(key: str) -> float | None:
        return section.number(key) if section.has(key) else None

    relapses, recent = section.value("relapses", []), section.value("recent", [])
    if not all(isinstance(at, int | float) for at in relapses):
        raise section.error("relapses", relapses, "be a list of times")
    return Track(
        key=section.text("key"),
        check=section.text("check"),
        subject=section.text("subject", ""),
        recent=tuple(bool(item) for item in recent),
        good_runs=section.integer("good_runs", 0),
        since=number("since"),
        raised_at=number("raised_at"),
        told_at=number("told_at"),
        reminders=section.integer("reminders", 0),
        cleared_at=number("cleared_at"),
        relapses=tuple(relapses),
        detail=section.text("detail", ""),
        value=number("value"),
        well_since=number("well_since"),
        again_since=number("again_since"),
        untold_outage=section.boolean("untold_outage", False),
        stage=section.integer("stage", 0),
        told_stage=section.integer("told_stage", 0),
    )
