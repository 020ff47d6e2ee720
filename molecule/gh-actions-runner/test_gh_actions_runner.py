"""What runners do on a host with systemd and a real engine; GitHub is the simulator."""

from __future__ import annotations

import itertools
import json
import shlex
import statistics
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from behaviour import Simulator, converge
from sampling import is_deep
from waiting import until

SCENARIO = Path(__file__).parent

HOST = "gh-actions-runner-host"
GITHUB = Simulator("github.gh-actions-runner")
REPOSITORY = "factory/demo"
STATE = "/var/lib/aina-factory/runners"
MARK = "/var/lib/aina-factory/draining.json"
SLOTS = ("demo-1", "demo-2")
# As long a list of releases is believed here, and a moment.
RELEASES_SECONDS = 2.5


def state(host: Any, name: str) -> dict[str, Any]:
    answer = host.run(f"cat {STATE}/{name}.json")
    return dict(json.loads(answer.stdout)) if answer.rc == 0 else {"state": "missing"}


def registered() -> dict[str, str]:
    """All runners that GitHub knows, with their status."""
    return dict(GITHUB.ask("GET", f"/repository?repository={REPOSITORY}")["runners"])


def is_up(host: Any) -> bool:
    slots = [state(host, slot) for slot in SLOTS]
    if any(slot["state"] != "idle" for slot in slots):
        return False
    online = {name for name, status in registered().items() if status == "online"}
    return online == {"box-host", *(slot["runner_name"] for slot in slots)}


@pytest.fixture(scope="module", autouse=True)
def log_of_these_tests(host: Any) -> str:
    """How to read what was written since they began: the host may have been used before."""
    _, _, cursor = host.check_output("journalctl --lines 0 --show-cursor").rpartition("cursor: ")
    return f"journalctl --no-pager --output verbose --after-cursor {shlex.quote(cursor.strip())}"


@pytest.fixture(autouse=True)
def everything_runs(host: Any) -> Iterator[None]:
    """Begin and end with two idle slots and an idle native runner, and nothing else."""
    until(lambda: is_up(host), "every runner is idle")
    yield
    until(lambda: is_up(host), "every runner is idle again")


def queue(*steps: str, label: str = "demo") -> int:
    body = {"repository": REPOSITORY, "labels": [label], "steps": [{"run": s} for s in steps]}
    return int(GITHUB.ask("POST", "/job", body)["id"])


def job(number: int) -> dict[str, Any]:
    return dict(GITHUB.ask("GET", f"/job?repository={REPOSITORY}&id={number}"))


def done(number: int, seconds: float = 180.0) -> dict[str, Any]:
    found: dict[str, Any] = until(
        lambda: (shown := job(number))["status"] == "completed" and shown, f"job {number}", seconds
    )
    return found


def begun(number: int) -> dict[str, Any]:
    found: dict[str, Any] = until(
        lambda: (shown := job(number))["status"] != "queued" and shown, f"begin of {number}"
    )
    return found


UNTIL_TOLD = "until [ -e /tmp/told ]; do sleep 0.2; done"


def tell(host: Any, runner: str) -> None:
    """Let a job go on that waits for a word."""
    host.check_output(f"docker exec {runner} touch /tmp/told")


# --- what a job cannot reach -------------------------------------------------------

# Each line is what a job gets to see of something; "no" where it gets nothing.
REACH = """\
tried() { what=$1; shift; if "$@" >/dev/null 2>&1; then echo "$what: yes"; else echo "$what: no"; fi; }
port() { timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2"; }
tried internet_name getent hosts github.gh-actions-runner
tried github port github.gh-actions-runner 443
tried github_service port github.gh-actions-runner 8081 &
tried metadata port 169.254.169.254 80 &
tried host_service port HOST_ADDRESS 8099 &
tried gateway_service port $(ip route | awk '/default/ {print $3}') 8099 &
connect="import socket; socket.socket(socket.AF_UNIX).connect"
tried engine python3 -c "$connect('/run/docker.sock')"
tried containerd python3 -c "$connect('/run/containerd/containerd.sock')"
tried kill_supervisor pgrep -f 'factory runner'
tried become_root sudo -n true
tried mount_something mount -t tmpfs none /mnt
tried write_system touch /usr/bin/x
wait
"""
OPEN = {"internet_name", "github"}


