"""docs/first-server.md, command by command as a person types them: a blank host over SSH, and a simulated GitHub."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import containers
import pytest
from adopt.support import environment, sh
from documents import commands
from terminal import Sat, sit
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.deep]

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/first-server.md"
HOST = f"{containers.NAME}-first"
GITHUB = f"github.{HOST}"
REPOSITORY = "ainative-academy/aina-academy"
PASSWORD = "of-nobody-1"  # noqa: S105 - opens a container of this test
# What the machine that runs the tests cannot give, and where GitHub and the model are played.
SITE = """\
images_base: {{bootstrap_suite: trixie}}
images_build_network: host
watchdog_clock_enabled: false
gh_actions_runner_disk_min_free_mib: 1024
lanes_min_free_disk_mib: 1024
lanes_min_free_memory_mib: 256
lanes_agents: {{codex: {{route: {{upstream: "https://{github}:9443"}}}}}}
host_baseline_extra_ca_certificates: {authorities}
"""


@dataclass
class Person:
    """Whoever reads the document: a machine with SSH of its own, and what she types when she is asked."""

    place: Path
    address: str
    token: str
    said: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {name: text for name, text in environment(None).items() if name[:5] != "SOPS_"}
        own = {"HOME": str(self.place), "SSL_CERT_FILE": str(self.place / "github.pem")}
        # The address that the document names lies on this machine.
        clone = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf"}
        clone["GIT_CONFIG_VALUE_0"] = "https://github.com/ainative-academy/aina-factory"
        return {**kept, **own, **clone, "PATH": f"{self.place}/bin{os.pathsep}{kept['PATH']}"}

    def type(self, line: str) -> Sat:
        """Type one command of the document, with her own values."""
        line = line.replace("server.example.com", self.address).replace(
            "example/academy", REPOSITORY
        )
        line = line.replace("run-lane academy", "run-lane aina-academy")
        if line.startswith("script/new-inventory"):
            line += f" --github {GITHUB}"
        cwd = ROOT if line.startswith("script/") else self.place
        return sit(
            ["bash", "-c", line],
            self.answers(line),
            environment=self.environment(),
            cwd=cwd,
            timeout_seconds=1800,
        )

    def answers(self, line: str) -> list[tuple[str, str]]:
        if line.endswith(" true"):
            return [("(?s)fingerprint is.*continue connecting", "yes")]
        if "adduser" in line:
            return [("[Nn]ew password:", PASSWORD), ("Retype new password:", PASSWORD)]
        if "sudo" in line and "ali@" in line:
            return [(r"password for ali:", PASSWORD)]
        if "--ask-become-pass" in line:
            return [("BECOME password:", PASSWORD)]
        if line.startswith("script/new-inventory"):
            return [(rf"\[{default}\]:", "") for default in ("22", "main", "ci", "codex")]
        if line.startswith("script/secrets"):
            return [
                ("secret_codex_key, not shown", "sk-of-a-model-that-is-played"),
                ("secret_github_token, not shown", self.token),
            ]
        return []


def docker(*words: str) -> str:
    return sh("docker", *words)


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    place = tmp_path_factory.mktemp("person")
    groups = {
        "factory": {"hosts": {"server": {"ansible_host": HOST}}},
        "github": {"hosts": {"hub": {"ansible_host": GITHUB, "simulator_scenario": "demo"}}},
    }
    (place / "containers.json").write_text(json.dumps(groups))
    containers.remove(f"scenario={HOST}")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    argv = [program, "-i", str(place / "containers.json"), str(ROOT / "molecule/shared/create.yml")]
    labelled = {**environment(None), "MOLECULE_SCENARIO_NAME": HOST}
    subprocess.run(argv, cwd=ROOT, env=labelled, check=True, stdin=subprocess.DEVNULL)
    inventory = ROOT / "inventory/first"
    shutil.rmtree(inventory, ignore_errors=True)
    try:
        yield rented(place)
    finally:
        shutil.rmtree(inventory, ignore_errors=True)
        containers.remove(f"scenario={HOST}")


def rented(place: Path) -> Person:
    """Make the host what a provider hands over: SSH for root by a key; and a machine for the person."""
    sh("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / "id"))
    public = (place / "id.pub").read_text()
    script = f"""
