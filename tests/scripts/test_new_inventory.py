"""The inventory of a new site: asked for, judged, never over another, and enough for the whole product."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from playbooks.asked import asked, files
from terminal import sit

from factory.core.site import new_inventory

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = {"host": "server.example.com", "user": "ali", "repository": "example/academy"}
LINES_MAX = 20


def answered(**given: str) -> dict[str, str]:
    return {
        name: new_inventory.read(name, {**ANSWERS, **given}.get(name, ""))
        for name in new_inventory.QUESTIONS
    }


def command(site: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,"]
    argv += ["--extra-vars", json.dumps({f"site_{name}": text for name, text in site.items()})]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    return [*argv, str(ROOT / "playbooks/new_inventory.yml")], environment


def write(**site: str) -> tuple[int, str]:
    argv, environment = command(site)
    done = subprocess.run(
        argv,
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("host", "Server.Example.com", "server.example.com"),
        ("host", "[2001:DB8::1]", "2001:db8::1"),
        ("repository", "https://github.com/example/academy.git", "example/academy"),
        ("repository", "git@github.com:example/academy.git", "example/academy"),
        ("repository", "ssh://git@github.com/example/academy", "example/academy"),
        ("github", "https://github.example.com/", "github.example.com"),
        ("port", "", "22"),
        ("time_zone", " Asia/Yekaterinburg ", "Asia/Yekaterinburg"),
    ],
)
def test_an_answer_is_taken_as_it_is_meant(name: str, text: str, meant: str) -> None:
    assert new_inventory.read(name, text) == meant


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("host", "", "host is missing"),
        ("host", "ali@server.example.com", "account and port are asked for alone"),
        ("host", "server.example.com:2222", "account and port are asked for alone"),
        ("host", "300.1.1.1", "name or address"),
        ("host", "a b", "name or address"),
        ("host", "{{ x }}", "name or address"),
        ("port", "65536", "from 1 to 65535"),
        ("port", "ssh", "from 1 to 65535"),
        ("port", "²", "from 1 to 65535"),
        ("user", "root", "must not be the account"),
        ("user", "Ali", "lower-case"),
        ("repository", "academy", "OWNER/NAME"),
        ("repository", "example/..", "OWNER/NAME"),
        ("time_zone", "europe/berlin", "Europe/Berlin"),
        ("check", "{{ x }}", "without {{"),
        ("check", "a\nb", "one line"),
        ("agent", "gemini", "codex, claude"),
    ],
)
def test_an_answer_that_cannot_be_meant_is_refused_with_what_it_must_be(
    name: str, text: str, problem: str
) -> None:
    with pytest.raises(new_inventory.AnswerError, match=re.escape(problem)):
        new_inventory.read(name, text)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"agent": "claude", "github": "github.example.com", "port": "2222"},
        # Words that YAML would read as something else than text.
        {"host": "2001:db8::1", "user": "on", "repository": "null/1.0", "branch": "2026-01-01"},
        {"repository": "x/No", "branch": "1e3", "check": 'a "b": #c, [d]'},
        {"repository": "example/_..", "host": "192.0.2.7"},
    ],
)
def test_what_is_written_says_the_answers_in_a_screen(given: dict[str, str]) -> None:
    answers = answered(**given)
    text = new_inventory.render(answers)

    assert len(text.splitlines()) <= LINES_MAX
    ((name, reach),) = yaml.safe_load(text)["factory"]["hosts"].items()
    said = yaml.safe_load(text)["factory"]["vars"]
    (project,) = said["factory_projects"]
    assert reach.get("ansible_host", name) == answers["host"]
    assert reach["ansible_user"] == said["factory_user"] == answers["user"]
    assert str(reach.get("ansible_port", 22)) == answers["port"]
    assert project["repository"] == answers["repository"]
    assert project["default_branch"] == answers["branch"]
    assert project["merge"] == {"required_checks": [answers["check"]]}
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", project["name"])
    assert [*said["lanes_credentials"]] == [answers["agent"]]


@pytest.mark.slow
def test_it_passes_the_products_own_checks_before_there_is_a_secret(tmp_path: Path) -> None:
    text = new_inventory.render(answered(time_zone="Europe/Berlin"))
    variables: dict[str, Any] = yaml.safe_load(text)["factory"]["vars"]

    steps = asked(tmp_path, {"vds": ("site.yml", variables)}, group_vars=None)["vds"]

    declared = files(steps)
    assert declared["/etc/localtime"]["target"] == "/usr/share/zoneinfo/Europe/Berlin"
    assert "/etc/aina-factory/conf.d/lanes.json" in declared
    assert not [path for path in declared if path.startswith("/etc/aina-factory/secrets/")]


@pytest.mark.slow
def test_nothing_is_overwritten_and_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    target = tmp_path / "first"

    status, said = write(path=str(target), host="a@b", port="0")
    assert status != 0
    for problem in ("host: 'a@b'", "port: '0'", "user is missing", "repository is missing"):
        assert problem in said
    assert not target.exists()

    assert write(path=str(target), **ANSWERS)[0] == 0
    written = (target / "hosts.yml").read_bytes()
    status, said = write(path=str(target), **{**ANSWERS, "host": "other.example.com"})
    assert (status != 0, "nothing is overwritten" in said) == (True, True)
    assert [path.name for path in target.iterdir()] == ["hosts.yml"]
    assert (target / "hosts.yml").read_bytes() == written


@pytest.mark.slow
def test_on_a_terminal_it_asks_and_asks_again_for_what_cannot_be_meant(tmp_path: Path) -> None:
    argv, environment = command({"path": str(tmp_path / "first"), "user": "ali"})
    answers = [
        ("name or address:", "ali@server"),
        ("(?s)more than a host.*name or address:", "server.example.com"),
        (r"listens \[22\]:", ""),
        ("OWNER/NAME:", "example/academy"),
        *((question, "") for question in (r"\[main\]:", r"\[ci\]:", r"\[codex\]:")),
        (r"\[Etc/UTC\]:", "Asia/Tokio"),
        (r"(?s)Asia/Tokyo\?[^[]*\[Etc/UTC\]:", "Asia/Tokyo"),
        (r"\[github.com\]:", ""),
    ]

    sat = sit(argv, answers, environment=environment, cwd=ROOT)

    assert sat.status == 0, sat.shown
    text = (tmp_path / "first/hosts.yml").read_text()
    assert text == new_inventory.render(answered(time_zone="Asia/Tokyo"))
