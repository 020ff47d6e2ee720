"""Typed reading of configuration mappings, with errors that name the key.

Each capability reads its own section (``janitor``, ``jobs``, ...) through a
:class:`Section` into its own dataclass, so that a wrong value is reported as
``janitor.disk_used_high_percent is 120; it must lie between 1 and 100``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

from .errors import FactoryError

_MISSING = object()


class ConfigurationError(FactoryError, ValueError):
    """Configuration values are wrong: of each a line names the key, the value and the rule."""

    def __init__(self, *problems: str) -> None:
        """Take a sentence for each value that is wrong."""
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """What is found to be wrong while the rest is still looked at."""

    def __init__(self) -> None:
        """Begin with none."""
        self._found: list[str] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep what goes wrong within."""
        try:
            yield
        except ConfigurationError as error:
            self._found += [each for each in error.problems if each not in self._found]

    def refuse(self) -> None:
        """Say what was wrong.

        Raises:
            ConfigurationError: something was.

        """
        if self._found:
            raise ConfigurationError(*self._found)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return which of the known words may be meant; empty when none is near."""
    names = sorted(known)
    begun = [name for name in names if name.startswith(word) or word.startswith(name)]
    found = begun or difflib.get_close_matches(word, names, n=1)
    return found[0] if found else ""


def not_known(path: str, known: Iterable[str]) -> str:
    """Return the message about a key that nobody knows: which of the ``known`` may be meant."""
    names = sorted(known)
    near = nearest(path.rpartition(".")[2], names)
    return f"{path} is not known; " + (
        f"did you mean {near}?" if near else f"known are: {', '.join(names)}"
    )


class Section:
    """One mapping of the configuration, read key by key.

    Call :meth:`done` after the last read: a key that nobody asked for is an error,
    since a misspelt key would otherwise silently keep its default.
    """

    def __init__(self, values: Any, path: str) -> None:
        """Wrap ``values``; ``path`` is the dotted name used in messages.

        Raises:
            ConfigurationError: ``values`` is not a mapping.

        """
        if not isinstance(values, Mapping):
            raise ConfigurationError(f"{path} is {values!r}; it must be a mapping")
        self._values = values
        self._path = path
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        """Whether the mapping has the key."""
        return key in self._values

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return the keys with their values, unread."""
        return self._values.items()

    @property
    def path(self) -> str:
        """The dotted name that messages use."""
        return self._path

    def has(self, key: str) -> bool:
        """Whether the key has a value; ``null`` is none."""
        self._read.add(key)
        return self._values.get(key) is not None

    def value(self, key: str, default: Any = _MISSING) -> Any:
        """Return a value of any type; its reader checks it and raises :meth:`error`."""
        return self._take(key, default)

    def error(self, key: str, value: object, rule: str) -> ConfigurationError:
        """Return the error that ``value`` of ``key`` breaks ``rule`` ("be a date")."""
        return self._fail(key, value, rule)

    def _take(self, key: str, default: Any) -> Any:
        self._read.add(key)
        if key in self._values and self._values[key] is not None:
            return self._values[key]
        if default is _MISSING:
            raise ConfigurationError(f"{self._path}.{key} is missing")
        return default

    def _fail(self, key: str, value: object, rule: str) -> ConfigurationError:
        return ConfigurationError(f"{self._path}.{key} is {value!r}; it must {rule}")

    def text(self, key: str, default: Any = _MISSING, *, choices: Iterable[str] = ()) -> str:
        """Return a string, one of ``choices`` when given."""
        value = self._take(key, default)
        if not isinstance(value, str):
            raise self._fail(key, value, "be a string")
        allowed = list(choices)
        if allowed and value not in allowed:
            raise self._fail(key, value, f"be one of {', '.join(allowed)}")
        return value

    def absolute_path(self, key: str, default: Any = _MISSING) -> str:
        """Return an absolute path without a trailing slash."""
        value = self.text(key, default)
        if not value.startswith("/"):
            raise self._fail(key, value, "be an absolute path")
        return value.rstrip("/") or "/"

    def absolute_paths(self, key: str, default: Any = _MISSING) -> list[str]:
        """Return a list of absolute paths without trailing slashes."""
        values = self.strings(key, default)
        if not all(value.startswith("/") for value in values):
            raise self._fail(key, values, "be a list of absolute paths")
        return [value.rstrip("/") or "/" for value in values]

    def boolean(self, key: str, default: Any = _MISSING) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            raise self._fail(key, value, "be true or false")
        return value

    def number(
        self,
        key: str,
        default: Any = _MISSING,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
    ) -> float:
        """Return a number within the given bounds."""
        value = self._take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self._fail(key, value, "be a number")
        if minimum is not None and maximum is not None and not minimum <= value <= maximum:
            raise self._fail(key, value, f"lie between {minimum:g} and {maximum:g}")
        if minimum is not None and value < minimum:
            raise self._fail(key, value, f"be at least {minimum:g}")
        if maximum is not None and value > maximum:
            raise self._fail(key, value, f"be at most {maximum:g}")
        return value

    def integer(
        self,
        key: str,
        default: Any = _MISSING,
        *,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> int:
        """Return a whole number within the given bounds."""
        value = self.number(key, default, minimum=minimum, maximum=maximum)
        if int(value) != value:
            raise self._fail(key, value, "be a whole number")
        return int(value)

    def strings(self, key: str, default: Any = _MISSING) -> list[str]:
        """Return a list of strings."""
        value = self._take(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self._fail(key, value, "be a list of strings")
        return list(value)

    def section(self, key: str, default: Any = _MISSING) -> Section:
        return Section(self._take(key, default), f"{self._path}.{key}")

    def sections(self, key: str, default: Any = _MISSING) -> list[Section]:
        """Return a list of nested sections; an item's path carries its index."""
        value = self._take(key, default)
        if not isinstance(value, list | tuple):
            raise self._fail(key, value, "be a list")
        return [Section(item, f"{self._path}.{key}[{index}]") for index, item in enumerate(value)]

    def done(self, former: Collection[str] = ()) -> None:
        """Check that every key was read; of the ``former`` ones somebody else has said so.

        Raises:
            ConfigurationError: there are keys that nobody knows.

        """
        unknown = {str(key) for key in self._values if key not in self._read}.difference(former)
        if unknown:
            raise ConfigurationError(
                *(not_known(f"{self._path}.{key}", self._read) for key in sorted(unknown))
            )
