"""The janitor's section of the configuration."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from factory.core.base import settings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.janitor.settings import Janitor

WRONG = [
    ({"disk_used_low_percent": 80}, "disk_used_low_percent is 80"),
    ({"disk_used_high_percent": 120}, "lie between 1 and 99"),
    ({"logs": {"max_age_days": 1, "min_age_hours": 48}}, "min_age_hours"),
    ({"logs": {"keep_mib": 60}}, "keep_mib is 60"),
    ({"logs": {"max_agedays": 1}}, "max_agedays is not known"),
    ({"docker": {"images": {"max_per_run": 0}}}, "docker.images.max_per_run"),
    ({"package_stores": [{"path": "/s"}]}, r"package_stores\[0\].user is missing"),
    ({"runner": {"roots": ["relative"]}}, "roots"),
]


@pytest.mark.parametrize(("values", "message"), WRONG)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        settings.read(Janitor, Section(values, "janitor"))


def test_every_key_has_a_default() -> None:
    policy = settings.read(Janitor, Section({}, "janitor"))

    assert policy.watermarks.low_percent < policy.watermarks.high_percent
    assert policy.docker.images.limits.max_age_seconds is None
    assert policy.logs.limits.max_age_seconds == 14 * 86400


def test_one_more_label_does_not_let_go_of_what_another_keeps() -> None:
    found = settings.read(
        Janitor, Section({"docker": {"keep_labels": ["team.keep=yes"]}}, "janitor")
    )

    assert found.docker.marks.keep_labels == ("factory.keep=true", "team.keep=yes")


def test_one_more_base_image_does_not_let_go_of_the_factorys_own() -> None:
    found = settings.read(Janitor, Section({"docker": {"base_images": ["team:*"]}}, "janitor"))

    for name in ("aina-factory/ci:current", "aina-factory/base:trixie", "team:1"):
        assert any(fnmatchcase(name, pattern) for pattern in found.docker.marks.base_images), name


def test_one_more_runner_directory_does_not_hide_the_declared_runners() -> None:
    found = settings.read(Janitor, Section({"runner": {"roots": ["/srv/runner"]}}, "janitor"))

    for path in ("/opt/gha-runner/instances/demo", "/var/lib/gha-runner/demo", "/srv/runner"):
        assert any(fnmatchcase(path, root) for root in found.runner.roots), path
    assert found.runner.limits.max_age_seconds == 2 * 86400
