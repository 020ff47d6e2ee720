"""What roles have brought: each says it in a file of its own, and the watchdog knows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factory import configuration
from factory.core.base import brought
from factory.core.base.brought import Brought
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.watchdog import policy
from factory.outcome import UsageError

DOCKER = {"units": ["docker.service"]}
DATABASE = {
    "units": ["postgresql.service"],
    "certificates": ["/etc/postgresql/server.pem"],
    "backup_paths": ["/var/lib/postgresql"],
}


def loaded(directory: Path, **files: dict[str, Any]) -> Section:
    (directory / "conf.d").mkdir()
    (directory / "factory.json").write_text("{}")
    for name, document in files.items():
        (directory / "conf.d" / f"{name}.json").write_text(json.dumps(document))
    return configuration.load(directory / "factory.json")


def test_what_each_role_says_in_its_own_file_is_added(tmp_path: Path) -> None:
    files = {"docker_host": {"brings": {"a": DOCKER}}, "database": {"brings": {"b": DATABASE}}}

    assert brought.read(loaded(tmp_path, **files)) == Brought(
        units=("postgresql.service", "docker.service"),
        certificates=("/etc/postgresql/server.pem",),
        backup_paths=("/var/lib/postgresql",),
    )


def test_two_files_do_not_speak_for_one_role(tmp_path: Path) -> None:
    both = {"brings": {"a": DOCKER}}

    with pytest.raises(UsageError, match=r"brings\.a.*stands in .*one\.json and in .*two\.json"):
        loaded(tmp_path, one=both, two=both)


def test_the_watchdog_watches_and_repairs_what_roles_have_brought() -> None:
    own = {"heal": {"units": ["own.service"]}, "certificates": ["example.com:443"]}
    whole = Section({"watchdog": own, "brings": {"database": DATABASE}}, "configuration")

    found, errors = policy.of(whole)

    assert errors == ()
    assert found.heal.units == ("own.service", "postgresql.service")
    assert found.certificates == ("example.com:443", "/etc/postgresql/server.pem")


def test_what_a_role_says_wrongly_is_told_and_stops_nothing() -> None:
    whole = Section({"brings": {"database": {"unit": ["x"]}}}, "configuration")

    with pytest.raises(ConfigurationError, match=r"brings\.database\.unit is not known"):
        brought.read(whole)
    found, errors = policy.of(whole)
    assert errors and found.heal.units == ()