def reach(host: Any, label: str) -> dict[str, bool]:
    address = host.check_output("hostname -I").split()[0]
    found = done(queue(REACH.replace("HOST_ADDRESS", address), label=label))
    assert found["conclusion"] == "success", found["log"]
    pairs = (line.partition(": ") for line in found["log"].splitlines())
    return {name: answer == "yes" for name, _, answer in pairs}


@pytest.fixture
def services(host: Any) -> Iterator[None]:
    """Services on the host, and one where clouds have their metadata."""
    host.run("ip address add 169.254.169.254/32 dev lo")
    for address, port in (("0.0.0.0", 8099), ("169.254.169.254", 80)):  # noqa: S104 - that is the trap
        unit = f"listener-{port}"
        command = f"python3 -m http.server --bind {address} {port}"
        host.run(f"systemd-run --unit {unit} {command}")
        socket = host.socket(f"tcp://{address}:{port}")
        until(partial(getattr, socket, "is_listening"), unit)
    beside = f"docker exec --detach {GITHUB.container} python3 -m http.server 8081"
    subprocess.run(beside.split(), check=True)
    yield
    host.run("systemctl stop listener-80 listener-8099")
    beside = f"docker exec {GITHUB.container} pkill --full http.server"
    subprocess.run(beside.split(), check=False)
    host.run("ip address del 169.254.169.254/32 dev lo")


def test_a_job_reaches_github_and_nothing_of_the_host_or_its_networks(
    host: Any, services: None
) -> None:
    # They are there: a container without isolation reaches them.
    github = host.check_output(f"getent hosts {GITHUB.container}").split()[0]
    for address, port in (("169.254.169.254", 80), (github, 8081)):
        probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"
        until(partial(reaches_unisolated, host, probe), f"{address} {port}")

    found = reach(host, "demo")

    assert {name for name, open_ in found.items() if open_} == OPEN


# Asks for the log of requests, which the control port alone gives, at every address that a job
# can find out about: names, its own, its neighbours', gateways, and what connections exist.
CONTROL = """\
import concurrent.futures, glob, re, socket, ssl, struct, urllib.request
found = {"127.0.0.1", "::1"}
for name in ("github.gh-actions-runner", "host.docker.internal", socket.gethostname(), "HOST_ADDRESS"):
    try:
        found |= {str(entry[4][0]) for entry in socket.getaddrinfo(name, 443)}
    except OSError:
        pass
for line in open("/proc/net/route").read().splitlines()[1:]:
    for word in line.split()[1:3]:
        found.add(socket.inet_ntoa(struct.pack("<L", int(word, 16))))
for path in ("/proc/net/fib_trie", "/proc/net/arp", "/etc/hosts", "/etc/resolv.conf"):
    found |= set(re.findall(r"[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+", open(path).read()))
for line in open("/proc/net/tcp").read().splitlines()[1:]:
    found.add(socket.inet_ntoa(struct.pack("<L", int(line.split()[2].split(":")[0], 16))))
found -= {"0.0.0.0"}
print("tried", len(found))
anybody = ssl._create_unverified_context()
def ask(url):
    try:
        body = urllib.request.urlopen(url, timeout=3, context=anybody).read()
        return url if b'"requests"' in body else ""
    except (OSError, ValueError):
        return ""
urls = []
for address in sorted(found):
    host = "[" + address + "]" if ":" in address else address
    urls += ["http://" + host + ":8080/log", "https://" + host + "/log", "https://" + host + "/control/log"]
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    for url in filter(None, pool.map(ask, urls)):
        print("reached", url)
"""


def unisolated(host: Any, script: str, *options: str) -> Any:
    """Run a script in a job's image without what keeps a job in."""
    words = shlex.join(
        [*options, "--entrypoint=/bin/bash", "aina-factory/ci:current", "-c", script]
    )
    return host.run(f"docker run --rm {words}")


