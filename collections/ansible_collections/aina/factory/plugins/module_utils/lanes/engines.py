"""Agents as data: how one is called, where its home comes from, which requests leave the lane.

An agent is a file of ``images/engines`` in this form, which the inventory can change; no code
knows one by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..base.configuration import ConfigurationError, Section


@dataclass(frozen=True)
class Usage:
    """Where one kind of event of the stream says how many tokens were used, by its field names.

    What goes in may be counted in parts, such as that which was cached.
    """

    event: str
    at: tuple[str, ...]
    input: tuple[str, ...]
    output: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """The one kind of request that reaches a model, and the secret that is added to it."""

    path: str
    upstream: str
    header: str
    value: str
    credential: str
    completed_event: str
    usage: tuple[Usage, ...]


@dataclass(frozen=True)
class Engine:
    """One agent; ``home`` names the template in the image, paths are below the lane's home.

    ``model`` and ``effort`` are those of a project that names none, ``guarded_paths`` what in a
    repository steers this agent besides what is known to steer any.
    """

    name: str
    command: tuple[str, ...]
    resume_command: tuple[str, ...]
    model: str
    effort: str
    home: str
    environment: Mapping[str, str]
    instructions: str
    sessions: str
    session_event: tuple[str, str]
    guarded_paths: tuple[str, ...]
    route: Route

    def argv(self, model: str, effort: str, session: str = "") -> list[str]:
        """Return the agent's own argument list, resuming ``session`` when there is one."""
        words = self.resume_command if session else self.command
        values = {"model": model, "effort": effort, "session": session}
        return [_filled(word, values) for word in words]

    def variables(self, model: str, effort: str) -> dict[str, str]:
        """Return the agent's environment."""
        values = {"model": model, "effort": effort}
        return {name: _filled(value, values) for name, value in self.environment.items()}


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def from_value(given: Any, path: str) -> dict[str, Engine]:
    """Read the mapping ``engines``.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown.

    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{path} is {given!r}; it must be a mapping")
    names = sorted(map(str, given))
    return {name: _engine(name, Section(given[name], f"{path}.{name}")) for name in names}


def _engine(name: str, section: Section) -> Engine:
    command = section.strings("command")
    if not command:
        raise ConfigurationError(f"{section.path}.command is empty; it must name the agent")
    engine = Engine(
        name=name,
        command=tuple(command),
        resume_command=tuple(section.strings("resume_command", ())),
        model=section.text("model", ""),
        effort=section.text("effort", "high"),
        home=section.text("home"),
        environment=section.mapping_of_strings("environment", {}),
        instructions=section.text("instructions", ""),
        sessions=section.text("sessions", ""),
        session_event=_session_event(section.section("session_event", {})),
        guarded_paths=tuple(section.strings("guarded_paths", ())),
        route=_route(section.section("route")),
    )
    section.done()
    return engine


def _session_event(section: Section) -> tuple[str, str]:
    found = (section.text("type", ""), section.text("field", ""))
    section.done()
    return found


def route_from_document(document: Mapping[str, Any]) -> Route:
    """Return a route that :class:`gateway.Permit` wrote down.

    Raises:
        ConfigurationError: it is damaged.

    """
    return _route(Section(document, "permit.route"))


def _route(section: Section) -> Route:
    upstream = section.text("upstream")
    if not upstream.startswith("https://"):
        raise section.error("upstream", upstream, "be an https address: a secret goes there")
    value = section.text("value", "{key}")
    if "{key}" not in value:
        raise section.error("value", value, "hold {key}, where the secret goes")
    route = Route(
        path=section.absolute_path("path"),
        upstream=upstream.rstrip("/"),
        header=section.text("header"),
        value=value,
        credential=section.text("credential"),
        completed_event=section.text("completed_event"),
        usage=tuple(_usage(item) for item in section.sections("usage")),
    )
    section.done()
    return route


def _usage(section: Section) -> Usage:
    usage = Usage(
        event=section.text("event"),
        at=tuple(section.strings("at")),
        input=tuple(section.strings("input", ())),
        output=tuple(section.strings("output", ())),
    )
    section.done()
    return usage