apt-get update -qq && apt-get install -qq -y openssh-server adduser >/dev/null
install -d -m 0700 /root/.ssh && echo '{public.strip()}' >/root/.ssh/authorized_keys
systemctl enable -q --now ssh"""
    docker("exec", HOST, "bash", "-c", script)
    address = docker(
        "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", HOST
    )
    (place / "bin").mkdir()
    own = f"-i {place}/id -o UserKnownHostsFile={place}/known_hosts -o ControlPath={place}/%C"
    for name in ("ssh", "sudo"):
        # On her own machine she is no root; this one is.
        text = f'exec /usr/bin/ssh {own} "$@"' if name == "ssh" else 'exec "$@"'
        (place / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (place / "bin" / name).chmod(0o755)
    authority = docker("exec", GITHUB, "cat", "/var/lib/simulator/ca.pem")
    (place / "github.pem").write_text(authority + "\n")
    sh(
        *("docker", "cp", str(ROOT / "molecule/lanes/model.py"), f"{GITHUB}:/srv/model.py"),
    )
    program = "import model; model.serve(9443, model.Model, '', ['/var/lib/simulator/server.pem'])"
    started = ("docker", "exec", "--detach", "--user", "0", "--workdir", "/srv", GITHUB)
    sh(*started, "sh", "-c", 'mkdir -p model; exec python3 -c "$0"', program)
    return Person(place, address, docker("exec", GITHUB, "cat", "/var/lib/simulator/token"))


def limit(person: Person) -> None:
    """Say beside the inventory what is only so because this is a test."""
    trusted = [*Path("/usr/local/share/ca-certificates").glob("*.crt"), person.place / "github.pem"]
    authorities = [{"name": path.stem.lower(), "source": str(path)} for path in trusted]
    directory = ROOT / "inventory/first/group_vars/factory"
    directory.mkdir(parents=True)
    text = SITE.format(github=GITHUB, authorities=json.dumps(authorities))
    (directory / "machine.yml").write_text(text)


def issue(person: Person) -> int:
    """Open an issue that tells the played model what to do; its number."""
    commit = "run: echo said >said.txt && git add --all && git commit --quiet --message said"
    body = json.dumps({"title": "Say more", "body": f"Please.\n{commit}"})
    words = ["curl", "-sS", "--cacert", str(person.place / "github.pem"), "-d", body]
    words += ["-H", f"Authorization: Bearer {person.token}", "--resolve", f"{GITHUB}:443:{hub()}"]
    return int(
        json.loads(sh(*words, f"https://{GITHUB}/api/v3/repos/{REPOSITORY}/issues"))["number"]
    )


def hub() -> str:
    return docker(
        "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", GITHUB
    )


def test_every_command_of_the_document_leads_to_a_merged_pull_request(person: Person) -> None:
    number = 0
    for line in commands(DOCUMENT):
        if line == "cd aina-factory":
            assert (person.place / "aina-factory/script/new-inventory").exists()
            continue
        if "run-lane" in line:
            number = issue(person)
            line = re.sub(r"academy 1$", f"academy {number}", line)
        sat = person.type(line)
        print(f"$ {line}\n{sat.shown}")
        assert sat.status == 0, sat.shown
        if line.startswith("script/new-inventory"):
            limit(person)
        if line.startswith("script/secrets"):
            assert person.token not in sat.shown
    assert number

    def landed() -> bool:
        person.type("ssh -t ali@server.example.com sudo factory marshal")
        return "said.txt" in docker(
            "exec",
            GITHUB,
            "sh",
            "-c",
            "git -C /var/lib/simulator/*/ainative-academy/aina-academy.git ls-tree --name-only main || true",
        )

    until(landed, "the pull request on the main branch", 300)
