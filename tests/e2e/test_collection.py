"""A site that has no more than the installed collection and an inventory of one screen."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import containers
import galaxy
import pytest
from adopt.support import environment
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.deep]

HOST = f"{containers.NAME}-collection"
GITHUB = f"github.{HOST}"
LINES_MAX = 20
# The simulator stands for GitHub, with an authority of its own and a small host: that is four of the lines.
INVENTORY = """\
factory:
  hosts:
    server: {{ansible_connection: community.docker.docker, ansible_host: {host}}}
  vars:
    factory_user: ali
    factory_github: {{api_url: "https://{github}/api/v3", login: {{method: token_file, token_file: {at}/github-token}}}}
    factory_projects:
      - name: aina-academy
        repository: ainative-academy/aina-academy
        path: /srv/repos/aina-academy
        runner: {{slots: 1, cpus: 1, memory_mib: 768, tmp_mib: 128, work_mib: 256}}
        lanes: {{cpus: 1, memory_mib: 1536, work_mib: 512}}
        merge: {{required_checks: [ci]}}
    host_baseline_secrets: [{{name: github-token, owner: factory-marshal, \
content: "{{{{ lookup('file', inventory_dir ~ '/token') }}}}"}}]
    host_baseline_extra_ca_certificates: {authorities}
    gh_actions_runner_disk_min_free_mib: 1024
    lanes_min_free_disk_mib: 1024
    images_base: {{bootstrap_suite: trixie}}
    images_build_network: host
    watchdog_clock_enabled: false
"""


@dataclass(frozen=True)
class Converged:
    """What the first run and an unchanged second one have changed, and how long they took."""

    site: galaxy.Site
    inventory: Path
    first: list[str]
    second: list[str]
    seconds: tuple[float, float]


def docker(*words: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


def on_host(*words: str, check: bool = True) -> str:
    return docker("exec", HOST, *words, check=check)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A blank host and a GitHub beside it."""
    containers_of = {
        "factory": {"hosts": {"server": {"ansible_host": HOST}}},
        "github": {"hosts": {"hub": {"ansible_host": GITHUB, "simulator_scenario": "demo"}}},
    }
    path = tmp_path_factory.mktemp("containers") / "hosts.json"
    path.write_text(json.dumps(containers_of))

    containers.remove(f"scenario={HOST}")
    playbook = galaxy.ROOT / "molecule/shared/create.yml"
    argv = [str(galaxy.BIN / "ansible-playbook"), "--inventory", str(path), str(playbook)]
    labelled = {**environment(None), "MOLECULE_SCENARIO_NAME": HOST}
    subprocess.run(argv, cwd=galaxy.ROOT, env=labelled, check=True)
    yield
    containers.remove(f"scenario={HOST}")


@pytest.fixture(scope="module")
def converged(host: None, tmp_path_factory: pytest.TempPathFactory) -> Converged:
    site = galaxy.install(tmp_path_factory.mktemp("site"))
    inventory = write_inventory(site.path)

    def converge() -> tuple[list[str], float]:
        started = time.monotonic()
        print(site.run("ansible-playbook", "aina.factory.site", "--inventory", inventory))
        recap = json.loads((site.path / "recap.json").read_text())
        return [item["task"] for item in recap["changes"]], time.monotonic() - started

    (first, first_seconds), (second, second_seconds) = converge(), converge()
    print(f"{first_seconds:.0f} s, again {second_seconds:.0f} s")
    return Converged(site, inventory, first, second, (first_seconds, second_seconds))


def write_inventory(place: Path) -> Path:
    """Write the inventory, and beside it what a real one has encrypted: the token."""
    simulator = ("exec", GITHUB, "cat")
    (place / "token").write_text(docker(*simulator, "/var/lib/simulator/token"))
    (place / "github.pem").write_text(docker(*simulator, "/var/lib/simulator/ca.pem") + "\n")
    # What the machine that runs the tests trusts, the host trusts as well: builds reach registries.
    trusted = [*Path("/usr/local/share/ca-certificates").glob("*.crt"), place / "github.pem"]
    authorities = [{"name": path.stem.lower(), "source": str(path)} for path in trusted]
    text = INVENTORY.format(
        host=HOST,
        github=GITHUB,
        at="/etc/aina-factory/secrets",
        authorities=json.dumps(authorities),
    )
    (place / "hosts.yml").write_text(text)
    return place / "hosts.yml"


def test_an_inventory_of_one_screen_is_enough(converged: Converged) -> None:
    assert len(converged.inventory.read_text().splitlines()) <= LINES_MAX
    assert {task.partition(" : ")[0] for task in converged.first} >= {
        f"aina.factory.{role}" for role in ("host_baseline", "factory_crons", "images", "lanes")
    }
    assert "valid: " in on_host("factory", "validate")
    for image in ("lane", "ci"):
        assert on_host("docker", "images", "--quiet", f"aina-factory/{image}:current")
    assert on_host("systemctl", "is-active", "factory-lane-gateway.service") == "active"


def test_the_jobs_of_all_capabilities_run_though_the_inventory_names_none(
    converged: Converged,
) -> None:
    jobs = json.loads(on_host("factory", "jobs", "--json"))["jobs"]

    assert {job["name"] for job in jobs} == {
        *("watchdog", "disk-usage", "proofs", "janitor", "factory-images", "release-marshal"),
        *("lane-store", "lane-mirrors"),
    }
    timers = [f"factory-job-{job['name']}.timer" for job in jobs]
    assert {*on_host("systemctl", "is-active", *timers).splitlines()} == {"active"}


def test_a_runner_is_online(converged: Converged) -> None:
    def is_online() -> bool:
        (slot,) = json.loads(on_host("factory", "runner", "list", "--json"))["runners"]
        return bool(slot["state"] == "idle")

    until(is_online, "a runner that waits for jobs")


def test_an_unchanged_second_run_changes_nothing(converged: Converged) -> None:
    assert converged.first
    assert converged.second == []
