"""Hosts of the adoption tests: make them, converge them, interrupt them, look at them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import containers
import residue
from e2e.sandbox import FINGERPRINT
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
NAME = f"{containers.NAME}-adopt"
GITHUB = f"github.{NAME}"
REPOSITORY = "ainative-academy/aina-academy"


def sh(*argv: str, stdin: bytes = b"", check: bool = True) -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="replace").strip()


@dataclass(frozen=True)
class Ran:
    """A run of ansible-playbook that ended."""

    returncode: int
    output: str
    recap: dict[str, Any]

    @property
    def what(self) -> set[str]:
        """What was changed, or in check mode would be: tasks, files, packages, parked scripts.

        How a daemon takes it over is left out: one that an installation has just started need
        not be started again.
        """
        phrases = {phrase for item in self.recap["changes"] for phrase in item["what"]}
        things = {phrase for phrase in phrases if phrase.startswith(("/", "install ", "park "))}
        return things | {item["task"] for item in self.recap["changes"]}


@dataclass(frozen=True)
class Host:
    """One host by its name in the inventory, and the environment whose Ansible serves it."""

    name: str
    control: Path = Path(sys.prefix)

    @property
    def container(self) -> str:
        return f"{NAME}-{self.name.removeprefix('adopt-')}"

    def on(self, *argv: str, stdin: bytes = b"", check: bool = True) -> str:
        interactive = ["--interactive"] if stdin else []
        return sh("docker", "exec", *interactive, self.container, *argv, stdin=stdin, check=check)

    def shell(self, script: str, *, stdin: bytes = b"", check: bool = True) -> str:
        return self.on("bash", "-c", script, stdin=stdin, check=check)

    def python(self, script: Path) -> str:
        return self.on("python3", "-", stdin=script.read_bytes())

    def manifest(self) -> dict[str, str]:
        return dict(json.loads(line) for line in self.python(HERE / "manifest.py").splitlines())

    def fingerprint(self) -> list[str]:
        return self.on("sh", "-c", FINGERPRINT).splitlines()

    def command(self, *options: str, playbook: str = "playbooks/site.yml") -> list[str]:
        return [
            str(self.control / "bin/ansible-playbook"),
            *("--inventory", "inventory/production", "--inventory", str(HERE / "hosts.yml")),
            *("--limit", self.name, *options, playbook),
        ]

    def play(self, *options: str, playbook: str = "playbooks/site.yml") -> Ran:
        """Run a playbook to its end."""
        recap = Path(f"/tmp/recap-{self.name}-{os.getpid()}.json")
        recap.unlink(missing_ok=True)
        done = subprocess.run(
            self.command(*options, playbook=playbook),
            cwd=ROOT,
            env=environment(recap),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        document = json.loads(recap.read_text()) if recap.exists() else {"changes": []}
        recap.unlink(missing_ok=True)
        return Ran(done.returncode, done.stdout, document)

    def converge(self) -> Ran:
        ran = self.play()
        assert ran.returncode == 0, ran.output
        return ran

    @contextlib.contextmanager
    def playing(self, playbook: str = "playbooks/site.yml") -> Iterator[subprocess.Popen[str]]:
        """Start a run in a process group of its own; whatever is left of it ends with the block.

        Ansible's workers leave the group, and one that has an answer for a dead parent waits for ever.
        """
        mark = f"AINA_TEST_PLAY={uuid.uuid4()}"
        name, _, value = mark.partition("=")
        process = subprocess.Popen(
            self.command(playbook=playbook),
            cwd=ROOT,
            env={**environment(None), name: value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            residue.end(mark)
            if process.stdout is not None:
                process.stdout.close()

    def kill_in_task(self, number: int, delay_seconds: float, playbook: str) -> bool:
        """SIGKILL a run so long after its task ``number`` began; False when it had ended before."""
        with self.playing(playbook) as process:
            if not began(process, number):
                return False
            time.sleep(delay_seconds)
            return process.poll() is None

    def lose_connection_in_task(self, number: int, playbook: str) -> bool:
        """End the connection under a running module; the run itself notices and ends."""
        with self.playing(playbook) as process:
            if not began(process, number):
                return False
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                connections = [pid for pid in descendants(process.pid) if is_connection(pid)]
                for pid in connections:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                if connections:
                    break
                time.sleep(0.02)
            assert process.stdout is not None
            process.stdout.read()
            return process.wait() != 0

    def lose_power_when(self, condition: str, playbook: str) -> None:
        """SIGKILL the whole host at the moment the condition holds, while a run is at work."""
        # The host watches itself: to be asked from outside would keep it from its work.
        watch = f"until {condition}; do sleep 0.05; done >/dev/null 2>&1"
        argv = ["docker", "exec", self.container, "timeout", "1200", "bash", "-c", watch]
        with self.playing(playbook) as process, subprocess.Popen(argv) as watching:
            try:
                while watching.poll() is None:
                    assert process.poll() is None, "the run ended before the moment came"
                    time.sleep(0.02)
                sh("docker", "kill", "--signal", "KILL", self.container)
            finally:
                watching.kill()
            assert watching.returncode == 0, f"the moment did not come: {condition}"
        self.boot()

    def boot(self) -> None:
        sh("docker", "start", self.container)
        self.wait_until_booted()

    def wait_until_booted(self) -> None:
        def is_booted() -> bool:
            # Waits by itself once systemd can be asked at all.
            asked = ("timeout", "60", "systemctl", "is-system-running", "--wait")
            return self.on(*asked, check=False) in ("running", "degraded")

        until(is_booted, f"the boot of {self.container}", 120)


def descendants(pid: int) -> Iterator[int]:
    """Yield all processes below one; Ansible's workers are in sessions of their own."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(status.parent.name))
    pending = [pid]
    while pending:
        children = parents.get(pending.pop(), [])
        pending += children
        yield from children


