"""Run a program, and take its failure for an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict, Unpack

from .errors import FactoryError
from .ports import Completed, Run


class CommandError(FactoryError):
    """A program did not run, did not end in time, or failed; the message names and quotes it."""


class Options(TypedDict, total=False):
    """What ``Run`` takes besides a program's words."""

    cwd: str | None
    stdin: bytes
    environment: Mapping[str, str] | None
    timeout_seconds: float | None


def ended(
    run: Run,
    argv: Sequence[str],
    *,
    name: str = "",
    error: type[FactoryError] = CommandError,
    **options: Unpack[Options],
) -> Completed:
    """Run a program to its end, whatever its exit status; messages call it ``name``.

    Raises:
        CommandError: it did not run, or did not end in time; ``error`` takes its place.

    """
    try:
        return run(argv, **options)
    except (OSError, TimeoutError) as failure:
        raise error(f"{name or _name(argv)}: {failure}") from failure


def checked(
    run: Run,
    argv: Sequence[str],
    *,
    name: str = "",
    error: type[FactoryError] = CommandError,
    **options: Unpack[Options],
) -> Completed:
    """Run a program that must succeed; messages call it ``name``, or by its first words.

    Raises:
        CommandError: it did not run, did not end in time, or failed; ``error`` takes its place.

    """
    done = ended(run, argv, name=name, error=error, **options)
    if not done.ok:
        raise error(f"{name or _name(argv)}: {done.said}")
    return done


def output(
    run: Run,
    argv: Sequence[str],
    *,
    name: str = "",
    error: type[FactoryError] = CommandError,
    **options: Unpack[Options],
) -> str:
    """Return what a program prints that must succeed, as :func:`checked` runs it."""
    done = checked(run, argv, name=name, error=error, **options)
    return done.stdout.decode(errors="replace")


def _name(argv: Sequence[str]) -> str:
    return " ".join(argv[:4])
