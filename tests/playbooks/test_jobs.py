"""Which scheduled jobs the roles and an inventory give a host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory.core.base.configuration import Section
from factory.core.base.settings import read
from factory.core.jobs.settings import Jobs

ROOT = Path(__file__).resolve().parents[2]
ROLES = ROOT / "collections/ansible_collections/aina/factory/roles"
PROJECT = {"name": "demo", "repository": "guild/demo", "path": "/srv/repos/demo"}
# Where no project asks for anything.
EVERYWHERE = ["factory-images", "janitor", "watchdog", "disk-usage", "proofs"]


def jobs_of(place: Path, inventory: Path, roles: Path = ROLES) -> dict[str, Any]:
    """Return the jobs of each host as the role factory_crons has them, or why there are none."""
    role = {"role_path": str(roles / "factory_crons"), "factory_crons_state": "present"}
    argv = [
        str(Path(sys.executable).parent / "ansible"),
        *("factory", "--inventory", str(inventory), "--tree", str(place / "told")),
        *("--module-name", "ansible.builtin.debug", "--args", "var=__factory_crons_jobs"),
        *("--extra-vars", json.dumps(role)),
        *("--extra-vars", f"@{ROLES}/factory_crons/vars/main/main.yml"),
    ]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(argv, env=environment, cwd=place, capture_output=True, text=True)
    told = {path.name: json.loads(path.read_text()) for path in (place / "told").iterdir()}
    assert told, done.stdout + done.stderr
    return {name: said.get("__factory_crons_jobs", said.get("msg")) for name, said in told.items()}


def names(jobs: list[dict[str, Any]]) -> list[str]:
    """Return the names of the jobs that are on the host."""
    return [job.name for job in read(Jobs, Section({"jobs": jobs}, "jobs")).declared]


def write(place: Path, hosts: Mapping[str, Any]) -> Path:
    """Write an inventory of hosts with their variables."""
    path = place / "hosts.yml"
    path.write_text(yaml.safe_dump({"factory": {"hosts": dict(hosts)}}))
    return path


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the jobs of hosts with different inventories."""
    place = tmp_path_factory.mktemp("jobs")
    hosts = {
        "bare": {},
        "works": {"factory_projects": [{**PROJECT, "merge": {}, "lanes": {"dispatch": {}}}]},
        "without": {"janitor_state": "absent"},
        "changed": {
            "factory_jobs": [
                {"name": "janitor", "schedule": "*-*-* 01:00"},
                {"name": "disk-usage", "state": "absent"},
                {"name": "own", "schedule": "daily", "command": ["/bin/true"]},
            ]
        },
        "misspelt": {"factory_jobs": [{"name": "janitr", "schedule": "*-*-* 01:00"}]},
    }
    return jobs_of(place, write(place, hosts))


def test_a_host_has_the_jobs_of_the_capabilities_that_it_uses(told: dict[str, Any]) -> None:
    assert names(told["bare"]) == EVERYWHERE
    assert {*names(told["works"])} == {
        *(*EVERYWHERE, "release-marshal", "lane-store", "lane-mirrors", "lane-dispatch")
    }
    assert names(told["without"]) == [name for name in EVERYWHERE if name != "janitor"]


def test_an_inventory_changes_drops_and_adds_jobs_by_name(told: dict[str, Any]) -> None:
    assert names(told["changed"]) == ["factory-images", "janitor", "watchdog", "proofs", "own"]
    (janitor,) = (job for job in told["changed"] if job["name"] == "janitor")
    assert janitor["schedule"] == "*-*-* 01:00"
    assert janitor["command"] == ["/usr/local/bin/factory", "janitor"]


def test_nothing_that_is_scheduled_runs_as_a_person(told: dict[str, Any], tmp_path: Path) -> None:
    (production,) = jobs_of(tmp_path, ROOT / "inventory/production").values()

    users = {job["name"]: job.get("user", "root") for job in [*production, *told["works"]]}
    assert {"coo-ops-loop", "lane-dispatch", "release-marshal"} <= {*users}
    assert {user for user in users.values() if not user.startswith("factory-")} == {"root"}


def test_a_misspelt_job_is_refused_with_the_nearest(told: dict[str, Any]) -> None:
    assert told["misspelt"].endswith("jobs.janitr is no job; did you mean janitor?")


def test_a_job_that_is_new_in_a_release_reaches_an_untouched_inventory(tmp_path: Path) -> None:
    roles = tmp_path / "roles"
    shutil.copytree(ROLES, roles)
    added = {"name": "new", "schedule": "daily", "command": ["/usr/local/bin/factory", "new"]}
    file = roles / "janitor/meta/jobs.yml"
    file.write_text(yaml.safe_dump([*yaml.safe_load(file.read_text()), added]))

    (jobs,) = jobs_of(tmp_path, ROOT / "inventory/production", roles).values()

    assert {"new", "janitor", "coo-ops-loop"} < {*names(jobs)}


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/meta/jobs.yml")), ids=lambda p: p.parts[-3])
def test_every_job_that_a_role_brings_can_be_turned_on(path: Path) -> None:
    for entry in yaml.safe_load(path.read_text()):
        keys = {key: entry[key] for key in entry if key != "when"}
        # What hangs on a site's variables has any value here.
        given = {"user": "somebody", "needs": ["/etc/some-file"]}
        made = {key: given[key] for key in given if "{" in str(entry.get(key, ""))}

        assert names([{**keys, **made, "state": "present"}]) == [entry["name"]]
        assert entry["description"]
