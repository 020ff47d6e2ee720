"""Settings that are declared in one place: a field of a frozen dataclass.

The field's name is the key, its annotation the type, and :func:`setting` says the rest: default,
one sentence, bounds, who sets it. :func:`read` makes an instance of a section of the configuration.
Options of roles and modules, their documentation and the JSON schema are written from the same
fields by ``script/generate``::

    @dataclass(frozen=True)
    class Reap:
        '''What the reaper may take.'''

        grace_seconds: float = setting(86400, "A worktree that changed since stays.", minimum=0)

A class may have ``contradictions``, a method that yields (key, rule) for values that do not fit
together (of a nested one the key has dots), or (key, rule, value) to name only a part of the
value; ``renamed``, a mapping from former keys to what to write instead; and ``fitted``, a method of
an instance with defaults that returns those which go with what a section gives.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from .configuration import ConfigurationError, Problems, Section, not_known

T = TypeVar("T")

# The default of a setting that has none: whoever declares the section must give it.
REQUIRED: Any = dataclasses.MISSING


class _LaterError(Exception):
    """Somebody asked for a value that is not known yet."""


class _Later:
    """A value that answers no question."""

    def _refuse(self, *_: object) -> Any:
        raise _LaterError

    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __getattr__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __hash__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __float__ = __int__ = __str__ = __format__ = _refuse


# Stands for a value that is not known yet: nothing is said about it, nor about what it goes with.
LATER: Any = _Later()

Kind = Literal["", "path", "url", "https_url"]
# Kind -> expression for the whole value, and the rule in words.
FORMS: Mapping[str, tuple[str, str]] = {
    "path": (r"/.*", "be an absolute path"),
    "url": (r"https?://[^/?#@\s]+(/[^?#\s]*)?", "be an http(s) address"),
    "https_url": (r"https://[^/?#@\s]+(/[^?#\s]*)?", "be an https address"),
}
# Of a path that may be empty although its default is not.
OPTIONAL_PATH = (r"(/.*)?", "be an absolute path, or empty")
_UNITS = {
    "seconds": "seconds",
    "minutes": "minutes",
    "hours": "hours",
    "days": "days",
    "bytes": "bytes",
    "mib": "MiB",
    "percent": "percent",
}
_PLURALS = {str: "strings", int: "whole numbers", float: "numbers", bool: "booleans"}
_METADATA = "aina.factory.setting"


@dataclass(frozen=True)
class _Rule:
    """What :func:`setting` was told."""

    text: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    form: tuple[str, str] | None
    kind: Kind
    adds: bool | None
    by: Literal["site", "role"]
    short: str
    unique: tuple[str, ...]
    keys: tuple[str, ...]
    named: str
    names: tuple[str, str] | None
    expression: str
    key: str
    partial: bool


def setting(
    default: T,
    text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Iterable[str] = (),
    form: tuple[str, str] | None = None,
    kind: Kind = "",
    adds: bool | None = None,
    by: Literal["site", "role"] = "site",
    short: str = "",
    unique: Iterable[str] = (),
    keys: Iterable[str] = (),
    named: str = "",
    names: tuple[str, str] | None = None,
    expression: str = "",
    key: str = "",
    partial: bool = False,
) -> T:
    """Declare a setting; ``text`` is the sentence that users read.

    ``form`` is an expression for the whole value and its rule in words ("be a date"); ``kind``
    names a common one. Bounds, choices and forms of a list or mapping are those of its items. A
    string whose default is empty may be empty.

    ``adds`` says of a list or mapping with a default that is not empty whether what is given is
    added to it or replaces it. ``by`` "role" is a setting that no inventory gives: the role fills it.

    ``short`` names the key of a nested class that is meant where something else than a mapping is
    given. ``unique`` names keys that no two items of a list share. ``named`` is the one of them by
    which messages call an item, rather than by its number. ``keys`` are the only ones that a mapping
    may have; ``names`` is a form that they must have. ``expression`` is what an inventory says that
    says nothing, where that is one of Ansible, such as the host's name. ``key`` is the key where it
    cannot be the field's name. Of ``partial`` items an inventory gives only what differs from those
    that the role has.
    """
    rule = _Rule(
        *(text, minimum, maximum, tuple(choices), form or FORMS.get(kind), kind, adds, by, short),
        *(
            tuple(dict.fromkeys([*([named] if named else []), *unique])),
            tuple(keys),
            named,
            names,
            expression,
            key,
            partial,
        ),
    )
    what: dict[str, Any] = {"kw_only": True, "metadata": {_METADATA: rule}}
    if isinstance(default, dict):
        what["default_factory"] = lambda: default
    elif default is not REQUIRED:
        what["default"] = default
    # It is called where a field stands, if only by way of this function.
    found: Any = dataclasses.field(**what)  # pylint: disable=invalid-field-call
    return typing.cast(T, found)


@dataclass(frozen=True)
class Setting:
    """One key as it was declared. ``item`` is the type of the value, or of its items."""

    key: str
    default: Any
    container: Literal["", "list", "mapping"]
    item: type
    optional: bool
    rule: _Rule
    field: str

    @property
    def required(self) -> bool:
        """Whether the key must be given."""
        return self.default is REQUIRED

    @property
    def nested(self) -> type | None:
        """The class of the value or of its items, where these are sections of their own."""
        return self.item if dataclasses.is_dataclass(self.item) else None

    @property
    def unit(self) -> str:
        """The unit, which the key's last word names; empty for none."""
        return _UNITS.get(self.key.rpartition("_")[2], "")

    def of(self, values: Any) -> Any:
        """Return the default, which an instance of the class may have instead."""
        return self.default if values is None else getattr(values, self.field)

    def inner(self, default: Any) -> Any:
        """Return the instance that has the defaults of a nested class, if there is one."""
        is_instance = not self.container and dataclasses.is_dataclass(default)
        return default if is_instance else None

    def read(self, section: Section, default: Any) -> Any:
        """Return the value that ``section`` has, or ``default``."""
        given = section.value(self.key, None)
        if given is None:
            if default is REQUIRED:
                raise ConfigurationError(f"{section.path}.{self.key} is missing")
            return default
        if given is LATER:
            return LATER
        if self.container == "list":
            return self._list(section, given, default)
        if self.container == "mapping":
            return self._mapping(section, given, default)
        return self._one(section.path, self.key, given, default)

    def _list(self, section: Section, given: object, default: Any) -> tuple[Any, ...]:
        if not isinstance(given, list | tuple):
            raise section.error(self.key, given, f"be a list of {self._plural}")
        problems, found = Problems(), []
        for index, item in enumerate(given):
            with problems.noted():
                found.append(self._one(*self._place(section.path, index, item), item, REQUIRED))
        problems.refuse()
        items = tuple(found)
        refuse_doubles(f"{section.path}.{self.key}", items, self.rule.unique)
        if not self._adds(default):
            return items
        return (*default, *(item for item in items if item is LATER or item not in default))

    def _place(self, path: str, index: int, item: object) -> tuple[str, str]:
        """Return how messages call an item of a list: its path, and its name below that."""
        name = item.get(self.rule.named) if isinstance(item, Mapping) and self.rule.named else None
        if self.nested and isinstance(name, str):
            own = next(each for each in settings_of(self.nested) if each.key == self.rule.named)
            if own.rule.form is None or re.fullmatch(own.rule.form[0], name):
                # The jobs of the section jobs need no second "jobs".
                at = path.rpartition(".")[2] == self.key
                return (path if at else f"{path}.{self.key}"), name
        return path, f"{self.key}[{index}]"

    def _mapping(self, section: Section, given: object, default: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise section.error(self.key, given, f"map names to {self._plural}")
        place = f"{section.path}.{self.key}"
        known = self.rule.keys
        problems, items = Problems(), {}
        for name, item in given.items():
            with problems.noted():
                if known and name not in known:
                    raise ConfigurationError(not_known(f"{place}.{name}", known))
                if self.rule.names and not re.fullmatch(self.rule.names[0], name):
                    raise section.error(self.key, name, self.rule.names[1])
                items[name] = self._one(place, name, item, REQUIRED)
        problems.refuse()
        return {**default, **items} if self._adds(default) else items

    def _adds(self, default: Any) -> bool:
        return default is not REQUIRED and default is not None and self.rule.adds is True

    @property
    def _plural(self) -> str:
        if self.nested and self.rule.short:
            short = next(each for each in settings_of(self.nested) if each.key == self.rule.short)
            return f"{short._plural} or mappings"
        return "mappings" if self.nested else _PLURALS.get(self.item, "values")

    def _one(self, path: str, name: str, given: Any, default: Any) -> Any:
        if given is LATER:
            return LATER
        if self.nested:
            if self.rule.short and not isinstance(given, Mapping):
                given = {self.rule.short: given}
            inner = None if default is REQUIRED else default
            return read(self.nested, Section(given, f"{path}.{name}"), inner)
        if self.item is object:
            return given
        return self._scalar(Section({name: given}, path), name)

    def _scalar(self, section: Section, name: str) -> Any:
        rule = self.rule
        bounds = {"minimum": rule.minimum, "maximum": rule.maximum}
        if self.item is bool:
            return section.boolean(name)
        if self.item is int:
            return section.integer(name, **typing.cast(Any, bounds))
        if self.item is float:
            return section.number(name, **bounds)
        value = section.text(name)
        if value == "" and self.default == "":
            return value
        if rule.choices and value not in rule.choices:
            raise section.error(name, value, f"be one of {', '.join(rule.choices)}")
        if rule.form and not re.fullmatch(rule.form[0], value):
            raise section.error(name, value, rule.form[1])
        return (value.rstrip("/") or "/") if rule.kind else value


def refuse_doubles(place: str, items: Sequence[object], keys: Iterable[str]) -> None:
    """Refuse items that share what is one's alone; ``place`` names their list in the message.

    Raises:
        ConfigurationError: two have the same value of one of ``keys``.

    """
    for key in keys:
        values = [getattr(item, key) for item in items if item is not LATER]
        values = [value for value in values if value is not LATER and value != ""]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ConfigurationError(f"{place}: {key} {twice!r} is declared twice")


def read(cls: type[T], section: Section, default: T | None = None, **given: object) -> T:
    """Return what a section declares; ``default`` has the values of keys that are left out.

    ``given`` are fields that are no settings.

    Raises:
        ConfigurationError: a value is wrong, two contradict each other, a key is unknown.

    """
    problems = Problems()
    with problems.noted():
        found = read_some(cls, section, default, **given)
    with problems.noted():
        section.done(former=getattr(cls, "renamed", {}))
    problems.refuse()
    return found


def read_some(cls: type[T], section: Section, default: T | None = None, **given: object) -> T:
    """Return what a class declares of a section; other keys are others' business.

    Raises:
        ConfigurationError: a value is wrong, or two contradict each other.

    """
    problems, values = Problems(), dict[str, Any]()
    renamed: Mapping[str, str] = getattr(cls, "renamed", {})
    for key, now in renamed.items():
        with problems.noted():
            if key in section:
                raise ConfigurationError(f"{section.path}.{key} is now {now}")
    fitted = getattr(default, "fitted", None)
    if fitted:
        known = {key: value for key, value in section.items() if value is not LATER}
        with problems.noted():
            default = fitted(Section(known, section.path))
    for item in settings_of(cls):
        with problems.noted():
            values[item.field] = item.read(section, item.of(default))
    problems.refuse()
    # What is no setting stays as the default has it.
    made: Any = cls if default is None else functools.partial(dataclasses.replace, default)
    found = typing.cast(T, made(**values, **given))
    # A rule that hangs on what is not known yet cannot be judged, nor can those after it.
    with suppress(_LaterError):
        for key, rule, *value in _contradictions(found):
            with problems.noted():
                raise section.error(key, value[0] if value else _at(found, key), rule)
    problems.refuse()
    return found


def _contradictions(found: object) -> Iterator[tuple[Any, ...]]:
    method = getattr(found, "contradictions", None)
    return method() if method else iter(())


def _at(value: Any, key: str) -> Any:
    """Return the value of a key with dots in it."""
    for name in key.split("."):
        value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    return value


def settings_of(cls: type) -> tuple[Setting, ...]:
    """Return the settings of a class, in the order of their declaration.

    Raises:
        TypeError: a declaration makes no sense; said at the first use, for the programmer.

    """
    return _described(cls)


@functools.cache
def _described(cls: Any) -> tuple[Setting, ...]:
    hints = typing.get_type_hints(cls)
    return tuple(
        _setting(cls, field, hints[field.name])
        for field in dataclasses.fields(cls)
        if _METADATA in field.metadata
    )


def _setting(cls: type, field: dataclasses.Field[Any], hint: Any) -> Setting:
    rule: _Rule = field.metadata[_METADATA]
    default: Any = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    optional = False
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        parts = [part for part in typing.get_args(hint) if part is not types.NoneType]
        optional, hint = len(parts) < len(typing.get_args(hint)), parts[0]
        if not optional or len(parts) != 1:
            raise TypeError(f"{cls.__name__}.{field.name}: only None may stand beside one type")
    container: Literal["", "list", "mapping"] = ""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple and len(inner) == 2 and inner[1] is Ellipsis:
        container, hint = "list", inner[0]
    elif origin is not None and issubclass(origin, Mapping) and inner[0] is str:
        container, hint = "mapping", inner[1]
    if hint not in (str, int, float, bool, object) and not dataclasses.is_dataclass(hint):
        raise TypeError(f"{cls.__name__}.{field.name}: {hint} is no type of a setting")
    if container and default not in (REQUIRED, None) and len(default) and rule.adds is None:
        raise TypeError(f"{cls.__name__}.{field.name}: adds must say what becomes of the default")
    return Setting(rule.key or field.name, default, container, hint, optional, rule, field.name)


def argument_spec(cls: type, default: Any = None) -> dict[str, dict[str, Any]]:
    """Return the options of a module that takes what the site may set of a class."""
    return {item.key: option(item, item.of(default)) for item in site_settings(cls)}


def site_settings(cls: type) -> Sequence[Setting]:
    """Return what an inventory may say of a class."""
    return [item for item in settings_of(cls) if item.rule.by == "site"]


def unfinished(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section of which only a part is known: what is left out comes :data:`LATER`."""
    found = {item.key: LATER for item in settings_of(cls)} | dict(given)
    for item in settings_of(cls):
        value = found[item.key]
        if item.nested and isinstance(value, Mapping):
            if not item.container:
                found[item.key] = unfinished(item.nested, value)
            elif item.rule.partial:
                found[item.key] = {
                    name: unfinished(item.nested, each) if isinstance(each, Mapping) else each
                    for name, each in value.items()
                }
    return found


_TYPES: Mapping[type, str] = {str: "str", int: "int", float: "float", bool: "bool"}


def option(item: Setting, default: Any) -> dict[str, Any]:
    """Return a setting as an option of a module or role; what it cannot say, the reader judges."""
    kind = (
        "path" if item.rule.kind == "path" and item.default != "" else _TYPES.get(item.item, "raw")
    )
    # Where something else than a mapping can stand, Ansible must not insist on one.
    if item.nested and not (item.rule.short or item.rule.expression):
        kind = "dict"
    found: dict[str, Any] = {"type": kind}
    if item.container == "list":
        found = {"type": "list", "elements": kind}
    elif item.container == "mapping":
        found = {"type": "dict"}
    if item.rule.choices and item.container != "mapping":
        found["choices"] = list(item.rule.choices)
    if default is REQUIRED:
        found["required"] = True
    elif default is not None:
        found["default"] = plain_default(item, default)
    if re.search("token|secret|password|key", item.key):
        found["no_log"] = (
            False  # Ansible asks for a word: a setting names a file, it holds no secret
        )
    if item.nested and kind == "dict" and item.container != "mapping":
        found["options"] = argument_spec(item.nested, item.inner(default))
    return found


def plain_default(item: Setting, default: Any) -> Any:
    """Return the default as a document has it: of what is added to, that nothing is added."""
    if item.rule.expression and default == item.rule.expression:
        return default
    if item.container == "list":
        return [] if item.rule.adds else [plain(each) for each in default]
    if item.container == "mapping":
        return {} if item.rule.adds else {name: plain(each) for name, each in default.items()}
    return {} if dataclasses.is_dataclass(default) else plain(default)


def plain(value: Any) -> Any:
    """Return a value in the form of a document; a section has what differs from nothing."""
    if dataclasses.is_dataclass(value):
        return {item.key: plain(getattr(value, item.field)) for item in settings_of(type(value))}
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, float) and value == int(value):
        return int(value)
    return value