def reaches_unisolated(host: Any, probe: str) -> bool:
    return bool(unisolated(host, probe).rc == 0)


@pytest.mark.deep
@pytest.mark.parametrize("label", ["demo", "onhost"])
def test_a_job_reaches_the_control_port_of_the_simulator_at_no_address(
    host: Any, label: str
) -> None:
    script = CONTROL.replace("HOST_ADDRESS", host.check_output("hostname -I").split()[0])
    argv = ["docker", "exec", GITHUB.container, "python3", "-c", script]
    beside = subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    found = done(queue(f"python3 -c {shlex.quote(script)}", label=label))["log"]

    assert "reached http://127.0.0.1:8080/log" in beside  # where only the rules are missing
    assert int(found.split()[1]) >= 5
    assert "reached" not in found


# The pattern does not match itself.
SEARCH = """\
set +e
pattern='KEY-OF-THE-[A]PP-[0-9]{8}'
grep -rlsaE -D skip --exclude-dir=proc --exclude-dir=sys "$pattern" /
grep -lsaE "$pattern" /proc/[0-9]*/environ /proc/[0-9]*/cmdline
grep -rlsaE -D skip "$pattern" /proc/[0-9]*/root/etc/aina-factory /proc/[0-9]*/root/run
grep -lsaE -D skip "$pattern" /proc/[0-9]*/fd/* /proc/[0-9]*/cwd/*
echo searched
"""


@pytest.fixture
def app_key(host: Any) -> Iterator[str]:
    """An App's key where the host has it, and a process of the host that was given it."""
    path = "/etc/aina-factory/secrets/github-app.pem"
    host.check_output(f"install -m 0600 /dev/null {path} && echo KEY-OF-THE-APP-20261125 >{path}")
    argv = ["docker", "exec", "--detach", "--env", "KEY=KEY-OF-THE-APP-20261125", HOST]
    subprocess.run([*argv, "sleep", "987654"], check=True)
    yield path
    host.check_output(f"rm {path}; pkill --full '[s]leep 987654'")


@pytest.mark.deep
@pytest.mark.parametrize("label", ["demo", "onhost"])
def test_a_job_finds_the_key_of_the_app_nowhere(host: Any, app_key: str, label: str) -> None:
    # Where isolation is missing it is found: in a file, and in a process of somebody else.
    options = (
        "--user=0",
        "--pid=host",
        "--cap-add=SYS_PTRACE",
        "--security-opt=apparmor=unconfined",
    )
    seen = unisolated(host, SEARCH, *options, f"--volume={app_key}:/home/runner/key").stdout
    assert "/home/runner/key\n" in seen
    assert "/environ\n" in seen

    assert done(queue(f"{{ {SEARCH}}} 2>/dev/null", label=label))["log"] == "searched\n"


@pytest.mark.deep
def test_the_walls_survive_a_restart_of_the_engine(host: Any, services: None) -> None:
    host.check_output("systemctl restart docker")
    until(lambda: is_up(host), "every runner is back")

    found = reach(host, "demo")

    assert {name for name, open_ in found.items() if open_} == OPEN


@pytest.mark.deep
def test_walls_that_were_taken_down_are_up_again_before_the_next_job(
    host: Any, services: None
) -> None:
    host.check_output("nft delete table inet aina_runners")
    for slot in SLOTS:  # the runners that wait now began isolated; the next ones must too
        host.check_output(f"systemctl restart factory-runner@{slot}")
    until(lambda: is_up(host), "every runner is back")

    assert not reach(host, "demo")["metadata"]


@pytest.mark.deep
def test_slots_do_not_reach_each_other(host: Any) -> None:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    serving = queue(f"python3 -m http.server 8000 & {UNTIL_TOLD}")
    runner = begun(serving)["runner"]
    address = host.check_output(f"docker inspect --format '{form}' {runner}")
    reached = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/8000'"
    until(lambda: host.run(reached).rc == 0, "the server in the job")

    found = done(queue(reached))

    assert host.run(reached).rc == 0
    assert found["runner"] != runner
    assert found["conclusion"] == "failure"
    tell(host, runner)
    assert done(serving)["conclusion"] == "success"


