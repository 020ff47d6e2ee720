"""The inventory of a new site: what has to be asked, and the one file that says the answers."""

from __future__ import annotations

import ipaddress
import json
import re
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..base import projects
from ..base.configuration import nearest

SECRETS = "/etc/aina-factory/secrets"
AGENTS = ("codex", "claude")
_HOST = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*\Z"
)
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
_BRANCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,200}\Z")
# What YAML reads as text without quotes.
_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*\Z")
_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}


class AnswerError(ValueError):
    """An answer cannot be meant so; says what it must be."""


def host(text: str) -> str:
    """Return a host's name or address.

    Raises:
        AnswerError: it is neither.

    """
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    if "@" in text or "://" in text or ":" in text:
        raise AnswerError(f"{text!r} is more than a host: account and port are asked for alone")
    # Four numbers that are no address are no name either.
    if not _HOST.match(text) or re.fullmatch(r"[\d.]+", text):
        raise AnswerError(
            f"{text!r} must be the server's name or address, as in server.example.com"
        )
    return text.lower()


def _port(text: str) -> str:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise AnswerError(f"{text!r} must be a port: a number from 1 to 65535")
    return str(int(text))


def _account(text: str) -> str:
    if text == "root":
        raise AnswerError("root must not be the account: make one for yourself, with sudo")
    if not _ACCOUNT.match(text):
        raise AnswerError(f"{text!r} must be an account: lower-case letters, digits, - and _")
    return text


def _repository(text: str) -> str:
    found = re.sub(r"^(?:https://[^/]+/|(?:ssh://)?git@[^:/]+[:/])", "", text).rstrip("/")
    found = found.removesuffix(".git")
    name = found.rpartition("/")[2]
    if not projects.REPOSITORY.match(found) or not name.strip("."):
        raise AnswerError(f"{text!r} must be OWNER/NAME as at GitHub")
    return found


def _branch(text: str) -> str:
    if not _BRANCH.match(text):
        raise AnswerError(f"{text!r} must be the name of a branch")
    return text


def _check(text: str) -> str:
    if not text.isprintable() or len(text) > 200 or re.search(r"\{[{%#]", text):
        raise AnswerError("a check's name is one line of at most 200 characters, without {{")
    return text


def _agent(text: str) -> str:
    if text not in AGENTS:
        raise AnswerError(f"{text!r} must be one of: {', '.join(AGENTS)}")
    return text


def _time_zone(text: str) -> str:
    # A control node without the data of time zones knows none: then the form is all that can be judged.
    known = zoneinfo.available_timezones()
    if text in known or (not known and re.fullmatch(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)*", text)):
        return text
    near = nearest(text, known)
    raise AnswerError(
        f"{text!r} must be a time zone, as in Europe/Berlin" + (f"; {near}?" if near else "")
    )


def _github(text: str) -> str:
    return host(text.removeprefix("https://").rstrip("/"))


@dataclass(frozen=True)
class Question:
    """One value of the site: how it is asked for, how it is judged, and what it is unless answered."""

    text: str
    judge: Callable[[str], str]
    default: str | None = None


QUESTIONS: Mapping[str, Question] = {
    "host": Question("The server's name or address", host),
    "port": Question("The port on which its SSH server listens", _port, "22"),
    "user": Question("Your account there, which may use sudo", _account),
    "repository": Question("The repository that agents work on, OWNER/NAME", _repository),
    "branch": Question("The branch that work lands on", _branch, "main"),
    "check": Question("The check that must be green before a pull request lands", _check, "ci"),
    "agent": Question(f"The agent: {' or '.join(AGENTS)}", _agent, "codex"),
    "time_zone": Question("The server's time zone", _time_zone, "Etc/UTC"),
    "github": Question("Where GitHub is", _github, "github.com"),
}


def read(name: str, text: str) -> str:
    """Return the answer to a question, cleaned; its default when it is empty.

    Raises:
        AnswerError: it cannot be meant so, or there is none.

    """
    question = QUESTIONS[name]
    text = text.strip()
    if not text and question.default is None:
        raise AnswerError(f"{name} is missing: {question.text}")
    return question.judge(text or question.default or "")


def _scalar(text: str) -> str:
    plain = _PLAIN.match(text) and text.lower() not in _NOT_TEXT
    return text if plain else json.dumps(text)


def _secret(name: str, owner: str = "") -> str:
    """Return the line of a secret that may not be there yet."""
    variable = f"secret_{name.replace('-', '_')}"
    return f"      - {{name: {name}, content: \"{{{{ {variable} | default('') }}}}\"{owner}}}"


def render(answers: Mapping[str, str]) -> str:
    """Return the inventory as YAML: nothing in it is a default of the product."""
    said = {name: _scalar(value) for name, value in answers.items()}
    project = re.sub(r"[^a-z0-9]+", "-", answers["repository"].partition("/")[2].lower()).strip("-")
    project = project[:63].rstrip("-") or "project"
    reach = [f"ansible_user: {said['user']}"]
    name = said["host"]
    if ":" in answers["host"]:
        # The last word of a name in an inventory would be taken for a port.
        name, reach = "server", [f"ansible_host: {said['host']}", *reach]
    if answers["port"] != "22":
        reach.append(f"ansible_port: {answers['port']}")
    key = f"{answers['agent']}-key"
    login = f"login: {{method: token_file, token_file: {SECRETS}/github-token}}"
    if answers["github"] != "github.com":
        host = answers["github"]
        url = f"https://api.{host}" if host.endswith(".ghe.com") else f"https://{host}/api/v3"
        login = f'api_url: "{url}", {login}'
    lanes = "{}" if answers["agent"] == AGENTS[0] else f"{{agent: {answers['agent']}}}"
    lines = [
        "# What is the site's; all else has a default of the product. Secrets stand beside it, encrypted.",
        "factory:",
        "  hosts:",
        f"    {name}: {{{', '.join(reach)}}}",
        "  vars:",
        f"    factory_user: {said['user']}",
        f"    factory_github: {{{login}}}",
        "    factory_projects:",
        f"      - name: {_scalar(project)}",
        f"        repository: {said['repository']}",
        f"        default_branch: {said['branch']}",
        "        runner: {}",
        f"        lanes: {lanes}",
        f"        merge: {{required_checks: [{said['check']}]}}",
        f"    lanes_credentials: {{{answers['agent']}: {SECRETS}/{key}}}",
        f"    host_baseline_time_zone: {said['time_zone']}",
        "    host_baseline_secrets:",
        # The marshal's account alone is none that may read whatever root may.
        _secret("github-token", ", owner: factory-marshal"),
        _secret(key),
    ]
    return "\n".join(lines) + "\n"
