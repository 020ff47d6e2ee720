"""What runs, where it listens, what survives, and what a restart waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge
from waiting import until

SCENARIO = Path(__file__).parent

HOME = "/home/ali/.paperclip"
INSTANCE = f"{HOME}/instances/default"
SYSTEMCTL = "systemctl --user --machine=ali@.host"


def pid(host: Any) -> str:
    return str(host.check_output(f"{SYSTEMCTL} show --property=MainPID --value paperclipai"))


def restart(host: Any) -> None:
    # As the tests do in a minute what a server sees in months, they do not count as a crash loop.
    host.check_output(f"{SYSTEMCTL} reset-failed paperclipai; {SYSTEMCTL} restart paperclipai")


def answers(target: Any, **values: Any) -> None:
    target.check_output(f"printf %s %s >{HOME}/answers.json", "%s", json.dumps(values))


def healthy(host: Any) -> bool:
    return bool(json.loads(host.run("factory paperclip --json").stdout).get("healthy"))


def test_it_runs_as_its_user_without_a_login_and_answers_on_loopback_alone(host: Any) -> None:
    assert host.run(f"{SYSTEMCTL} is-active paperclipai").stdout == "active\n"
    assert host.run(f"{SYSTEMCTL} is-enabled paperclipai").stdout == "enabled\n"
    assert host.file("/var/lib/systemd/linger/ali").exists
    assert host.run("who").stdout == ""
    assert host.check_output(f"ps -o user= -p {pid(host)}") == "ali"
    assert "127.0.0.1:3100" in host.check_output("ss -ltnH")
    assert "0.0.0.0:3100" not in host.check_output("ss -ltnH")
    assert host.file(HOME).mode == 0o700
    assert host.run("factory paperclip --exposed").rc == 0


@pytest.mark.deep
def test_the_watchdog_knows_it(host: Any) -> None:
    document = json.loads(host.check_output("factory watchdog --json"))

    said = {item["check"]: item["status"] for item in document["checks"]}
    assert (said["paperclip"], said["paperclip_exposed"]) == ("ok", "ok")
    assert document["board"]["items"][0]["tasks_done"] == 3


def test_it_comes_back_after_a_crash_and_after_its_manager(host: Any) -> None:
    before = pid(host)
    host.check_output(f"kill -9 {before}")
    until(lambda: pid(host) not in ("0", before) and healthy(host))
    # As after a boot: nobody logs in, the manager starts by itself.
    host.check_output("systemctl restart user@$(id -u ali).service")
    until(lambda: healthy(host))


def test_a_secret_is_in_its_environment_and_nowhere_else(host: Any) -> None:
    environment = host.check_output(f"tr '\\0' '\\n' </proc/{pid(host)}/environ")
    assert 'OPENAI_API_KEY=TopSecret"Key42' in environment
    found = host.run("grep -rl 'TopSecret' /etc /home /run /usr/local /var/log /var/lib").stdout
    assert found.split() == ["/home/ali/.config/aina-factory/paperclip.env"]
    assert host.file("/home/ali/.config/aina-factory/paperclip.env").mode == 0o600
    assert host.run("journalctl --no-pager | grep -c TopSecret").stdout.strip() == "0"


def test_a_change_restarts_it_but_never_while_an_agent_is_at_work(host: Any) -> None:
    # A change of a secret, which the difference must not show either.
    changed = {"OPENAI_API_KEY": "OtherSecret"}
    before = pid(host)
    answers(host, runs=["Founding Engineer"])
    try:
        run = converge(SCENARIO, "--diff", paperclip_environment=changed)
    finally:
        answers(host)

    assert run.returncode == 0, run.output
    assert "Founding Engineer" in run.output
    assert "OtherSecret" not in run.output
    assert pid(host) == before
    run = converge(SCENARIO, paperclip_environment=changed)
    assert run.returncode == 0, run.output
    assert pid(host) != before


@pytest.mark.deep
def test_a_version_that_this_node_cannot_run_is_refused_before_anything_changes(host: Any) -> None:
    before = pid(host)

    run = converge(SCENARIO, paperclip_version="2026.916.1")

    assert run.returncode != 0
    assert "needs Node 24.11.0 or newer" in run.output
    assert pid(host) == before
    assert host.check_output("ls /usr/local/lib/aina-paperclip").split() == [
        "2026.824.1",
        "backup",
        "settings",
        "start",
    ]


def test_the_way_back_to_an_older_version_is_refused(host: Any) -> None:
    answers(host, version="2026.831.1")
    try:
        run = converge(SCENARIO)
    finally:
        answers(host)

    assert run.returncode != 0
    assert "changed its database" in " ".join(run.output.split())


@pytest.mark.deep
def test_an_installation_that_was_cut_off_is_never_run(host: Any) -> None:
    host.check_output("mkdir -p /usr/local/lib/aina-paperclip/2026.824.0.part/node_modules")

    run = converge(
        SCENARIO, paperclip_version="2026.824.0", paperclip_package_source="/no/such.tgz"
    )

    assert run.returncode != 0
    assert host.run("test -e /usr/local/lib/aina-paperclip/2026.824.0").rc == 1
    assert host.run(f"{SYSTEMCTL} is-active paperclipai").stdout == "active\n"
    assert converge(SCENARIO).returncode == 0
    assert "2026.824.0.part" not in host.check_output("ls /usr/local/lib/aina-paperclip")


def test_a_backup_is_whole_and_brings_the_key(host: Any) -> None:
    host.check_output(
        f"touch -d '40 days ago' {INSTANCE}/data/run-logs/old /var/backups/paperclip/old.sql.gz; "
        f"touch {INSTANCE}/data/run-logs/new; chown -R ali {INSTANCE}/data /var/backups/paperclip"
    )
    before = host.check_output(f"sha256sum {INSTANCE}/secrets/master.key {INSTANCE}/config.json")

    host.check_output("runuser -u ali -- /usr/local/lib/aina-paperclip/backup")

    kept = host.check_output("ls /var/backups/paperclip").split()
    assert "old.sql.gz" not in kept
    assert {"master.key", "config.json"} <= set(kept)
    dump = max(name for name in kept if name.endswith(".sql.gz"))
    assert host.check_output(f"zcat /var/backups/paperclip/{dump}") == "-- dump"
    assert host.check_output(f"ls {INSTANCE}/data/run-logs") == "new"
    assert host.file("/var/backups/paperclip").mode == 0o700
    assert (
        host.check_output(f"sha256sum {INSTANCE}/secrets/master.key {INSTANCE}/config.json")
        == before
    )


@pytest.mark.deep
def test_a_backup_that_fails_says_so_and_keeps_the_last_one(host: Any) -> None:
    before = host.check_output("ls /var/backups/paperclip")
    answers(host, unhealthy=True)
    try:
        assert host.run("runuser -u ali -- /usr/local/lib/aina-paperclip/backup").rc != 0
    finally:
        answers(host)

    assert host.check_output("ls /var/backups/paperclip") == before


@pytest.mark.deep
def test_an_exposed_port_is_refused(host: Any) -> None:
    answers(host, host="0.0.0.0")  # noqa: S104 - the very mistake
    restart(host)
    try:
        run = converge(SCENARIO)
        asked = host.run("factory paperclip --exposed")
    finally:
        answers(host)
        restart(host)
        until(lambda: healthy(host))

    assert run.returncode != 0
    assert asked.rc == 1
    assert "reachable from outside: Paperclip (port 3100)" in asked.stderr


@pytest.mark.deep
def test_an_existing_instance_keeps_its_key(host: Any) -> None:
    host.check_output(f"echo 'a key of its own' >{INSTANCE}/secrets/master.key")

    restart(host)
    until(lambda: healthy(host))

    assert host.check_output(f"cat {INSTANCE}/secrets/master.key") == "a key of its own"
