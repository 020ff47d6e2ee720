"""Agents as data: how one is called, where its home comes from, which requests leave the lane.

An agent is a file of ``images/agents`` in this form, which the inventory can change; no code
knows one by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..base import settings
from ..base.configuration import Section
from ..base.settings import REQUIRED, setting

MODEL_FORM = ("[A-Za-z0-9][A-Za-z0-9._:/-]{0,100}", "be the name of a model")
EFFORT_FORM = (MODEL_FORM[0], "be a word such as high")
NAME_FORM = ("[a-z0-9][a-z0-9-]{0,62}", "be lower-case letters, digits and dashes")
_BELOW_HOME = (r"(?!(.*/)?\.\.(/|$))[A-Za-z0-9._-][A-Za-z0-9._/-]*", "be a path below the home")
_WORD = ("[A-Za-z0-9][A-Za-z0-9_.-]*", "be one word of letters, digits, dashes and dots")


@dataclass(frozen=True)
class Usage:
    """Where one kind of event of the answer says how many tokens were used."""

    event: str = setting("", "The type of the event; empty where events have none.")
    at: tuple[str, ...] = setting(REQUIRED, "The keys that lead to the counts, outermost first.")
    input: tuple[str, ...] = setting(
        (), "Keys whose counts together are what went in; it may be counted in parts."
    )
    output: tuple[str, ...] = setting((), "Keys whose counts together are what came out.")
    cached: tuple[str, ...] = setting(
        (),
        "Keys whose counts together are the part of the input that was read from a cache, and is"
        " billed as such; a dot leads to an inner key.",
    )


@dataclass(frozen=True)
class Route:
    """The one kind of request that reaches a model, and the secret that is added to it."""

    path: str = setting(
        REQUIRED, "Path and query of the request.", form=("/.*", "be a path from the root")
    )
    upstream: str = setting(
        REQUIRED,
        "Where the model answers; only https, as the secret goes there.",
        kind="https_url",
    )
    header: str = setting(REQUIRED, "The header that holds the secret.", form=_WORD)
    value: str = setting(
        "{key}",
        "What that header says; `{key}` stands for the secret.",
        form=(r".*\{key\}.*", "hold {key}, where the secret goes"),
    )
    credential: str = setting(
        REQUIRED, "Name of the secret, a key of `lanes_credentials`.", form=_WORD
    )
    completed_event: str = setting(
        REQUIRED,
        "The type of the event with which a whole answer ends, or its text such as `[DONE]`.",
    )
    fields: tuple[str, ...] = setting(
        REQUIRED, "Keys of a request that reach the model; all others are left out."
    )
    forced: Mapping[str, object] = setting(
        {"stream": True}, "What a request says in any case, whatever the agent wrote.", adds=True
    )
    tools: tuple[str, ...] = setting(
        ("function", "custom"),
        "Types of tools that the agent itself runs; all others are left out. A star stands for any"
        " ending, and `custom` for a tool without a type.",
        adds=False,
    )
    output_limit: str = setting("", "Key of a request that bounds the tokens of its answer.")
    headers: tuple[str, ...] = setting(
        (), "Headers of the agent that reach the model, beside what it accepts.", form=_WORD
    )
    usage: tuple[Usage, ...] = setting(
        REQUIRED, "Which events of the answer say how many tokens were used."
    )


@dataclass(frozen=True)
class SessionEvent:
    """Which event of the agent's output names its session."""

    type: str = setting("", "The type of the event.")
    field: str = setting("", "The key that holds the session's name.")


@dataclass(frozen=True)
class Agent:
    """An agent: how it is called, and which requests of it reach a model."""

    command: tuple[str, ...] = setting(
        REQUIRED,
        "Its argument list; `{model}` and `{effort}` stand for those of the project. The prompt"
        " comes on standard input.",
    )
    resume_command: tuple[str, ...] = setting(
        (), "The same where it goes on with `{session}`; empty if it cannot."
    )
    model: str = setting("", "Model of a project that names none.", form=MODEL_FORM)
    effort: str = setting("high", "Effort of a project that names none.", form=EFFORT_FORM)
    home: str = setting(
        REQUIRED, "Template of its home, below `/etc/aina-lane/homes` of the image.", form=NAME_FORM
    )
    environment: Mapping[str, str] = setting(
        {},
        "Variables that it sees; `{model}` and `{effort}` as above. No place for secrets.",
        names=("[A-Za-z_][A-Za-z0-9_]*", "map names of variables to text"),
    )
    instructions: str = setting(
        "", "File below its home from which it takes what the lane tells it.", form=_BELOW_HOME
    )
    sessions: str = setting(
        "",
        "Directory below its home with its sessions, kept so that a lane can be resumed.",
        form=_BELOW_HOME,
    )
    session_event: SessionEvent = setting(
        SessionEvent(), "Which event of its output names its session."
    )
    guarded_paths: tuple[str, ...] = setting(
        (),
        "What in a repository steers this agent, beside the standard `guarded_paths`; a person"
        " approves changes of it in every project.",
    )
    route: Route = setting(REQUIRED, "The one kind of request that reaches a model.")

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a command that names no program."""
        if not self.command:
            yield "command", "name the agent's program"

    def argv(self, model: str, effort: str, session: str = "") -> list[str]:
        """Return the agent's own argument list, resuming ``session`` when there is one."""
        words = self.resume_command if session else self.command
        values = {"model": model, "effort": effort, "session": session}
        return [_filled(word, values) for word in words]

    def variables(self, model: str, effort: str) -> dict[str, str]:
        values = {"model": model, "effort": effort}
        return {name: _filled(value, values) for name, value in self.environment.items()}


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def route_from_document(document: Mapping[str, Any]) -> Route:
    """Return a route that :class:`gateway.LanePolicy` wrote down.

    Raises:
        ConfigurationError: it is damaged.

    """
    return settings.read(Route, Section(document, "policy.route"))
