"""The secrets that an inventory speaks of: by which variable, for what, and what each must be allowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from ..base.github import rights
from ..base.github.settings import GitHub, Login

DIRECTORY = "/etc/aina-factory/secrets"
PLUGIN = (
    "install the collection community.sops, and put vars_plugins_enabled ="
    " host_group_vars,community.sops.sops below [defaults] of ansible.cfg"
)
# Variables of these names hold secrets, by the custom of every example here.
VARIABLE = re.compile(r"\b(?:secret|vault)_[a-z0-9_]+\b")
_EXPRESSION = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
# A project's part -> the capability that works on it.
_PARTS = {"lanes": "lanes", "merge": "marshal", "runner": "runners", "workflows": "workflows"}


@dataclass(frozen=True)
class Needed:
    """One secret, and what is known of its use."""

    variable: str
    file: str = ""
    # What waits for it, as a person says it.
    used_by: tuple[str, ...] = ()
    # Repository -> what a token must be allowed there.
    permissions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # The login that it serves, where it serves one.
    login: Login | None = None

    @property
    def wanted(self) -> str:
        """What to put there, in words."""
        if self.login and self.login.method == "github_app":
            every = rights.together(self.permissions.values())
            return f"the private key of GitHub App {self.login.app_id}, with {', '.join(rights.words(every))}"
        if self.login and self.permissions:
            every = rights.together(self.permissions.values())
            scopes = ", ".join(rights.scopes_for(every))
            classic = f"a classic token with the scopes {scopes}"
            beyond = [name for name in every if name in rights.ONLY_APPS_AND_CLASSIC]
            if beyond:
                return f"{classic}; a fine-grained one cannot have {', '.join(beyond)}, a GitHub App can"
            return (
                f"a fine-grained token for {', '.join(sorted(self.permissions))} with"
                f" {', '.join(rights.words(every))}; or {classic}"
            )
        return ""


def mentioned(variables: Mapping[str, Any]) -> set[str]:
    """Return the secrets that the expressions of an inventory's variables name."""
    return {name for text in _texts(variables) for name in _in_expressions(text)}


def _in_expressions(text: str) -> Iterator[str]:
    for expression in _EXPRESSION.findall(text):
        yield from VARIABLE.findall(expression)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, Iterable):
        for item in value:
            yield from _texts(item)


def marker(variable: str) -> str:
    """Return a text that stands for a secret while its way to a file is looked for."""
    return f"<{variable}>"


def files(names: Iterable[str], declared: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return which file of the host each secret ends in, if any.

    ``declared`` is ``host_baseline_secrets`` with markers in the place of secrets.
    """
    found: dict[str, str] = {}
    for entry in declared:
        content = str(entry.get("content", ""))
        found |= {name: str(entry.get("name")) for name in names if marker(name) in content}
    return found


def describe(
    names: Iterable[str],
    file_of: Mapping[str, str],
    github: GitHub,
    projects: Iterable[Mapping[str, Any]],
    credentials: Mapping[str, str],
) -> list[Needed]:
    """Return what each secret is for, by the inventory's own words."""
    projects = list(projects)
    return [
        _described(Needed(name, file_of.get(name, "")), github, projects, credentials)
        for name in sorted(names)
    ]


def _described(
    secret: Needed,
    github: GitHub,
    projects: list[Mapping[str, Any]],
    credentials: Mapping[str, str],
) -> Needed:
    used = [
        f"the model of {agent}"
        for agent, path in credentials.items()
        if PurePosixPath(path).name == secret.file != ""
    ]
    found: dict[str, list[Mapping[str, str]]] = {}
    serves: Login | None = None
    for project in projects:
        parts = [_PARTS[part] for part in _PARTS if project.get(part) is not None]
        for capability in [*parts, "reap"]:
            login = github.login_of(capability)
            if not any(PurePosixPath(path).name == secret.file != "" for path in login.files):
                continue
            serves = login
            used += [capability] if capability not in used else []
            found.setdefault(str(project["repository"]), []).append(rights.NEEDED[capability])
    return replace(
        secret,
        used_by=tuple(used),
        permissions={name: rights.together(sets) for name, sets in found.items()},
        login=serves,
    )


def judged(text: str, secret: Needed) -> str:
    """Return what is wrong with a secret's form; empty when nothing is."""
    is_key = secret.login is not None and secret.login.method == "github_app"
    if is_key:
        whole = "-----BEGIN" in text and "PRIVATE KEY-----" in text
        return (
            ""
            if whole
            else "a private key begins with -----BEGIN; give its file as @/path/to/key.pem"
        )
    if "\n" in text.strip():
        return "it has several lines"
    if secret.login is not None and re.search(r"[^\x21-\x7e]", text):
        return "a token has neither spaces nor letters beyond ASCII"
    return ""
