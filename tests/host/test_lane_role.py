"""What the role lanes makes of the inventory and of what is shipped."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import agents
import pytest

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "collections/ansible_collections/aina/factory/roles/lanes"
PROJECTS = [
    {
        "name": "aina-academy",
        "repository": "a/aina-academy",
        "path": "/srv/repos/aina-academy",
        "default_branch": "trunk",
        "lanes": {"effort": "low"},
    },
    {"name": "other", "repository": "a/other", "path": "/o", "lanes": {"engine": "claude"}},
    {"name": "plain", "repository": "a/plain", "path": "/p", "lanes": {}},
    {
        "name": "tools",
        "repository": "a/tools",
        "path": "/t",
        "toolchain": {"node": "20"},
        "lanes": {},
    },
    {"name": "none", "repository": "a/none", "path": "/n"},
]
ENGINES = {"claude": {"route": {"upstream": "https://models.example.com"}}}


@pytest.fixture(scope="module")
def section() -> dict[str, Any]:
    """Return what the role writes for these projects and this change of an agent."""
    given = {
        "role_path": str(ROLE),
        "factory_projects": PROJECTS,
        "factory_projects_dir": str(ROOT / "inventory/projects"),
        "lanes_engines": ENGINES,
    }
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "--one-line"]
    argv += ["--module-name=ansible.builtin.debug", "--extra-vars", f"@{ROLE}/defaults/main.yml"]
    argv += ["--extra-vars", f"@{ROLE}/vars/main.yml", "--extra-vars", json.dumps(given)]
    argv += ["--args", "msg={{ __lanes_configuration | to_json | b64encode }}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    encoded = done.stdout.partition('"msg": "')[2].partition('"')[0]
    return dict(json.loads(base64.b64decode(encoded)))


def project(section: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [item for item in section["projects"] if item["name"] == name]
    return dict(found)


def test_only_projects_that_say_so_have_lanes(section: dict[str, Any]) -> None:
    names = [item["name"] for item in section["projects"]]
    assert names == ["aina-academy", "other", "plain", "tools"]


def test_a_projects_own_file_names_its_agent_and_the_inventory_has_the_last_word(
    section: dict[str, Any],
) -> None:
    found = project(section, "aina-academy")
    assert (found["engine"], found["model"]) == ("codex", "gpt-5.5")
    assert found["effort"] == "low"
    assert found["default_branch"] == "trunk"


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("aina-academy", "aina-academy-lane"),
        ("other", "other-lane"),
        ("tools", "tools-lane"),
        ("plain", "lane"),
    ],
)
def test_a_project_with_an_agent_tools_or_words_of_its_own_has_an_image_of_its_own(
    name: str, image: str, section: dict[str, Any]
) -> None:
    assert project(section, name)["image"] == f"aina-factory/{image}:current"


def test_every_agent_that_is_shipped_is_handed_to_the_command_alike(
    section: dict[str, Any],
) -> None:
    shipped = agents.shipped(**ENGINES)
    assert shipped.keys() >= {"claude", "codex"}
    assert section["engines"] == shipped


def test_of_a_shipped_agent_single_keys_can_be_changed(section: dict[str, Any]) -> None:
    route = section["engines"]["claude"]["route"]
    assert route["upstream"] == "https://models.example.com"
    assert route["path"] == "/v1/messages?beta=true"
    assert section["engines"]["claude"]["home"] == "claude"
