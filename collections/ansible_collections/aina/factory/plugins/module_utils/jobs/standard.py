"""The jobs that the capabilities bring, and what an inventory changes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..base.configuration import ConfigurationError, nearest

Keys = Mapping[str, object]


@dataclass(frozen=True)
class Standard:
    """A job that the role ``role`` brings: its keys as the role factory_crons takes them."""

    role: str
    keys: Keys
    in_use: bool = True

    @property
    def name(self) -> str:
        """The name, by which an inventory changes the job."""
        return str(self.keys.get("name", ""))


def merge(standard: Sequence[Standard], declared: Sequence[Keys]) -> list[dict[str, object]]:
    """Return all jobs of a host: the standard ones as the inventory changes them, then its own.

    Args:
        standard: the jobs that roles bring. One that is not in use is left out.
        declared: the inventory's entries. One with the name of a standard job changes keys of it;
            another one is a job of the inventory's own.

    Raises:
        ConfigurationError: an entry means no job, or two roles bring the same.

    """
    known = _by_name(standard)
    changes = [entry for entry in declared if entry.get("name") in known]
    own = [entry for entry in declared if entry.get("name") not in known]
    problems = [problem for entry in own for problem in _problems(entry, standard)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    return [*_standard(known, changes), *map(dict, own)]


def _by_name(standard: Sequence[Standard]) -> dict[str, Standard]:
    known: dict[str, Standard] = {}
    for job in standard:
        other = known.setdefault(job.name, job)
        if other is not job:
            raise ConfigurationError(f"{other.role} and {job.role} both bring a job {job.name!r}")
    return known


def _standard(
    known: Mapping[str, Standard], changes: Sequence[Keys]
) -> Iterator[dict[str, object]]:
    for name, job in known.items():
        # More than one is the reader's to refuse, who counts them.
        entries = [entry for entry in changes if entry["name"] == name] or [{}]
        if job.in_use:
            yield from ({**job.keys, **entry} for entry in entries)
        else:
            # It says all that a job needs: a job of the inventory's own that has the name.
            yield from (dict(entry) for entry in entries if "command" in entry)


def _problems(entry: Keys, standard: Sequence[Standard]) -> Iterator[str]:
    name = str(entry.get("name", ""))
    if "command" in entry or not name:
        return  # the reader judges it
    near = nearest(name, (job.name for job in standard))
    if near:
        yield f"jobs.{name} is no job; did you mean {near}?"
    elif entry.get("state") != "absent":
        names = ", ".join(sorted(job.name for job in standard))
        yield (
            f"jobs.{name} is no job of a capability ({names});"
            " a job of your own needs schedule and command"
        )
