"""Section ``github`` of the configuration: where GitHub is, and who asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from .. import settings
from ..configuration import Section
from ..settings import setting
from . import transport

# Which capabilities log in; each may have a login of its own.
CAPABILITIES = ("images", "lanes", "marshal", "reap", "runners", "workflows")
METHODS = ("gh", "token_file", "github_app", "registration_token")
_PUBLIC_API_URL = "https://api.github.com"


@dataclass(frozen=True)
class Login:
    """How to get a token. Every file named here must be closed to others than its owner."""

    method: str = setting(
        "gh",
        "From the client `gh` of whoever runs the capability, from a file, or as a GitHub App;"
        " `registration_token` is a file that only registers native runners.",
        choices=METHODS,
    )
    token_file: str = setting(
        "",
        "The file that holds the token, for `token_file` and `registration_token`.",
        kind="path",
    )
    app_id: int = setting(0, "The GitHub App's number, for `github_app`.", minimum=0)
    app_key_file: str = setting(
        "", "The file that holds the GitHub App's private key, for `github_app`.", kind="path"
    )
    # Where the configuration says so, for messages.
    path: str = "github.login"

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield what the method needs and is not given."""
        if self.method in ("token_file", "registration_token") and not self.token_file:
            yield "token_file", f"name a file, for the method is {self.method}"
        if self.method == "github_app" and not self.app_id:
            yield "app_id", "be the App's number, for the method is github_app"
        if self.method == "github_app" and not self.app_key_file:
            yield "app_key_file", "name a file, for the method is github_app"

    @property
    def files(self) -> list[str]:
        """The secrets that must be on the host before anybody can log in."""
        named = {"github_app": self.app_key_file, "gh": ""}.get(self.method, self.token_file)
        return [named] if named else []


@dataclass(frozen=True)
class GitHub:
    """Where GitHub is and how to log in there, for all capabilities."""

    api_url: str = setting(
        _PUBLIC_API_URL,
        "Where the REST interface answers; of an Enterprise server https://HOST/api/v3, and with"
        " data residency https://api.NAME.ghe.com.",
        kind="https_url",
    )
    git_url: str = setting(
        "",
        "Where git finds the repositories; derived from `api_url` when empty.",
        kind="https_url",
    )
    release_api_url: str = setting(
        "",
        "Where the releases of the runner application are listed; `api_url` when empty.",
        kind="https_url",
    )
    ca_file: str = setting(
        "", "A file with certificate authorities that are trusted beside the system's.", kind="path"
    )
    login: Login = setting(Login(), "How every capability logs in that has no login of its own.")
    logins: Mapping[str, Login] = setting(
        {}, "Logins of capabilities that have fewer or other rights.", keys=CAPABILITIES
    )

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield logins that cannot do what their capability asks."""
        methods = {f"logins.{name}.method": login.method for name, login in self.logins.items()}
        for key, method in {"login.method": self.login.method, **methods}.items():
            if method == "registration_token" and key != "logins.runners.method":
                yield key, "be one of gh, token_file, github_app: it only registers runners"

    def login_of(self, capability: str) -> Login:
        """Return the login of a capability, with the name by which messages call it."""
        own = self.logins.get(capability)
        return replace(own, path=f"github.logins.{capability}") if own else self.login

    @property
    def is_public(self) -> bool:
        return self.api_url == _PUBLIC_API_URL

    @property
    def web_url(self) -> str:
        """Where persons and git find repositories."""
        return self.git_url or transport.web_url(self.api_url)

    @property
    def releases_url(self) -> str:
        """Where releases of the runner application are asked for."""
        return self.release_api_url or self.api_url

    @property
    def graphql_url(self) -> str:
        """The address of the GraphQL interface."""
        return transport.graphql_url(self.api_url)

    @property
    def host(self) -> str:
        """The host that remotes name: ``github.com`` or an Enterprise server."""
        return urlsplit(transport.web_url(self.api_url)).hostname or ""


def of(whole: Section) -> GitHub:
    """Return the section ``github`` of a whole configuration.

    Raises:
        ConfigurationError: a value is wrong or a key is unknown.

    """
    return settings.read(GitHub, whole.section("github", {}))
