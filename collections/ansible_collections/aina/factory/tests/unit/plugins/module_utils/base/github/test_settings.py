from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.github import settings
from factory.core.base.github.settings import GitHub, Login

TOKEN = {"method": "token_file", "token_file": "/etc/x/token"}


def read(**given: Any) -> GitHub:
    return settings.of(Section({"github": given}, "configuration"))


def test_without_a_word_it_is_the_public_one_and_gh_logs_in() -> None:
    found = settings.of(Section({}, "configuration"))

    assert found == GitHub()
    assert found.login_of("lanes") == Login(method="gh")
    assert (found.host, found.web_url) == ("github.com", "https://github.com")
    assert found.graphql_url == "https://api.github.com/graphql"


def test_an_enterprise_server_has_all_addresses_from_one() -> None:
    found = read(api_url="https://git.example.com/api/v3/")

    assert (found.host, found.web_url) == ("git.example.com", "https://git.example.com")
    assert found.releases_url == "https://git.example.com/api/v3"
    assert found.graphql_url == "https://git.example.com/api/graphql"
    assert read(git_url="https://code.example.com/").web_url == "https://code.example.com"


def test_data_residency_has_its_interface_beside_its_site() -> None:
    found = read(api_url="https://api.acme.ghe.com")

    assert (found.host, found.web_url) == ("acme.ghe.com", "https://acme.ghe.com")
    assert found.graphql_url == "https://api.acme.ghe.com/graphql"
    # Neither is what merely sounds like it.
    assert read(api_url="https://api.ghe.com.example.com").host == "api.ghe.com.example.com"


def test_a_capability_has_its_own_login_or_the_shared_one() -> None:
    found = read(login=TOKEN, logins={"marshal": {"method": "gh"}})

    assert (found.login_of("lanes").token_file, found.login_of("lanes").path) == (
        "/etc/x/token",
        "github.login",
    )
    assert (found.login_of("marshal").method, found.login_of("marshal").path) == (
        "gh",
        "github.logins.marshal",
    )


@pytest.mark.parametrize(
    ("login", "files"),
    [
        ({}, []),
        (TOKEN, ["/etc/x/token"]),
        ({"method": "github_app", "app_id": 3, "app_key_file": "/k"}, ["/k"]),
    ],
)
def test_what_a_login_needs_on_the_host_is_known(login: dict[str, Any], files: list[str]) -> None:
    assert read(login=login).login.files == files


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"api_url": "http://api.github.com"}, "github.api_url is 'http://api.github.com'"),
        ({"login": {"method": "token_file"}}, "github.login.token_file is ''; it must name a file"),
        ({"login": {"method": "github_app"}}, "github.login.app_id is 0; it must be the App's"),
        (
            {"logins": {"lanes": {"method": "github_app", "app_id": 3}}},
            "github.logins.lanes.app_key_file is ''; it must name a file",
        ),
        ({"logins": {"lane": {}}}, "github.logins.lane is not known; did you mean lanes?"),
        (
            {"login": {"method": "registration_token", "token_file": "/x"}},
            "github.login.method is 'registration_token'; it must be one of gh, token_file",
        ),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(**given)

    assert f"configuration.{message}" in str(refused.value)
