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

from factory.core.base.configuration import Section
from factory.core.base.settings import read
from factory.core.host import units
from factory.core.lanes.settings import LanesSettings

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
    {"name": "other", "repository": "a/other", "path": "/o", "lanes": {"agent": "claude"}},
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
AGENTS = {"claude": {"route": {"upstream": "https://models.example.com"}}}


# Prints the files of the product that the gateway's process has loaded when it begins to serve.
LOADED = """
import json, sys
from factory import __main__
from factory.lanes import gateway
gateway.serve = lambda *_: print(json.dumps([
    module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "factory"
]))
__main__.main(["lane", f"--config={sys.argv[1]}", "gateway"])
"""


@pytest.fixture(scope="module")
def role() -> dict[str, Any]:
    """Return what the role makes of these projects and this change of an agent."""
    given = {
        "role_path": str(ROLE),
        "factory_projects": PROJECTS,
        "factory_projects_dir": str(ROOT / "inventory/projects"),
        "lanes_agents": AGENTS,
    }
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "--one-line"]
    argv += ["--module-name=ansible.builtin.debug", "--extra-vars", f"@{ROLE}/defaults/main.yml"]
    for name in ("main", "configuration"):
        argv += ["--extra-vars", f"@{ROLE}/vars/main/{name}.yml"]
    argv += ["--extra-vars", json.dumps(given)]
    found = "{'section': __lanes_settings.lanes, 'units': __lanes_units}"
    argv += ["--args", f"msg={{{{ {found} | to_json | b64encode }}}}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    encoded = done.stdout.partition('"msg": "')[2].partition('"')[0]
    return dict(json.loads(base64.b64decode(encoded)))


@pytest.fixture(scope="module")
def section(role: dict[str, Any]) -> dict[str, Any]:
    """Return the section that the role writes."""
    return dict(role["section"])


def project(section: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [item for item in section["projects"] if item["name"] == name]
    return dict(found)


def test_what_the_role_writes_is_what_the_command_reads(section: dict[str, Any]) -> None:
    found = read(LanesSettings, Section(section, "lanes"))
    models = {each.name: (each.agent_name, each.model) for each in found.lane_projects}
    assert models["aina-academy"] == ("codex", "gpt-5.5")
    assert models["other"] == ("claude", agents.shipped()["claude"]["model"])


def test_only_projects_that_say_so_have_lanes(section: dict[str, Any]) -> None:
    names = [item["name"] for item in section["projects"]]
    assert names == ["aina-academy", "other", "plain", "tools"]


def test_a_projects_own_file_names_its_agent_and_the_inventory_has_the_last_word(
    section: dict[str, Any],
) -> None:
    found = project(section, "aina-academy")
    assert (found["agent"], found["model"]) == ("codex", "gpt-5.5")
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
    shipped = agents.shipped(**AGENTS)
    assert shipped.keys() >= {"claude", "codex"}
    assert section["agents"] == shipped


def test_of_a_shipped_agent_single_keys_can_be_changed(section: dict[str, Any]) -> None:
    route = section["agents"]["claude"]["route"]
    assert route["upstream"] == "https://models.example.com"
    assert route["path"] == "/v1/messages?beta=true"
    assert section["agents"]["claude"]["home"] == "claude"


def test_a_gateway_is_restarted_when_any_file_that_it_has_loaded_changed(
    role: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "factory.json").write_text('{"lanes": {}}')
    argv = [sys.executable, "-c", LOADED, str(tmp_path / "factory.json")]
    host = ROLE.parents[1] / "host"
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(host)}
    )
    assert done.returncode == 0, done.stderr
    files = [
        f"/usr/local/lib/aina-factory/{Path(path).relative_to(host)}"
        for path in json.loads(done.stdout.splitlines()[0])
    ]
    (unit,) = [each for each in role["units"] if each["name"] == "factory-lane-gateway.service"]
    spec = units.UnitSpec(unit["name"], True, units.Running.STARTED, tuple(unit["restarted_by"]))
    status = units.UnitStatus(True, True, True, False, started_at=1000.0)

    def plan(touched: str) -> list[units.Action]:
        times = {touched: 2000.0}
        return units.plan([spec], {spec.name: status}, (), lambda path: times.get(path, 0.0))

    assert {Path(path).stem for path in files} >= {
        "gateway",
        "agents",
        "control_socket",
        "documents",
    }
    assert [path for path in files if [action.verb for action in plan(path)] != ["restart"]] == []
    assert plan("/usr/local/lib/aina-factory/README.md") == []