@pytest.mark.deep
def test_a_second_job_sees_nothing_of_the_first(host: Any) -> None:
    traces = "/tmp/trace /home/runner/trace /home/runner/actions-runner/_work/trace"
    first = done(queue(f"touch {traces}; sleep 300 & echo left"))
    again = [done(queue(f"ls {traces} 2>/dev/null; pgrep sleep; true")) for _ in range(2)]

    assert first["log"] == "left\n"
    assert [found["log"] for found in again] == ["", ""]


def test_a_job_on_the_host_reads_no_secret_and_sees_no_foreign_process(
    host: Any, services: None
) -> None:
    found = reach(host, "onhost")

    # It shares the host's network; what is protected there is the metadata.
    reached = {name for name, open_ in found.items() if open_}
    assert reached == {*OPEN, "host_service", "github_service"}
    credentials = "cat /proc/1/environ /proc/1/cmdline; ls /proc | grep -c '^[0-9]'"
    seen = done(queue(credentials, label="onhost"))["log"]
    assert "systemd" not in seen


# --- what a job cannot exhaust -------------------------------------------------------


def test_a_greedy_job_is_ended_by_its_own_limit_and_its_neighbour_goes_on(host: Any) -> None:
    neighbour = queue(f"{UNTIL_TOLD}; echo whole")
    runner = begun(neighbour)["runner"]
    greedy = {
        "memory": "python3 -c 'x = [bytearray(8 << 20) for _ in range(200)]'",
        "processes": "python3 -c 'import os, time\nwhile os.fork(): pass\ntime.sleep(20)'",
        "one large file": "head -c 200M /dev/zero >/home/runner/large",
        "work folder": 'head -c 100M /dev/zero >"$RUNNER_TEMP/large"',
        "many files": "for i in 1 2 3 4; do head -c 40M /dev/zero >/home/runner/$i; done; sleep 600",
    }

    ends = {what: done(queue(script))["conclusion"] for what, script in greedy.items()}

    assert set(ends.values()) <= {"failure", "cancelled"}, ends
    assert ends["many files"] == "cancelled"
    assert job(neighbour)["status"] == "in_progress"
    assert host.run("timeout 5 true").rc == 0
    tell(host, runner)
    assert done(neighbour)["log"] == "whole\n"


@pytest.mark.deep
def test_a_job_that_sleeps_for_ever_is_ended_and_a_crashed_native_runner_comes_back(
    host: Any,
) -> None:
    number = queue("sleep 100000")
    shown = "systemctl show -p MainPID --value factory-runner-native-host"
    before = host.check_output(shown)

    host.check_output("systemctl kill --signal=KILL factory-runner-native-host")

    until(lambda: host.check_output(shown) not in ("0", before), "another process")
    assert done(number)["conclusion"] == "cancelled"
    # The runner is ended with its supervisor's words in the journal.
    journal = host.run("journalctl -u 'factory-runner@*' --no-pager -o cat").stdout
    assert "its job took more than 0.75 minutes" in journal


def test_a_job_counts_its_own_processors_and_all_slots_share_one_bound(host: Any) -> None:
    assert done(queue("nproc"))["log"] == "1\n"
    driver = host.check_output("docker info --format '{{.CgroupDriver}}'")
    group = host.check_output(
        "systemctl show --property=ControlGroup --value factory-runners.slice"
    )
    until(lambda: is_up(host), "every runner is idle again")
    name = state(host, "demo-1")["runner_name"]
    parent = host.check_output(f"docker inspect --format '{{{{.HostConfig.CgroupParent}}}}' {name}")
    assert parent == ("factory-runners.slice" if driver == "systemd" else group)
    assert host.check_output(
        "systemctl show --property=MemoryMax --value factory-runners.slice"
    ).isdigit()


# --- many jobs -------------------------------------------------------------------------


def used_bytes(host: Any) -> int:
    """Bytes under everything that a job could grow; the log is bounded by itself."""
    roots = "/var/lib/docker/overlay2 /var/lib/docker/containers /var/lib/docker/volumes"
    roots += f" {STATE} /var/lib/gha-runner /opt/gha-runner /run/lock"
    return sum(
        int(line.split()[0])
        for line in host.run(f"du -s --block-size=1 {roots}").stdout.splitlines()
    )