def is_connection(pid: int) -> bool:
    """Whether a process carries a command to the host."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"docker") and b"exec" in words


def began(process: subprocess.Popen[str], number: int) -> bool:
    """Read the run's output until its task ``number`` begins; False when it ended before."""
    assert process.stdout is not None
    count = 0
    for line in process.stdout:
        count += line.startswith(("TASK [", "RUNNING HANDLER ["))
        if count >= number:
            return True
    return False


def environment(recap: Path | None) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ANSIBLE_") or name.startswith("ANSIBLE_CALLBACK")
    }
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections:{ROOT}/.venv/collections",
        # Tasks are counted as they begin, and a failure is looked into.
        "ANSIBLE_STDOUT_CALLBACK": "default",
        "LC_ALL": "C.UTF-8",
        **({"AINA_RECAP_FILE": str(recap)} if recap else {}),
    }


_BELONGINGS = r"""
dpkg-query -W -f 'package ${Package} ${Status}\n'
systemctl list-unit-files --no-legend --no-pager | awk '{print "unit", $1, $2}'
getent passwd | sed 's/^/user /'
getent group | sed 's/^/group /'
# Empty directories are nobody's, and what apt and dpkg know of packages is theirs.
find /etc /usr/local /opt /srv /root /home /var/lib /var/spool /var/backups /var/cache -xdev ! -type d \
  ! -path '/var/lib/apt/*' ! -path '/var/lib/dpkg/*' ! -path '/var/cache/apt/*' ! -path '/root/.ansible/*' \
  ! -name '*.pyc' -printf '%y %m %u:%g %p %l\n'
find /etc /usr/local -xdev -type f -exec sha256sum {} +
"""


def belongings(host: Host) -> set[str]:
    """Return everything that a host has and that its programs do not write by themselves."""
    return set(host.shell(_BELONGINGS).splitlines())


def purge(host: Host, before: set[str]) -> None:
    """Remove the packages that were not there before, and what these have left behind."""
    now = {line for line in host.shell(_BELONGINGS).splitlines() if line.startswith("package ")}
    names = " ".join(sorted(line.split()[1] for line in now - before))
    host.shell(f"DEBIAN_FRONTEND=noninteractive apt-get purge -qq -y {names} >/dev/null 2>&1")


def stray_daemons(host: Host) -> list[str]:
    """Return the daemons that run otherwise than their files declare."""
    script = r"""
boot=$(awk '/^btime/ {print $2}' /proc/stat)
late() {  # UNIT FILE...: does the unit run since before one of its files changed?
  unit=$1; shift
  started=$(systemctl show --property=ActiveEnterTimestamp --value --timestamp=unix "$unit" | tr -d @)
  [ -n "$started" ] || { echo "$unit does not run"; return; }
  for file in "$@"; do
    [ ! -e "$file" ] || [ "$(stat -c %Z "$file")" -le $((started + 1)) ] || echo "$unit older than $file"
  done
}
late systemd-journald /etc/systemd/journald.conf.d/60-aina-factory.conf
late earlyoom /etc/systemd/system/earlyoom.service.d/60-aina-factory.conf
late ssh /etc/ssh/sshd_config.d/10-aina-factory.conf
runner=factory-runner-native-host
late $runner /etc/systemd/system/$runner.service
settings=/etc/aina-factory/conf.d
for slot in 1 2; do
  late factory-runner@aina-academy-$slot /etc/systemd/system/factory-runner@.service $settings/runners.json
done
late factory-lane-gateway /etc/systemd/system/factory-lane-gateway.service $settings/lanes.json
[ "$(docker info --format '{{.LoggingDriver}} {{.LiveRestoreEnabled}}')" = "local true" ] ||
  echo "docker runs otherwise"
iptables -S DOCKER-USER | grep -q AINA-FACTORY || echo "published ports are not guarded"
ufw status | grep -q 'Status: active' || echo "no firewall"
factory jobs --json | python3 -c '
import json, sys
document = json.load(sys.stdin)
for job in document["jobs"]:
    if job["drift"] != []:
        print(job["name"], job["drift"])
for item in document["drift"]:
    print(item)'
systemctl list-units --failed --no-legend --plain | grep -v factory-job || true
find / -xdev -name '.*.managed-tmp' -not -path '/proc/*' 2>/dev/null
find /var/lib/aina-factory/images -type d -name 'factory-*'
docker images --format '{{.Repository}}:{{.Tag}}' | grep candidate
dpkg --audit
"""
    return host.shell(script).splitlines()


