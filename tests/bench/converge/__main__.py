"""Time a converge that changes nothing beside mitogen, pyinfra and a shell script."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.converge.timing import ROOT, Sample, timed

HERE = Path(__file__).resolve().parent
PYINFRA = "pyinfra==3.10.0"
MITOGEN = "mitogen==0.3.54"
HOST = f"{os.environ.get('AINA_SANDBOX_NAME') or 'aina-factory'}-sandbox"


def environment_of(wanted: str) -> Path:
    """Return the environment of a package, installing it when missing."""
    directory = ROOT / ".cache" / wanted.partition("==")[0]
    if not (directory / "bin/pip").exists():
        venv.create(directory, with_pip=True)
    subprocess.run([directory / "bin/pip", "install", "--quiet", wanted], check=True)
    return directory


def under_mitogen() -> dict[str, str]:
    """Return what makes Ansible run its tasks by mitogen."""
    (plugins,) = environment_of(MITOGEN).glob(
        "lib/python3*/site-packages/ansible_mitogen/plugins/strategy"
    )
    return {"ANSIBLE_STRATEGY_PLUGINS": str(plugins), "ANSIBLE_STRATEGY": "mitogen_linear"}


def on_host(script: str) -> str:
    """Return what a shell command prints on the host."""
    argv = ["docker", "exec", HOST, "sh", "-c", script]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@dataclass(frozen=True)
class Access:
    """How the host is reached: over SSH, as a server is."""

    address: str
    key: Path
    known_hosts: Path

    @property
    def options(self) -> list[str]:
        """Return the options of ``ssh`` that make up this way in."""
        return [
            "-o",
            f"UserKnownHostsFile={self.known_hosts}",
            "-o",
            "StrictHostKeyChecking=accept-new",
        ]

    def of_ansible(self) -> list[str]:
        """Return what says so to ansible-playbook: an inventory that goes over the sandbox's."""
        variables = {
            "ansible_connection": "ssh",
            "ansible_host": self.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": " ".join(self.options),
        }
        hosts = self.key.with_name("hosts.yml")
        hosts.write_text(json.dumps({"factory": {"hosts": {"sandbox": variables}}}))
        return ["--inventory", str(hosts)]

    def of_pyinfra(self) -> list[str]:
        """Return what says so to pyinfra."""
        data = f"ssh_known_hosts_file={self.known_hosts}"
        return ["--ssh-user", "root", "--ssh-key", str(self.key), "--data", data, self.address]

    def of_ssh(self) -> list[str]:
        """Return a command that runs its further words on the host."""
        # One connection for all rounds, as Ansible keeps one.
        shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600s"]
        shared += ["-o", f"ControlPath={self.key.with_name('control')}"]
        return ["ssh", "-i", str(self.key), *self.options, *shared, f"root@{self.address}"]


def open_access(directory: Path) -> Access:
    """Give the host a server of SSH, and let this run in with a key of its own."""
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    on_host(
        "command -v /usr/sbin/sshd || { apt-get -qq update && "
        "DEBIAN_FRONTEND=noninteractive apt-get -qqy install --no-install-recommends openssh-server; }; "
        "systemctl start ssh; mkdir -p -m 700 /root/.ssh; "
        f"echo '{key.with_suffix('.pub').read_text().strip()}' >/root/.ssh/authorized_keys"
    )
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}\n{{end}}"
    shown = subprocess.run(
        ["docker", "inspect", "--format", form, HOST], capture_output=True, text=True, check=True
    ).stdout
    return Access(shown.split()[0], key, directory / "known_hosts")


