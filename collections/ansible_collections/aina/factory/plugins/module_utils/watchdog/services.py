"""Units that do not keep running though none of them has failed; pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..jobs import layout
from .facts import HOUR

PROPERTIES = (
    "Id,Names,LoadState,ActiveState,UnitFileState,Type,Restart,NRestarts,Result,ConditionResult,"
    "TriggeredBy,InactiveEnterTimestamp,InactiveExitTimestamp"
)
TYPES = "service,timer,path"
_OWN = "factory-"
# They end by themselves, when their work is done or nobody asks for them any more.
_PASSING = ("oneshot", "dbus")

# By unit: moments, and how often it had been restarted by then.
History = Mapping[str, Sequence[tuple[float, int]]]


@dataclass(frozen=True)
class Service:
    """A unit that has not failed, and does not keep running either.

    ``is_broken``: it is the factory's own or declared, and cannot be started as it is.
    ``stopped_at``: somebody stopped it, though it is enabled. ``recent_restarts`` are those
    since ``counted_since``.
    """

    name: str
    load_state: str = "loaded"
    is_broken: bool = False
    is_declared: bool = False
    stopped_at: float | None = None
    started_at: float | None = None
    restarts: int = 0
    result: str = ""
    recent_restarts: int = 0
    counted_since: float | None = None


def candidates(listing: str, enabled: Container[str], declared: Iterable[str]) -> list[str]:
    """Return the units of a ``systemctl list-units`` answer that are worth asking about.

    ``enabled`` are those that are meant to run whenever the host does. Asking about every
    unit in memory would cost more than all the rest of a run.
    """
    found = set(declared)
    for line in listing.splitlines():
        name, load, active = line.split()[:3]
        runs = active != "inactive" and name.endswith(".service")
        rests = active == "inactive" and name in enabled
        own = name.startswith(_OWN) and load not in ("loaded", "not-found")
        if (runs or rests or own) and layout.job_of(name) is None:
            found.add(name)
    return sorted(found)


def parse(
    text: str, declared: Iterable[str], timestamp: Callable[[str], float | None]
) -> tuple[Service, ...]:
    """Return the units of a ``systemctl show`` answer of which there is something to say.

    ``declared`` are units that the configuration names.
    """
    named = set(declared)
    found = {}
    for block in text.split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        names = {values.get("Id", ""), *values.get("Names", "").split()} - {""}
        if not names:
            continue
        service = _service(values, timestamp, sorted(names & named))
        if service.is_broken or service.restarts or service.stopped_at is not None:
            found[service.name] = service
    return tuple(found[name] for name in sorted(found))


def _service(
    values: Mapping[str, str], timestamp: Callable[[str], float | None], declared: Sequence[str]
) -> Service:
    name, state = values["Id"], values.get("LoadState", "")
    restarts = values.get("NRestarts", "0")
    is_known = state in ("loaded", "merged", "stub")
    # Others in memory may be masked on purpose, or only be mentioned.
    is_missed = bool(declared) or (name.startswith(_OWN) and state != "not-found")
    return Service(
        name=name,
        load_state=state,
        is_broken=is_missed and not is_known,
        is_declared=bool(declared),
        stopped_at=timestamp(values.get("InactiveEnterTimestamp", "")) if _rests(values) else None,
        started_at=timestamp(values.get("InactiveExitTimestamp", "")),
        restarts=int(restarts) if restarts.isdigit() else 0,
        result=values.get("Result", ""),
    )


def _rests(values: Mapping[str, str]) -> bool:
    """Whether somebody stopped what is meant to run whenever the host does."""
    enabled = values.get("UnitFileState") in ("enabled", "enabled-runtime")
    stopped = values.get("ActiveState") == "inactive" and values.get("Result") == "success"
    if not enabled or not stopped or values.get("LoadState") != "loaded":
        return False
    if not values.get("Id", "").endswith(".service"):
        return True
    lasting = values.get("Restart", "no") != "no" and values.get("Type") not in _PASSING
    return lasting and values.get("ConditionResult") == "yes" and not values.get("TriggeredBy")


def count(
    services: Iterable[Service], known: History | None, last_look_at: float | None, now: float
) -> tuple[tuple[Service, ...], History]:
    """Return the services with their restarts of the last hour, and what is to be remembered.

    ``known`` is ``None`` where nobody has counted before: then one that was started within
    the hour counts from its beginning, and any other from now.
    """
    told, kept = [], {}
    for service in services:
        past = list((known or {}).get(service.name, ()))
        if past and past[-1][1] > service.restarts:
            # Somebody started it anew; its counter began again.
            past = [(past[-1][0], 0)]
        if not past:
            is_new = service.started_at is not None and now - service.started_at < HOUR
            begun = known is not None or is_new
            past = [(last_look_at or now, 0 if begun else service.restarts)]
        if past[-1][1] != service.restarts:
            past.append((now, service.restarts))
        older = [entry for entry in past if now - entry[0] >= HOUR]
        past = [*older[-1:], *(entry for entry in past if now - entry[0] < HOUR)]
        recent = service.restarts - past[0][1]
        told.append(replace(service, recent_restarts=recent, counted_since=past[0][0]))
        if service.restarts:
            kept[service.name] = past
    return tuple(told), kept