def test_many_jobs_over_two_slots_leave_the_host_as_it_was(host: Any) -> None:
    count = 20 if is_deep() else 6
    before, containers = used_bytes(host), host.check_output("docker ps -aq | wc -l")
    waits: list[float] = []

    numbers = [queue("head -c 5M /dev/urandom >big; echo ok") for _ in range(count)]
    found = [done(number, 300) for number in numbers]

    assert {shown["log"] for shown in found} == {"ok\n"}
    assert len({shown["runner"] for shown in found}) == count
    by_slot: dict[str, list[dict[str, Any]]] = {}
    for shown in found:
        by_slot.setdefault(shown["runner"].rpartition("-")[0], []).append(shown)
    for shown_by in by_slot.values():
        ordered = sorted(shown_by, key=lambda shown: shown["started_at"])
        pairs = itertools.pairwise(ordered)
        waits += [after["started_at"] - former["completed_at"] for former, after in pairs]
    print(
        f"median from the end of one job to the start of the next: {statistics.median(waits):.2f} s"
    )
    until(lambda: is_up(host), "every runner is idle again")
    assert host.check_output("docker ps -aq | wc -l") == containers
    assert abs(used_bytes(host) - before) < 256 * 1024


# --- runners that end ---------------------------------------------------------------------


@pytest.mark.deep
def test_a_killed_supervisor_does_not_take_its_job_along(host: Any) -> None:
    number = queue("sleep 8; echo whole")
    slot = begun(number)["runner"].removeprefix("box-").rpartition("-")[0]

    host.check_output(f"systemctl kill --signal=KILL factory-runner@{slot}")

    assert done(number)["log"] == "whole\n"


def test_a_stopped_slot_lets_its_job_end(host: Any) -> None:
    number = queue("sleep 5; echo whole")
    runner = begun(number)["runner"]
    slot = runner.removeprefix("box-").rpartition("-")[0]

    host.check_output(f"systemctl stop factory-runner@{slot}")

    assert job(number)["log"] == "whole\n"
    assert runner not in registered()
    assert state(host, slot)["state"] == "stopped"
    host.check_output(f"systemctl start factory-runner@{slot}")


def alerts(host: Any) -> str:
    return str(host.run("factory watchdog --json").stdout)


def ended_in_turn(host: Any, slot: str, codes: list[int]) -> dict[str, Any]:
    """Have a slot's next runners end so while they wait; return the slot's state after the last one."""
    for code in codes:
        order = {"name": f"box-{slot}-*", "at": "idle", "exit": code}
        GITHUB.ask("POST", "/runner_order", order)
    found: dict[str, Any] = until(
        lambda: (shown := state(host, slot))["last_exit_code"] == codes[-1] and shown,
        f"the ends {codes}",
    )
    return found


@pytest.mark.deep
def test_a_slot_tries_again_after_each_end_of_its_runner(host: Any) -> None:
    for count, code in enumerate((1, 2, 3, 4, 5, 6, 139), 1):  # the last is a crash
        found = ended_in_turn(host, "demo-1", [code])
        assert found["consecutive_failures"] == count
        if count == 5:
            assert "5 failures in a row" in alerts(host)
    until(lambda: is_up(host), "the next runner")


# systemd does the same after each of them.
@pytest.mark.parametrize(
    "code", [1, 139, *(pytest.param(code, marks=pytest.mark.deep) for code in (2, 3, 4, 5, 6))]
)
def test_a_native_runner_is_told_of_and_started_again_after_each_end(host: Any, code: int) -> None:
    unit = "factory-runner-native-host"
    host.check_output(f"systemctl reset-failed {unit}")  # its starts are not counted for this test
    before = host.check_output(f"systemctl show -P MainPID {unit}")
    status = str(code if code < 128 else code - 128)

    GITHUB.ask("POST", "/runner_order", {"name": "box-host", "at": "idle", "exit": code})

    ends = f"systemctl show -P SubState -P ExecMainStatus {unit}"
    until(lambda: set(host.check_output(ends).split()) == {"auto-restart", status}, "its end")
    found = until(
        lambda: (
            host.run("factory runner heal")
            and (shown := state(host, "host"))["state"] == "backoff"
            and shown["detail"].endswith(f"(status {status})")
            and shown
        ),
        "the word of it",
        25,
    )
    assert found["last_exit_code"] == int(status)
    assert found["consecutive_failures"] >= 1
    # An operator need not do this: systemd does it after 30 seconds.
    if code != 5:
        host.check_output(f"systemctl start {unit}")
    until(
        lambda: host.check_output(f"systemctl show -P MainPID {unit}") not in ("0", before),
        "its end",
    )