def create(*names: str) -> dict[str, Host]:
    """Make blank hosts under these names."""
    destroy(*names)
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--inventory",
        str(HERE / "hosts.yml"),
    ]
    subprocess.run(
        [*argv, str(ROOT / "molecule/shared/create.yml")],
        cwd=ROOT,
        env=environment(None),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        check=True,
    )
    play_model()
    return {name: Host(name) for name in names}


def play_model() -> None:
    """Play the lanes' model beside GitHub, under its certificate."""
    sh("docker", "cp", str(ROOT / "molecule/lanes/model.py"), f"{GITHUB}:/srv/model.py")
    chain = ["/var/lib/simulator/server.pem"]
    program = f"import model; model.serve(9443, model.Model, '', {chain})"
    started = ("docker", "exec", "--detach", "--user", "0", "--workdir", "/srv", GITHUB)
    sh(*started, "sh", "-c", 'mkdir -p model; exec python3 -c "$0"', program)


def destroy(*names: str) -> None:
    for container in (*(Host(name).container for name in names), GITHUB):
        sh("docker", "rm", "--force", "--volumes", container, check=False)


def make_rotten(host: Host) -> None:
    """Build the server that grew by hand."""
    host.shell("mkdir -p /opt/aina-factory-demo /srv/aina")
    sh(
        "docker",
        "cp",
        str(ROOT / "tests/corpus"),
        f"{host.container}:/opt/aina-factory-demo/corpus",
    )
    host.on("bash", "-c", "apt-get update -qq && apt-get install -qq -y git >/dev/null")
    read = ("docker", "exec", GITHUB, "cat")
    authority, token = (sh(*read, f"/var/lib/simulator/{name}") for name in ("ca.pem", "token"))
    host.shell("cat >/srv/aina/github.pem", stdin=authority.encode())
    words = (f"GITHUB_URL=https://{GITHUB}", f"GITHUB_TOKEN={token}", "python3", "-")
    host.on("env", *words, stdin=(HERE / "rotten.py").read_bytes())


def foundation(verb: str, host: Host) -> None:
    """Take over the images that an earlier test has built, or keep them for the next."""
    sh(str(ROOT / "molecule/shared/foundation.sh"), verb, host.container)


# --- GitHub ------------------------------------------------------------------


def ask_github(method: str, path: str, body: Any = None) -> Any:
    """Send a command to the control port of the simulated GitHub."""
    argv = ["docker", "exec", "--interactive", GITHUB, "python3", "-P"]
    argv += ["/opt/aina-factory/tests/simulator/ask.py", "http://127.0.0.1:8080", method, path]
    return json.loads(sh(*argv, stdin=json.dumps(body).encode()))


def job(number: int) -> dict[str, Any]:
    return dict(ask_github("GET", f"/job?repository={REPOSITORY}&id={number}"))


def finished_job(number: int) -> dict[str, Any] | None:
    """Return a job once it is over."""
    found = job(number)
    return found if found["status"] == "completed" else None


def queue_job(label: str, script: str) -> int:
    body = {"repository": REPOSITORY, "labels": [label], "steps": [{"run": script}]}
    return int(ask_github("POST", "/job", body)["id"])


_API = f"""\
import json, sys, urllib.request
token = open("/etc/aina-factory/secrets/runner-token").read().strip()
method, path, body = sys.argv[1:]
url = "https://{GITHUB}/api/v3/repos/{REPOSITORY}" + path
headers = {{"Authorization": "Bearer " + token, "Content-Type": "application/json"}}
request = urllib.request.Request(url, body.encode() or None, headers, method=method)
print(urllib.request.urlopen(request).read().decode())
"""


def api(host: Host, method: str, path: str, body: Any = None) -> Any:
    """Ask GitHub from the host, with its own token."""
    text = json.dumps(body) if body is not None else ""
    return json.loads(host.on("python3", "-c", _API, method, path, text))


def registrations(host: Host) -> list[str]:
    """Return the runners that GitHub has.

    Those of a slot have a new name for every job. Of one that died the healer removes the
    entry later.
    """
    found = []
    for runner in api(host, "GET", "/actions/runners")["runners"]:
        turn = re.fullmatch(r"(.+-\d+)-[0-9a-z]{8,9}", runner["name"])
        if turn is None or runner["status"] == "online":
            labels = sorted(label["name"] for label in runner["labels"])
            name = turn[1] if turn else runner["name"]
            found.append(" ".join([name, runner["status"], *labels]))
    return sorted(found)


def run_lane(host: Host) -> dict[str, Any]:
    """Have a lane work on an issue that tells the model what to do."""
    commit = "run: echo said >said.txt && git add --all && git commit --quiet --message said"
    issue = api(host, "POST", "/issues", {"title": "Say more", "body": f"Please.\n{commit}"})
    words = ("factory", "lane", "run", "aina-academy", str(issue["number"]), "--json")
    return dict(json.loads(host.on(*words, check=False)))
