from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError
from factory.core.jobs.standard import Standard, merge

JANITOR: dict[str, Any] = {
    "name": "janitor",
    "schedule": "daily",
    "command": ["factory", "janitor"],
}
MARSHAL: dict[str, Any] = {"name": "marshal", "schedule": "hourly", "command": ["factory", "merge"]}
OWN: dict[str, Any] = {"name": "report", "schedule": "weekly", "command": ["report"]}
STANDARD = (
    Standard("janitor", JANITOR),
    Standard("marshal", MARSHAL),
)
UNUSED = (Standard("janitor", JANITOR), Standard("marshal", {"name": "marshal"}, in_use=False))


def test_the_jobs_of_capabilities_in_use_need_no_entry() -> None:
    assert merge(STANDARD, []) == [JANITOR, MARSHAL]
    assert merge(UNUSED, []) == [JANITOR]


def test_an_entry_with_the_name_of_a_standard_job_changes_its_keys() -> None:
    paused = {"name": "janitor", "state": "paused", "paused": {"reason": "forensics"}}

    assert merge(STANDARD, [{"name": "marshal", "schedule": "daily"}, paused]) == [
        {**JANITOR, **paused},
        {**MARSHAL, "schedule": "daily"},
    ]


def test_another_entry_is_a_job_of_the_inventorys_own() -> None:
    assert merge(STANDARD, [OWN]) == [JANITOR, MARSHAL, OWN]
    assert merge(STANDARD, [{"name": "gone", "state": "absent"}])[2:] == [
        {"name": "gone", "state": "absent"}
    ]


def test_changes_of_a_job_that_is_not_in_use_wait_until_it_is() -> None:
    assert merge(UNUSED, [{"name": "marshal", "schedule": "daily"}]) == [JANITOR]


def test_an_entry_that_says_all_of_a_job_needs_no_capability() -> None:
    assert merge(UNUSED, [MARSHAL]) == [JANITOR, MARSHAL]


def test_a_name_that_stands_twice_is_left_for_the_reader_to_count() -> None:
    names = [job["name"] for job in merge(STANDARD, [JANITOR, JANITOR, OWN, OWN])]

    assert (names.count("janitor"), names.count("report")) == (2, 2)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"name": "janitr", "schedule": "daily"},
            r"^jobs\.janitr is no job; did you mean janitor\?$",
        ),
        (
            {"name": "janitr", "state": "absent"},
            r"^jobs\.janitr is no job; did you mean janitor\?$",
        ),
        ({"name": "zzz", "schedule": "daily"}, r"^jobs\.zzz .*\(janitor, marshal\).* own needs"),
    ],
)
def test_a_name_that_means_no_job_is_refused(entry: dict[str, Any], message: str) -> None:
    for standard in (STANDARD, (STANDARD[0], Standard("m", MARSHAL, in_use=False))):
        with pytest.raises(ConfigurationError, match=message):
            merge(standard, [entry])


def test_all_wrong_names_are_told_at_once() -> None:
    wrong = [{"name": "janitr"}, {"name": "marhsal"}]

    with pytest.raises(ConfigurationError, match=r"(?s)janitor\?\n.*marshal\?$"):
        merge(STANDARD, wrong)


def test_two_roles_never_bring_one_job() -> None:
    with pytest.raises(ConfigurationError, match="a and b both bring a job 'janitor'"):
        merge([Standard("a", JANITOR), Standard("b", JANITOR, in_use=False)], [])