@pytest.mark.deep
def test_an_outdated_image_is_told_and_another_one_starts_the_slot_again(host: Any) -> None:
    order = {"name": "box-demo-1-*", "at": "idle", "deprecated": True}
    GITHUB.ask("POST", "/runner_order", order)

    found = until(
        lambda: (s := state(host, "demo-1"))["state"] == "outdated" and s, "the end of the slot"
    )

    assert (found["last_exit_code"], found["runner_id"]) == (7, None)
    until(lambda: host.run("systemctl is-failed factory-runner@demo-1").rc == 0, "it failed")
    assert "accepts its version no longer" in alerts(host)
    host.check_output("factory runner heal; true")
    assert state(host, "demo-1")["state"] == "outdated"
    host.check_output(
        "printf 'FROM aina-factory/ci:current\\nLABEL renewed=1\\n' |"
        " DOCKER_BUILDKIT=0 docker build --quiet --tag aina-factory/ci:current -"
    )
    host.run("factory runner heal")
    until(lambda: state(host, "demo-1")["state"] == "idle", "the slot's return")
    # The builder would have written a record, and the idle runner of the other slot gives way.
    records = "/var/lib/aina-factory/images"
    host.check_output(f"mkdir --parents {records} && touch {records}/.ci && rm {records}/.ci")
    image = host.check_output("docker inspect --format '{{.Id}}' aina-factory/ci:current")
    until(lambda: all(state(host, slot)["image_id"] == image for slot in SLOTS), "the other slot")


def test_a_native_runner_that_is_turned_away_is_told_and_not_started_again(host: Any) -> None:
    GITHUB.ask("POST", "/runner_order", {"name": "box-host", "at": "idle", "deprecated": True})
    unit = "factory-runner-native-host"

    until(lambda: state(host, "host")["state"] == "outdated", "the word of it")
    assert host.run(f"systemctl is-failed {unit}").rc == 0
    host.run("factory runner heal")
    assert host.run(f"systemctl is-failed {unit}").rc == 0
    assert "accepts" in alerts(host)

    # An operator who knows better starts it by hand.
    host.check_output(f"systemctl reset-failed {unit} && systemctl start {unit}")


@pytest.mark.deep
def test_a_version_that_ages_is_told(host: Any) -> None:
    newer = {
        "repository": "actions/runner",
        "tag": "v2.330.1",
        "runner": True,
        "created_at": "-21d",
    }
    GITHUB.ask("POST", "/release", newer)
    time.sleep(RELEASES_SECONDS)
    host.run("factory runner heal")

    slot = done(queue("true"))["runner"].removeprefix("box-").rpartition("-")[0]
    until(lambda: 20.9 < (state(host, slot).get("version_age_days") or 0) < 21.1, "its age")

    assert "superseded since 21" in alerts(host)
    GITHUB.ask("POST", "/release", {**newer, "prerelease": True})


# --- healing and converging -----------------------------------------------------------------


def test_the_healer_comes_by_its_timer(host: Any) -> None:
    shown = "systemctl list-timers --output=json factory-runner-heal.timer"

    def comes() -> bool:
        (timer,) = json.loads(host.check_output(shown))
        now = float(host.check_output("date +%s"))
        return bool(0 <= (timer["next"] or 0) / 1e6 - now + 1 <= 32)

    until(comes, "a round of the healer within its 30 seconds", 45)


