"""Run a program, and take its failure for an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .errors import FactoryError
from .ports import Completed, Run


class CommandError(FactoryError):
    """A program did not run, did not end in time, or failed; the message names and quotes it."""


def checked(
    run: Run,
    argv: Sequence[str],
    *,
    name: str = "",
    error: type[FactoryError] = CommandError,
    cwd: str | None = None,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Completed:
    """Run a program that must succeed; messages call it ``name``, or by its first words.

    Raises:
        CommandError: it did not run, did not end in time, or failed; ``error`` takes its place.

    """
    name = name or " ".join(argv[:4])
    try:
        done = run(
            argv, cwd=cwd, stdin=stdin, environment=environment, timeout_seconds=timeout_seconds
        )
    except (OSError, TimeoutError) as failure:
        raise error(f"{name}: {failure}") from failure
    if not done.ok:
        raise error(f"{name}: {done.said}")
    return done


def output(
    run: Run,
    argv: Sequence[str],
    *,
    name: str = "",
    error: type[FactoryError] = CommandError,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> str:
    """Return what a program prints that must succeed, as :func:`checked` runs it."""
    done = checked(
        run, argv, name=name, error=error, environment=environment, timeout_seconds=timeout_seconds
    )
    return done.stdout.decode(errors="replace")
