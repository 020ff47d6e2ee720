"""docs/first-server.md against what its commands ask for; tests/e2e/test_first_server.py runs them all."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from documents import commands

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.base.github.rights import scopes_for, together
from factory.core.base.github.settings import GitHub
from factory.core.site import needed_secrets, new_inventory

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/first-server.md"


def inventory() -> dict[str, Any]:
    """Return the variables of the inventory that the document's command writes."""
    (line,) = [line for line in commands(DOCUMENT) if line.startswith("script/new-inventory")]
    said = shlex.split(line)[2:]
    given = {
        key[2:].replace("-", "_"): value for key, value in zip(said[::2], said[1::2], strict=True)
    }
    assert given.keys() <= new_inventory.QUESTIONS.keys()
    read = {name: new_inventory.read(name, given.get(name, "")) for name in new_inventory.QUESTIONS}
    return dict(yaml.safe_load(new_inventory.render(read))["factory"]["vars"])


def test_it_names_just_the_secrets_that_its_inventory_needs_and_their_rights() -> None:
    variables, text = inventory(), DOCUMENT.read_text(encoding="utf-8")
    names = needed_secrets.mentioned(variables)
    assert set(re.findall(r"^\| `(secret_\w+)`", text, re.MULTILINE)) == names

    declared = [
        {
            "name": entry["name"],
            "content": needed_secrets.marker(f"secret_{entry['name'].replace('-', '_')}"),
        }
        for entry in variables["host_baseline_secrets"]
    ]
    github = settings.read(GitHub, Section(variables["factory_github"], "factory_github"))
    described = needed_secrets.describe(
        names,
        needed_secrets.files(names, declared),
        github,
        variables["factory_projects"],
        variables["lanes_credentials"],
    )
    (token,) = [item for item in described if item.permissions]
    needed = together(token.permissions.values())
    (row,) = re.findall(rf"^\| `{token.variable}` \|(.*)$", text, re.MULTILINE)
    assert re.findall(r"`(\w+)`", row) == scopes_for(needed)
    assert "administers" in row
    assert needed["administration"] == "write"


def test_each_script_is_there_and_it_is_what_the_readme_leads_to_first() -> None:
    for line in commands(DOCUMENT):
        if line.startswith("script/"):
            assert (ROOT / shlex.split(line)[0]).is_file()
    first = re.search(r"\]\((docs/[\w-]+\.md)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert first is not None
    assert first[1] == "docs/first-server.md"