@pytest.mark.deep
def test_a_runner_that_github_removed_is_back_within_a_period_of_the_healer(host: Any) -> None:
    before = json.loads(host.check_output(f"cat {STATE}/registrations/host.json"))["id"]

    GITHUB.ask("POST", "/remove_runner", {"repository": REPOSITORY, "name": "box-host"})

    def healed() -> bool:
        found = host.run(f"cat {STATE}/registrations/host.json")
        return bool(found.rc == 0 and json.loads(found.stdout)["id"] != before)

    until(healed, "another registration", 45)


@pytest.mark.deep
def test_an_orphan_is_replaced(host: Any) -> None:
    name = state(host, "demo-2")["runner_name"]

    GITHUB.ask("POST", "/remove_runner", {"repository": REPOSITORY, "name": name, "ghost": True})

    until(lambda: state(host, "demo-2")["runner_name"] not in (None, name), "another runner")
    assert state(host, "demo-2")["orphans_count"] >= 1


@pytest.mark.deep
def test_a_drained_server_takes_no_job_until_it_works_again(host: Any) -> None:
    host.check_output(f"printf '{{}}' >{MARK}")
    try:
        until(lambda: registered() == {}, "every runner is closed")
        waiting = [queue("true"), queue("true", label="onhost")]
        time.sleep(3)
        assert [job(number)["status"] for number in waiting] == ["queued", "queued"]
    finally:
        host.check_output(f"rm {MARK}")

    assert [done(number)["conclusion"] for number in waiting] == ["success", "success"]


@pytest.mark.deep
def test_one_runner_is_drained_and_resumed_by_command(host: Any) -> None:
    try:
        answer = host.run(
            "factory runner drain host --reason 'new kernel' --wait-seconds 60 --json"
        )
        assert answer.rc == 0, answer.stderr
        assert "box-host" not in registered()
        # The drain has started the healer by itself, which may still be at it.
        until(lambda: host.run("factory runner heal").rc == 0, "a round of the healer")
        assert "box-host" not in registered()
    finally:
        host.check_output("factory runner resume host")


@pytest.mark.deep
def test_a_converge_without_change_makes_few_calls(host: Any) -> None:
    run = converge(SCENARIO)

    assert run.returncode == 0, run.output
    assert run.changed == []
    assert run.module_calls <= 6  # two by each of the three roles


def test_no_secret_is_seen_anywhere(host: Any, log_of_these_tests: str) -> None:
    argv = ["docker", "exec", GITHUB.container, "cat", "/var/lib/simulator/token"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True)
    token = shown.stdout.strip()
    configuration = "/etc/systemd/system/factory-runner* /etc/aina-factory/conf.d/*.json"
    sights = {
        "the log": log_of_these_tests,
        "the arguments": "ps auxww",
        "the containers": "docker ps -aq | xargs docker inspect",
        "the files": f"cat {configuration} {STATE}/*.json {STATE}/*/*.json",
        "the supervisors": "for p in $(pgrep -f 'factory runner loop'); do cat /proc/$p/environ; done",
        "a job": "docker ps -q | head -n 1 | xargs -I% docker exec % sh -c 'cat /proc/*/cmdline'",
    }
    # After it, its slot is given a new secret.
    done(queue("true"))
    until(lambda: is_up(host), "every runner is idle again")

    seen = {name: host.run(command).stdout for name, command in sights.items()}
    if is_deep():
        seen["a converge"] = converge(SCENARIO, "-vvv", "--diff").output

    assert all(len(text) > 100 for text in seen.values()), {n: len(t) for n, t in seen.items()}
    assert token.startswith("ghp_") and len(token) > 30
    assert [name for name, text in seen.items() if token in text] == []
    # What every runner's own secret begins with, plain and packed.
    assert [name for name, text in seen.items() if "rs_" in text or "eyIucnVubmVy" in text] == []