def declared_state(directory: Path) -> Path:
    """Read from the host what the site run has brought there, for the others to bring as well."""
    image = f"docker run --rm {HOST.removesuffix('-sandbox')}/sandbox:trixie apt-mark showmanual"
    blank = subprocess.run(image.split(), capture_output=True, text=True, check=True).stdout
    packages = sorted({*on_host("apt-mark showmanual").split()} - {*blank.split()})
    units = on_host(
        "systemctl list-unit-files --state=enabled --no-legend --plain 'factory-*' 'aina-*' "
        "chrony.service earlyoom.service docker.service ufw.service unattended-upgrades.service"
    )
    users = on_host("getent passwd | cut -d: -f1 | grep -E '^(ali|factory-.*)$'")
    names = on_host(
        "find /etc /usr/local -type f '(' -path '*aina*' -o -path '*factory*' ')' "
        "-not -name '*.pyc'; ls /etc/docker/daemon.json"
    ).split("\n")
    (directory / "packages").write_text("\n".join(packages))
    (directory / "units").write_text(
        "\n".join(line.split()[0] for line in units.splitlines() if line)
    )
    (directory / "users").write_text(users)
    (directory / "files").mkdir()
    wanted = "".join(f"{name[1:]}\0" for name in names if name)
    tar = subprocess.run(
        ["docker", "exec", "-i", HOST, "tar", "-C", "/", "--null", "-T", "-", "-cf", "-"],
        input=wanted.encode(),
        capture_output=True,
        check=True,
    ).stdout
    unpack = ["tar", "-C", str(directory / "files"), "-xpf", "-"]
    subprocess.run(unpack, input=tar, check=True)
    shutil.copy(HERE / "setup.sh", directory)
    return directory


def main() -> int:
    """Run the rounds, print the table, judge the goals."""
    parser = argparse.ArgumentParser(prog="python -m bench.converge", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(Path(scratch), arguments.runs)
    print("| no-change run | wall, median | CPU of the control node | beside the shell script |")
    print("|---|---:|---:|---:|")
    floor = rows["shell script"]["wall_seconds"]
    for name, row in rows.items():
        print(
            f"| {name} | {row['wall_seconds']:.2f} s | {row['cpu_seconds']:.2f} s"
            f" | {row['wall_seconds'] / floor:.1f} x |"
        )
    site = rows["site.yml"]
    print(f"\nsite.yml: {site['tasks']} tasks, {site['module_calls']} module calls")
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=1) + "\n")
    met = (
        site["wall_seconds"] < rows["pyinfra"]["wall_seconds"]
        and site["wall_seconds"] <= 12 * floor
    )
    print(
        "goals met" if met else "goals NOT met: faster than pyinfra, at most 12 x the shell script"
    )
    return 0 if met else 1


def measure(scratch: Path, runs: int) -> dict[str, dict[str, Any]]:
    recap = scratch / "recap.json"
    (scratch / "access").mkdir()
    access = open_access(scratch / "access")
    (scratch / "state").mkdir()
    state = declared_state(scratch / "state")
    on_host("rm -rf /opt/bench")
    subprocess.run(["docker", "cp", "--quiet", f"{state}/.", f"{HOST}:/opt/bench"], check=True)
    site = [
        str(ROOT / ".venv/bin/ansible-playbook"),
        "--inventory",
        "inventory/sandbox",
        *access.of_ansible(),
        "playbooks/site.yml",
    ]
    configured = {"AINA_RECAP_FILE": str(recap), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    ways: dict[str, tuple[list[str], dict[str, str]]] = {
        "site.yml": (site, configured),
        "site.yml under mitogen": (site, {**configured, **under_mitogen()}),
        "pyinfra": (
            [
                str(environment_of(PYINFRA) / "bin/pyinfra"),
                "-y",
                *access.of_pyinfra(),
                str(HERE / "deploy.py"),
            ],
            {"BENCH_STATE": str(state)},
        ),
        "shell script": ([*access.of_ssh(), "/opt/bench/setup.sh"], {}),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for number in range(runs + 1):
        for name, (argv, environment) in ways.items():
            sample, _ = timed(argv, environment)
            if number:  # the first round warms caches and settles what differs
                samples[name].append(sample)
    rows: dict[str, dict[str, Any]] = {
        name: {
            "wall_seconds": statistics.median(sample.wall_seconds for sample in taken),
            "cpu_seconds": statistics.median(sample.cpu_seconds for sample in taken),
        }
        for name, taken in samples.items()
    }
    document = json.loads(recap.read_text())
    if document["changes"]:
        sys.exit(f"site.yml was not a no-change run: {document['changes']}")
    rows["site.yml"]["tasks"] = document["tasks"]
    rows["site.yml"]["module_calls"] = sum(document["module_calls"].values())
    return rows


if __name__ == "__main__":
    sys.exit(main())
