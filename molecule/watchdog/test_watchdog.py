"""What the watchdog says and does on a host with systemd, an engine and real jobs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import until

# Stands for a chat and for the outside watcher: writes down what it is sent.
OUTSIDE = r"""
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        with open("/run/heard", "a") as file:
            file.write(json.dumps([self.path, body]) + "\n")
        self.send_response(200)
        self.end_headers()
    do_GET = do_POST = answer
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8123), Handler).serve_forever()
"""
# Until nobody tells of a failure any more.
NOTIFIED = (
    "while systemctl list-units --state=activating,active --no-legend --plain 'factory-notify@*' "
    "| grep -q .; "
    "do sleep 0.2; done"
)
BEGIN = f"""set -eu
touch /run/fine /run/expected
# What is told of a failure before this belongs to another test.
{NOTIFIED}
rm -rf /run/heard /run/slow /run/aina-factory /srv/workspaces
mkdir -p /mnt/disk /srv/workspaces
mountpoint -q /mnt/disk || mount -t tmpfs -o size=64m tmpfs /mnt/disk
rm -rf /mnt/disk/*
rm -f /var/lib/aina-factory/watchdog/state.json /var/lib/aina-factory/failures/*
systemctl reset-failed
systemctl start docker.service factory-job-fails.service factory-job-expected.service
factory watchdog --measure >/dev/null
"""


@pytest.fixture(scope="module", autouse=True)
def outside(host: Any) -> Iterator[None]:
    host.check_output("printf %s %s >/run/outside.py", "%s", OUTSIDE)
    host.run("systemctl stop outside")
    host.check_output("systemd-run --unit=outside --collect python3 /run/outside.py")
    until(lambda: host.run("curl -fsS http://localhost:8123/").rc == 0)
    yield
    host.run("systemctl stop outside")


@pytest.fixture(autouse=True)
def well(host: Any) -> None:
    host.check_output("sh -c %s", BEGIN)


def watchdog(host: Any, times: int = 1) -> dict[str, Any]:
    for _ in range(times):
        done = host.run("factory watchdog --json")
        assert done.rc in (0, 1), done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def firing(document: dict[str, Any]) -> set[str]:
    return {alert["key"] for alert in document["alerts"]}


def said(document: dict[str, Any], check: str) -> dict[str, str]:
    found = document["checks"]
    return {item["subject"]: item["status"] for item in found if item["check"] == check}


def heard(host: Any) -> list[tuple[str, str]]:
    text = host.run("cat /run/heard").stdout
    return [(path, body) for path, body in map(json.loads, text.splitlines()) if path != "/"]


def told(host: Any) -> str:
    return "\n".join(body for path, body in heard(host) if path == "/hook")


def test_a_well_host_has_no_alert_in_any_of_its_files(host: Any) -> None:
    document = watchdog(host, 3)

    assert document["alerts"] == [], document["alerts"]
    assert document["run"]["problems"] == []
    assert said(document, "engine") == {"": "ok"}
    assert json.loads(host.check_output("cat /srv/ops/WATCHDOG-STATUS.json"))["alerts"] == []
    assert "aina_factory_watchdog_last_run_timestamp_seconds" in host.check_output(
        "cat /var/lib/node/factory.prom"
    )
    assert host.check_output("head -c 15 /var/lib/aina-factory/status.html") == "<!doctype html>"
    assert "no alert" in host.check_output("factory status")
    assert told(host) == ""
    assert [path for path, _ in heard(host)] == ["/ping/3f9a-secret-uuid"] * 3


@pytest.mark.deep
def test_the_self_test_passes_on_the_host(host: Any) -> None:
    assert host.run("factory watchdog --selftest").rc == 0


@pytest.mark.deep
def test_a_stopped_engine_is_raised_and_recovers(host: Any) -> None:
    host.check_output("systemctl stop docker.socket docker.service")
    document = watchdog(host, 2)
    host.check_output("systemctl start docker.socket docker.service")

    assert "engine" in firing(document)
    assert "engine" not in firing(watchdog(host, 2))
    assert "PROBLEM engine" in told(host)
    assert "RECOVERED engine" in told(host)


@pytest.mark.deep
def test_a_job_that_fails_is_raised_and_clears_with_its_next_success(host: Any) -> None:
    host.run("rm /run/fine; systemctl start factory-job-fails.service")

    assert "job_failed:fails" in firing(watchdog(host))
    host.check_output("touch /run/fine; systemctl start factory-job-fails.service")
    assert "job_failed:fails" not in firing(watchdog(host, 2))


@pytest.mark.deep
def test_a_job_that_stopped_succeeding_is_missed(host: Any) -> None:
    assert "job_missed:expected" not in firing(watchdog(host))
    host.check_output("rm /run/expected")

    until(lambda: "job_missed:expected" in firing(watchdog(host)))


@pytest.mark.deep
def test_a_job_that_takes_longer_than_its_interval_overlaps(host: Any) -> None:
    host.check_output("touch /run/slow")

    until(lambda: "job_overlapping:slow" in firing(watchdog(host)))
    host.check_output("rm /run/slow; systemctl stop factory-job-slow.service")


@pytest.mark.deep
def test_a_timer_that_somebody_stopped_is_drift(host: Any) -> None:
    host.check_output("systemctl stop factory-job-slow.timer")
    document = watchdog(host, 2)
    host.check_output("systemctl start factory-job-slow.timer")

    assert "job_drift:slow" in firing(document)


def test_what_only_looks_well_is_told(host: Any) -> None:
    unit = "/etc/systemd/system/factory-job-fails.service"
    host.check_output(
        "umount /mnt/disk; systemctl stop containerd.service; "
        f"mv {unit} /run/kept.service && ln -s /dev/null {unit} && systemctl daemon-reload; "
        "systemd-run --unit=loop --property=Restart=always --property=RestartSec=100ms "
        "--property=StartLimitIntervalSec=0 /bin/false; sleep 2"
    )
    try:
        document = watchdog(host, 2)
    finally:
        host.check_output(
            f"systemctl stop loop.service; mv /run/kept.service {unit} && systemctl daemon-reload; "
            "systemctl start containerd.service"
        )

    assert firing(document) >= {
        "disk_mount:/mnt/disk",
        "engine",
        "job_drift:fails",
        "unit_running:containerd.service",
        "unit_running:loop.service",
    }


def test_a_failed_unit_is_restarted_within_its_budget(host: Any) -> None:
    host.run("rm /run/fine; systemctl start fragile.service")
    until(lambda: host.run("systemctl is-failed fragile.service").rc == 0)
    host.check_output("touch /run/fine")

    document = watchdog(host)

    assert host.run("systemctl is-active fragile.service").rc == 0
    assert document["heals"]["recent"][0]["target"] == "fragile.service"
    assert said(document, "unit_failed") == {"": "ok"}
    host.check_output("systemctl stop fragile.service")


def test_any_other_failed_unit_is_told_and_left_alone(host: Any) -> None:
    host.run("systemd-run --unit=other --service-type=oneshot /bin/false")
    assert host.run("systemctl is-failed other.service").rc == 0

    document = watchdog(host)

    assert "unit_failed:other.service" in firing(document)
    assert host.run("systemctl is-failed other.service").rc == 0


@pytest.mark.deep
def test_a_plain_workspace_is_healed_and_a_dangling_one_is_only_told(host: Any) -> None:
    host.check_output(
        "cd /srv/workspaces && mkdir plain dangling && echo 'gitdir: /gone' >dangling/.git "
        "&& chown -R daemon:daemon ."
    )

    document = watchdog(host, 2)

    assert {key for key in firing(document) if key.startswith("workspace")} == {
        "workspace:dangling_gitfile"
    }
    assert host.check_output("stat -c %U /srv/workspaces/plain/.git/HEAD") == "daemon"
    assert host.check_output("cat /srv/workspaces/dangling/.git") == "gitdir: /gone"
    log = host.check_output("runuser -u daemon -- git -C /srv/workspaces/plain log --format=%s")
    assert log == "Make this workspace a repository"


@pytest.mark.deep
def test_a_full_disk_is_raised_with_who_grew(host: Any) -> None:
    host.run(
        "mkdir /mnt/disk/agent-workspaces; head -c 100M /dev/zero >/mnt/disk/agent-workspaces/x"
    )
    host.check_output("factory watchdog --measure")

    document = watchdog(host, 2)

    assert "disk_space:/mnt/disk" in firing(document)
    owners = document["disk"][0]["owners"]
    assert owners["buckets"][0]["name"] == "/mnt/disk/agent-workspaces"
    assert sum(item["bytes"] for item in owners["buckets"]) == owners["used_bytes"]
    assert host.check_output("df --output=used -B1 /mnt/disk | tail -1").strip() == str(
        owners["used_bytes"]
    )


@pytest.mark.deep
def test_the_image_store_is_measured_wherever_it_lies(host: Any) -> None:
    root = json.loads(
        host.check_output("curl -fsS --unix-socket /run/docker.sock http://engine/info")
    )["DockerRootDir"]
    host.check_output(
        "sed -i 's|/mnt/disk\"|/var/lib/docker\"|' /etc/aina-factory/conf.d/watchdog.json"
    )
    try:
        done = host.run("factory watchdog --measure --json")
    finally:
        host.check_output(
            'sed -i \'s|"/var/lib/docker"$|"/mnt/disk"|\' /etc/aina-factory/conf.d/watchdog.json'
        )

    assert done.rc == 0
    owners = json.loads(done.stdout)["disks"][0]["owners"]
    assert root in [owner["path"] for owner in owners]


@pytest.mark.deep
def test_nobody_outside_is_needed_to_write_the_status(host: Any) -> None:
    host.check_output("systemctl stop outside")
    try:
        document = watchdog(host, 2)
    finally:
        host.run("systemctl stop outside")
    host.check_output("systemd-run --unit=outside --collect python3 /run/outside.py")

    assert document["dead_man"]["error"]
    assert (
        document["generated_at"]
        == json.loads(host.check_output("factory status --json"))["generated_at"]
    )


def test_when_the_watchdog_itself_fails_plain_shell_tells_it_once(host: Any) -> None:
    # Nobody else would know: its status is still fresh when it fails.
    watchdog(host)
    # Its own code is broken: nothing of it may be needed to tell so.
    main = "/usr/local/lib/aina-factory/factory/__main__.py"
    host.check_output(f"cp {main} /run/main.py && echo 'raise SystemExit(3)' >{main}")
    try:
        for _turn in range(2):
            host.run("systemctl start factory-job-watchdog.service")
            host.check_output("sh -c %s", NOTIFIED)
        paths = [path for path, _ in heard(host)]
        text = told(host)
    finally:
        host.check_output(f"cp /run/main.py {main} && systemctl start factory-job-watchdog.service")

    assert "factory-job-watchdog.service failed" in text
    assert paths.count("/hook") == 1, text
    assert paths.count("/ping/3f9a-secret-uuid/fail") == 1


def test_while_the_watchdog_lives_the_notifier_leaves_the_telling_to_it(host: Any) -> None:
    watchdog(host)
    host.run("rm /run/fine; systemctl start factory-job-fails.service")
    host.check_output("sh -c %s", NOTIFIED)
    assert "fails" not in told(host)

    # Its status is old: then nobody else would tell.
    host.check_output("touch -d '2 hours ago' /var/lib/aina-factory/status.json")
    host.run("systemctl start factory-job-fails.service")
    until(lambda: "factory-job-fails.service failed" in told(host))


def test_a_failure_is_told_even_where_it_cannot_be_written_down(host: Any) -> None:
    host.check_output(
        "rm -f /run/fine; touch -d '2 hours ago' /var/lib/aina-factory/status.json; "
        "mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs /var/lib/aina-factory/failures"
    )
    try:
        host.run("systemctl start factory-job-fails.service")
        until(lambda: "factory-job-fails.service failed" in told(host))
    finally:
        host.check_output("umount /var/lib/aina-factory/failures")


@pytest.mark.deep
def test_a_silence_holds_and_ends(host: Any) -> None:
    host.check_output("factory silence engine --hours 1 --reason 'being worked on' --by test")
    host.check_output("systemctl stop docker.socket docker.service")
    document = watchdog(host, 2)
    assert "engine" in firing(document)
    assert "engine" not in told(host)

    host.check_output("factory silence engine --end")
    watchdog(host)
    host.check_output("systemctl start docker.socket docker.service")

    assert "PROBLEM engine" in told(host)


def test_no_secret_is_where_others_can_read_it(host: Any) -> None:
    watchdog(host)

    assert host.file("/etc/aina-factory/watchdog").mode == 0o700
    assert host.file("/etc/aina-factory/watchdog/apprise.conf").mode == 0o600
    found = host.run(
        "grep -rlE 'TopSecretToken42|3f9a-secret-uuid' /etc /run /srv /tmp /usr/local /var "
        "--exclude-dir=docker --exclude=heard"
    ).stdout.split()
    assert sorted(found) == [
        "/etc/aina-factory/watchdog/apprise.conf",
        "/etc/aina-factory/watchdog/dead-man.conf",
    ]
    log = host.run("journalctl --no-pager | grep -cE 'TopSecretToken42|3f9a-secret-uuid'").stdout
    assert log.strip() == "0"


@pytest.mark.deep
def test_one_run_costs_little(host: Any) -> None:
    host.check_output(
        "for number in $(seq 321); do mkdir -p /srv/workspaces/$number/.git/refs/heads; "
        "echo 'ref: refs/heads/main' >/srv/workspaces/$number/.git/HEAD; "
        "echo 0123 >/srv/workspaces/$number/.git/refs/heads/main; done"
    )
    watchdog(host)
    script = (
        "import os,subprocess;subprocess.run(['factory','watchdog'],stdout=subprocess.DEVNULL,check=True);"
        "t=os.times();print(t.children_user+t.children_system)"
    )

    def cheap() -> bool:
        # A neighbour that takes the caches makes a run dearer than it is.
        return float(host.check_output("python3 -c %s", script)) <= 0.5

    until(cheap)


@pytest.mark.deep
def test_a_broken_configuration_is_named(host: Any) -> None:
    path = "/etc/aina-factory/conf.d/watchdog.json"
    host.check_output(
        f'cp {path} /run/kept && sed -i \'s/"interval_seconds": 900/"interval_seconds": "often"/\' {path}'
    )
    try:
        done = host.run("factory watchdog --json")
    finally:
        host.check_output(f"cp /run/kept {path}")

    assert done.rc == 2
    assert "watchdog.interval_seconds is 'often'" in json.loads(done.stdout)["error"]
    assert "watchdog.interval_seconds is 'often'" in told(host)