@pytest.mark.deep
def test_an_upgrade_lets_the_running_job_end(host: Any) -> None:
    number = queue("sleep 15; echo whole", label="onhost")
    begun(number)
    GITHUB.ask(
        "POST", "/release", {"repository": "actions/runner", "tag": "v2.331.0", "runner": True}
    )
    time.sleep(RELEASES_SECONDS)

    run = converge(SCENARIO)

    assert run.returncode == 0, run.output
    assert job(number)["log"] == "whole\n"
    # By the play, or by the healer that its timer has started meanwhile.
    switched = "switch to version 2.331.0"
    journal = "journalctl --identifier factory-runner-heal --output cat"
    assert switched in " ".join(run.changed) or switched in host.check_output(journal)


BY_HAND = f"""\
import json, os, subprocess, urllib.request
secret = open("/etc/aina-factory/secrets/github-token").read().strip()
path = "https://{GITHUB.container}/api/v3/repos/{REPOSITORY}/actions/runners/registration-token"
asked = urllib.request.Request(path, method="POST", headers={{"Authorization": "Bearer " + secret}})
token = json.load(urllib.request.urlopen(asked))["token"]
os.chdir("/srv/hand")
words = "--unattended --name hand --labels byhand --url https://{GITHUB.container}/{REPOSITORY}".split()
environment = {{**os.environ, "ACTIONS_RUNNER_INPUT_TOKEN": token}}
subprocess.run(["bin/Runner.Listener", "configure", *words], env=environment, check=True)
subprocess.Popen(["nohup", "bin/Runner.Listener", "run"], start_new_session=True, stdout=2)
"""


@pytest.mark.deep
def test_a_runner_that_was_set_up_by_hand_gives_way_after_its_job(host: Any) -> None:
    unpack = (
        "tar --extract --directory /srv/hand --file $(ls /opt/gha-runner/cache/*.tar.gz | tail -1)"
    )
    host.check_output(f"mkdir --parents /srv/hand && {unpack}")
    host.check_output(f"python3 -c {shlex.quote(BY_HAND)} 2>/srv/hand/log")
    until(lambda: registered().get("hand") == "online", "the runner that was set up by hand")
    its_processes = "ls -l /proc/[0-9]*/cwd 2>/dev/null | grep '/srv/hand$'"
    assert host.run(its_processes).rc == 0
    number = queue("sleep 8; echo whole", label="byhand")
    begun(number)

    predecessors = [{"path": "/srv/hand", "target": REPOSITORY}]
    run = converge(SCENARIO, gh_actions_runner_predecessors=predecessors)

    assert run.returncode == 0, run.output
    # By the play, or by the healer that the new settings have started before it came to that.
    until(lambda: host.run(its_processes).rc == 1, "its end")
    journal = "journalctl --identifier factory-runner-heal --output cat"
    ended = "/srv/hand: end its processes"
    until(lambda: ended in run.changed or ended in host.check_output(journal), "the word of it")
    assert job(number)["log"] == "whole\n"
    assert "hand" not in registered()
    assert host.file("/srv/hand/bin/Runner.Listener").exists
    assert converge(SCENARIO, gh_actions_runner_predecessors=predecessors).changed == []


@pytest.mark.deep
def test_fewer_slots_and_a_public_repository(host: Any) -> None:
    projects = [{"name": "demo", "repository": REPOSITORY, "path": "/srv/repos/demo",
                 "runner": {"slots": 1, "labels": ["demo"]}}]  # fmt: skip
    run = converge(SCENARIO, factory_projects=projects)
    assert run.returncode == 0, run.output
    until(lambda: host.run("systemctl is-active factory-runner@demo-2").rc != 0, "its end")

    instances = [{"name": "open", "mode": "native", "target": "factory/open"}]
    refused = converge(SCENARIO, gh_actions_runner_instances=instances)
    assert refused.returncode != 0
    assert "factory/open: it is public" in " ".join(refused.output.split())
    assert host.run("id gha-open").rc != 0

    assert converge(SCENARIO).returncode == 0


@pytest.mark.deep
def test_a_rebooted_host_serves_again(host: Any) -> None:
    subprocess.run(["docker", "restart", HOST], check=True, capture_output=True)

    until(lambda: host.run("systemctl is-system-running").rc in (0, 1), "the boot")
    until(lambda: is_up(host), "every runner is back")
    assert done(queue("true"))["conclusion"] == "success"
