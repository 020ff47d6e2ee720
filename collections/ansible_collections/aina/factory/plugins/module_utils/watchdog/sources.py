"""Where facts come from: a source per fact, and what it may ask of this host.

A source reads files itself. Whatever else it needs (programs, sockets, the kernel's clock)
is handed to it with the :class:`Host`.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..base.configuration import Section
from ..base.errors import FactoryError
from ..base.ports import Fetch, Run
from ..jobs import layout
from .facts import NOT_GATHERED, Absent, Fact, Known, T, Unknown, written
from .limits import Limit
from .settings import WatchdogSettings

K = TypeVar("K")
SCHEMA = 1


def _resolves_nothing(name: str) -> Sequence[str]:
    raise OSError(f"nobody here resolves {name}")


class AbsentError(FactoryError):
    """A source has nothing to tell here; the message says what is not configured."""


@dataclass(frozen=True)
class Host:
    """What the sources are told: policy, configuration, time; and what they ask with.

    ``engine`` reaches the container engine's socket, ``fetch`` any other server;
    ``adjtimex`` returns state, status and largest error (in microseconds) of the kernel's
    clock; ``server_certificate`` the certificate (PEM)
    of a HOST:PORT, and why it would not be trusted under that name ("" where it would be).
    """

    policy: WatchdogSettings
    whole: Section
    now: float
    run: Run
    engine: Fetch
    fetch: Fetch
    adjtimex: Callable[[], tuple[int, int, int]]
    server_certificate: Callable[[str], tuple[bytes, str]]
    # When the run before this one looked, if there was one, and the failures it told of.
    last_look_at: float | None = None
    told_failures: Mapping[str, Sequence[str]] | None = None
    proc: Path = Path("/proc")
    system_run_dir: Path = Path("/run")
    unit_dir: Path = Path(layout.UNIT_DIR)
    device_dir: Path = Path("/dev/disk/by-uuid")
    fstab: Path = Path("/etc/fstab")
    ufw_dir: Path = Path("/etc/ufw")
    ufw_defaults: Path = Path("/etc/default/ufw")
    firewall_dir: Path = Path("/etc/aina-factory/firewall")
    # The addresses of a host's name; it raises where there are none.
    resolve: Callable[[str], Sequence[str]] = _resolves_nothing

    def limit(self, limit: Limit) -> Limit:
        """Return a limit as it is on this host."""
        return self.policy.limits.get(limit.name, limit)

    def written(
        self,
        value: T,
        at: float,
        by: str,
        limit: Limit | None = None,
        moments: Iterable[float | None] = (),
    ) -> Known[T] | Unknown:
        """Return what ``by`` wrote down at a time; beyond this host's limit it is unknown."""
        lasts = math.inf if limit is None else self.limit(limit).seconds
        return written(value, at, by, self.now, lasts_seconds=lasts, moments=moments)

    def is_new(self, limit: Limit) -> bool:
        """Whether the host is watched for less than the hours of a limit."""
        return self.now - self._watched_since() < self.limit(limit).seconds

    def _watched_since(self) -> float:
        """Return when the first sample that is kept was taken; now where there is none."""
        samples = Path(self.policy.state_dir, "samples.jsonl")
        if not samples.exists():
            return self.now
        with samples.open(encoding="utf-8") as lines:
            return float(json.loads(next(lines, json.dumps([self.now])))[0])


@dataclass(frozen=True, eq=False)
class Source(Generic[T]):
    """One fact: its name, and how it is read.

    ``read`` is ``None`` where the run of the watchdog itself knows the fact. It may raise:
    :class:`AbsentError` where there is nothing to know, anything else for "unknown".
    """

    name: str
    read: Callable[[Host], T | Fact[T]] | None = None


@dataclass(frozen=True)
class Facts:
    """Everything that one run knows, by source; and how long each source took."""

    now: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    found: Mapping[Source[Any], Fact[Any]] = field(default_factory=dict)
    otherwise: Unknown | Absent = NOT_GATHERED

    def __getitem__(self, source: Source[T]) -> Fact[T]:
        """Return what is known of a source."""
        fact: Fact[T] = self.found.get(source, self.otherwise)
        return fact

    def having(self, source: Source[T], fact: Fact[T], seconds: float | None = None) -> Facts:
        """Return the same facts with one more, or another one in its place."""
        took = self.seconds if seconds is None else {**self.seconds, source.name: seconds}
        return replace(self, found={**self.found, source: fact}, seconds=took)


def answered(read: Callable[[], T]) -> Fact[T]:
    """Return what ``read`` returns, or why it is unknown or absent; no error gets through."""
    return told(lambda: Known(read()))


def told(read: Callable[[], Fact[T]]) -> Fact[T]:
    """Return the fact that ``read`` returns, or why there is none; no error gets through."""
    try:
        return read()
    except AbsentError as reason:
        return Absent(str(reason))
    except (OSError, TimeoutError) as error:
        return Unknown(str(error) or type(error).__name__)
    except ValueError as error:
        return Unknown(str(error))
    except Exception as error:
        # Whatever goes wrong in one source, the others have still to be told.
        return Unknown(f"{type(error).__name__}: {error}")


def side_by_side(
    questions: Mapping[K, Callable[[], T | Fact[T]]], limit_seconds: float
) -> dict[K, Fact[T]]:
    """Ask everything at once; what is late or fails is unknown, and the others are not."""
    answers: dict[K, Fact[T]] = {}

    def answer(key: K, question: Callable[[], T | Fact[T]]) -> None:
        # Who answers after the time has been given up must change nothing.
        answers.setdefault(key, told(lambda: fact_of(question())))

    threads = [
        threading.Thread(target=answer, args=item, daemon=True) for item in questions.items()
    ]
    for thread in threads:
        thread.start()
    patience = limit_seconds
    for thread in threads:
        thread.join(patience)
        # The others have had as long.
        patience = 0.0 if thread.is_alive() else patience
    late = Unknown(f"no answer within {limit_seconds:g} s")
    return {key: answers.setdefault(key, late) for key in questions}


def fact_of(found: T | Fact[T]) -> Fact[T]:
    """Return what was told: it may say itself as of when that is, or that it is unknown."""
    return found if isinstance(found, Known | Unknown | Absent) else Known(found)


def listed(
    documents: Mapping[str, Fact[Any]], read: Callable[[Any, str], Fact[T]]
) -> Mapping[str, Fact[T]]:
    """Read each of several documents by itself: a broken one is unknown, alone."""

    def one(name: str, fact: Fact[Any]) -> Fact[T]:
        return told(lambda: read(fact.value, name)) if isinstance(fact, Known) else fact

    return {name: one(name, fact) for name, fact in documents.items()}


def documents(directory: Path) -> dict[str, Fact[Any]]:
    """Return every JSON document of a directory by its stem, each read by itself."""
    if not directory.is_dir():
        return {}
    return {path.stem: document(path) for path in sorted(directory.glob("[!.]*.json"))}


def document(path: Path) -> Fact[Any]:
    return answered(lambda: parsed(path))


def parsed(path: Path) -> Any:
    """Return a JSON document.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON.

    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
