"""What a host with scheduled jobs does, asked of the host."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from waiting import until

HERE = Path(__file__).parent
HOST = "crons-host"
INVENTORY = yaml.safe_load((HERE / "inventory.yml").read_text())
JOBS: list[dict[str, Any]] = INVENTORY["factory"]["vars"]["factory_jobs"]
NAMES = {job["name"] for job in JOBS}
UNITS = "/etc/systemd/system"


def converge(jobs: list[dict[str, Any]], *options: str, **arguments: Any) -> dict[str, Any]:
    """Call the module as a converge would, and return its result."""
    done = subprocess.run(
        [
            "ansible", HOST, "-i", str(HERE / "inventory.yml"), *options,
            "-m", "aina.factory.systemd_jobs", "-a", json.dumps({"jobs": jobs, **arguments}),
        ],
        env={**os.environ, "ANSIBLE_DIFF_ALWAYS": "false", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
             "ANSIBLE_FORCE_COLOR": "false", "ANSIBLE_NOCOLOR": "true"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    result: dict[str, Any]
    result, _ = json.JSONDecoder().raw_decode(done.stdout[done.stdout.index(" => {") + 4 :])
    # The display takes these two out of the result.
    result["failed"] = done.returncode != 0
    result["warnings"] = [" ".join(text.split()) for text in done.stderr.split("[WARNING]: ")]
    return result


def with_changes(name: str, **changes: Any) -> list[dict[str, Any]]:
    """Return the declared jobs, one of them changed."""
    return [{**job, **changes} if job["name"] == name else job for job in JOBS]


def lines(host: Any, path: str) -> list[str]:
    return list(host.run(f"cat {path} 2>/dev/null").stdout.split())


def report(host: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(host.check_output("factory jobs --json"))
    return document


def job_report(host: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(job for job in report(host)["jobs"] if job["name"] == name)
    return found


def show(host: Any, unit: str, name: str) -> str:
    return str(host.check_output(f"systemctl show --value --property={name} {unit}"))


def restore(host: Any) -> None:
    """Bring the declared state back, whatever a test (or an earlier run) has left."""
    host.run("rm -f /var/lib/aina-factory/paused/* /usr/local/sbin/systemctl")
    result = converge(JOBS)
    assert not result["failed"], result


@pytest.fixture(scope="module", autouse=True)
def declared_before(host: Any) -> None:
    restore(host)


@pytest.fixture
def declared_afterwards(host: Any) -> Any:
    yield
    restore(host)


def test_what_is_declared_is_installed_and_nothing_else_has_the_prefix(host: Any) -> None:
    files = host.check_output(f"cd {UNITS} && ls -d factory-job-*.timer factory-job-*.service")
    active = host.check_output("systemctl list-units --plain --no-legend 'factory-job-*.timer'")

    expected = {f"factory-job-{name}.{kind}" for name in NAMES for kind in ("timer", "service")}
    assert set(files.split()) == expected
    assert {line.split()[0] for line in active.splitlines()} == {
        f"factory-job-{name}.timer" for name in NAMES - {"resting"}
    }
    assert report(host)["drift"] == []
    assert {job["name"]: job["drift"] for job in report(host)["jobs"] if job["drift"]} == {}


def test_a_job_runs_by_its_timer_and_is_reported(host: Any) -> None:
    before = len(lines(host, "/var/tmp/tick"))

    until(lambda: len(lines(host, "/var/tmp/tick")) > before + 1)

    tick = until(lambda: (job := job_report(host, "tick"))["last_run"] and job)
    assert tick["last_run"]["result"] == "success"
    assert tick["missed"] is False
    assert tick["next_elapse_at"] is not None


def test_arguments_and_environment_arrive_unchanged(host: Any) -> None:
    host.run_test("systemctl start factory-job-words.service")

    words = host.check_output("journalctl -t factory-job-words -o cat --no-pager")

    assert words.splitlines()[-2:] == ["<a b><$HOME><100%><q\"'\\><><two", "lines>"]
    assert 'GREETING=50% "off" $HOME' in show(
        host, "factory-job-words.service", "Environment"
    ).replace("\\", "")


def test_a_paused_job_does_not_run_and_says_why(host: Any) -> None:
    host.run("rm -f /var/tmp/resting; systemctl start factory-job-resting.service")

    assert show(host, "factory-job-resting.timer", "ActiveState") == "inactive"
    assert not host.file("/var/tmp/resting").exists
    status = host.run("systemctl status factory-job-resting.service").stdout
    assert "save 50% of the minutes" in status
    resting = job_report(host, "resting")
    assert resting["state"] == "paused"
    assert resting["paused"]["reason"] == "save 50% of the minutes"
    assert resting["paused"]["origin"] == "declared"
    assert resting["review_due"] is True
    refusal = host.run("factory resume resting")
    assert refusal.rc == 1
    assert "inventory" in refusal.stderr


def test_a_job_that_overruns_its_timeout_is_ended_and_reported(host: Any) -> None:
    host.run("rm -f /var/lib/aina-factory/failures/factory-job-overrun.service.json")

    assert host.run("timeout 30 systemctl start factory-job-overrun.service").rc not in (0, 124)

    spool = "/var/lib/aina-factory/failures/factory-job-overrun.service.json"
    until(lambda: host.file(spool).exists)
    failure = json.loads(host.file(spool).content_string)
    assert (failure["unit"], failure["result"]) == ("factory-job-overrun.service", "timeout")
    assert host.run("pgrep -f 'sleep 600' | xargs -r ps -o unit= -p | grep overrun").stdout == ""
    assert job_report(host, "overrun")["last_run"]["result"] == "timeout"


def test_a_failure_to_be_ignored_is_recorded_but_not_reported(host: Any) -> None:
    spool = "/var/lib/aina-factory/failures/factory-job-quiet.service.json"
    host.run(f"rm -f {spool}; systemctl start factory-job-quiet.service")
    time.sleep(1)

    assert not host.file(spool).exists
    assert job_report(host, "quiet")["last_run"]["result"] == "exit-code"


def test_starts_do_not_overlap(host: Any) -> None:
    host.run("systemctl stop factory-job-slow-skip.service; rm -f /var/tmp/skip.*")
    until(lambda: lines(host, "/var/tmp/skip.end"), seconds=40)

    begins = [float(moment) for moment in lines(host, "/var/tmp/skip.begin")]
    ends = [float(moment) for moment in lines(host, "/var/tmp/skip.end")]
    for begin, end in zip(begins[1:], ends, strict=False):
        assert begin >= end


def test_kill_old_ends_the_old_run_and_that_is_no_failure(host: Any) -> None:
    spool = "/var/lib/aina-factory/failures/factory-job-slow-kill.service.json"
    host.run(f"rm -f {spool}")
    before = len(lines(host, "/var/tmp/kill.begin"))

    until(lambda: len(lines(host, "/var/tmp/kill.begin")) > before + 1, seconds=30)

    assert lines(host, "/var/tmp/kill.end") == []
    running = host.check_output("systemctl show --value -p MainPID factory-job-slow-kill.service")
    assert int(running) > 0
    assert job_report(host, "slow-kill")["last_run"]["result"] == "replaced"
    assert not host.file(spool).exists


def test_queue_runs_once_more_afterwards(host: Any) -> None:
    host.run("rm -f /var/tmp/queue.*")
    trigger = "factory-trigger-queue@slow-queue.service"
    host.run("systemctl start --no-block factory-job-slow-queue.service")
    until(lambda: len(lines(host, "/var/tmp/queue.begin")) == 1)

    for _ in range(3):  # due again three times: one run more, not three
        host.run(f"systemctl start --no-block {trigger}")

    until(lambda: len(lines(host, "/var/tmp/queue.end")) == 2, seconds=30)
    begins, ends = lines(host, "/var/tmp/queue.begin"), lines(host, "/var/tmp/queue.end")
    assert float(begins[1]) >= float(ends[0])
    until(lambda: show(host, trigger, "ActiveState") == "inactive", "the end of the trigger")
    assert show(host, "factory-job-slow-queue.service", "ActiveState") == "inactive"
    assert len(lines(host, "/var/tmp/queue.begin")) == 2


def test_a_shared_lock_makes_the_second_job_skip_or_wait(host: Any) -> None:
    host.run("rm -f /var/tmp/loser /var/tmp/waiter /var/tmp/held /var/tmp/release")
    host.run("systemctl start --no-block factory-job-lock-holder.service")
    until(lambda: host.file("/var/tmp/held").exists)
    host.run("systemctl start --no-block factory-job-lock-waiter.service")

    assert host.run("systemctl start factory-job-lock-loser.service").rc == 0

    assert not host.file("/var/tmp/loser").exists
    assert not host.file("/var/tmp/waiter").exists
    assert show(host, "factory-job-lock-loser.service", "ExecMainStatus") == "75"
    assert job_report(host, "lock-loser")["last_run"]["result"] == "skipped"
    host.run("touch /var/tmp/release")
    until(lambda: host.file("/var/tmp/waiter").exists)
    assert host.run("systemctl start factory-job-lock-loser.service").rc == 0
    assert host.file("/var/tmp/loser").exists


@pytest.mark.deep
def test_a_runtime_pause_survives_a_converge_and_is_reported(
    host: Any, declared_afterwards: None
) -> None:
    assert host.run("factory pause tick --reason 'the disk is full'").rc == 0
    paused_at = len(lines(host, "/var/tmp/tick"))

    result = converge(JOBS)
    host.run("systemctl start factory-job-tick.service")
    time.sleep(3)

    assert result["changed"] is False
    assert [entry["name"] for entry in result["runtime_paused"]] == ["tick"]
    assert any("the disk is full" in warning for warning in result["warnings"])
    assert len(lines(host, "/var/tmp/tick")) <= paused_at + 1
    assert job_report(host, "tick")["paused"]["origin"] == "runtime"
    assert host.run("factory resume tick").rc == 0
    until(lambda: len(lines(host, "/var/tmp/tick")) > paused_at + 1)
    assert job_report(host, "tick")["drift"] == []


@pytest.mark.deep
def test_unknown_jobs_and_empty_reasons_are_refused(host: Any) -> None:
    unknown = host.run("factory pause tock --reason x")
    empty = host.run("factory pause tick --reason '  '")

    assert (unknown.rc, empty.rc) == (2, 2)
    assert "tock" in unknown.stderr
    assert "tick" in unknown.stderr


@pytest.mark.deep
def test_resuming_does_not_fire_by_surprise(host: Any, declared_afterwards: None) -> None:
    stamp = "/var/lib/systemd/timers/stamp-factory-job-careful.timer"
    once = with_changes("careful", catch_up=False)
    host.run("rm -f /var/tmp/careful")
    assert host.run("factory pause careful --reason test").rc == 0
    host.run(f"touch -d '3 days ago' {stamp}")

    # No longer to be made up for, and to be made up for again: neither has missed a slot.
    converge(once)
    assert host.run("factory resume careful").rc == 0
    host.run(f"touch -d '3 days ago' {stamp}")
    converge(JOBS)
    time.sleep(2)

    assert lines(host, "/var/tmp/careful") == []
    assert show(host, "factory-job-careful.timer", "ActiveState") == "active"


@pytest.mark.deep
def test_a_declared_pause_that_ends_does_not_fire_without_catch_up(
    host: Any, declared_afterwards: None
) -> None:
    pause = {"reason": "test", "by": "ali", "since": "2026-01-01"}
    host.run("rm -f /var/tmp/careful")
    converge(with_changes("careful", catch_up=False, state="paused", paused=pause))
    host.run("touch -d '3 days ago' /var/lib/systemd/timers/stamp-factory-job-careful.timer")

    converge(with_changes("careful", catch_up=False))
    time.sleep(2)

    # Its own slot, at half past, may come meanwhile.
    assert [line for line in lines(host, "/var/tmp/careful") if int(line) // 60 % 60 != 30] == []


def test_a_missed_slot_is_made_up_for_once(host: Any) -> None:
    stamp = "/var/lib/systemd/timers/stamp-factory-job-careful.timer"
    host.run("systemctl stop factory-job-careful.timer; rm -f /var/tmp/careful")
    host.run(f"touch -d '3 hours ago' {stamp}")

    host.check_output("systemctl start factory-job-careful.timer")

    until(lambda: lines(host, "/var/tmp/careful"), seconds=40)
    time.sleep(2)
    assert len(lines(host, "/var/tmp/careful")) == 1


@pytest.mark.deep
def test_a_missed_slot_is_made_up_for_once_at_the_next_boot(host: Any) -> None:
    host.run("rm -f /var/tmp/careful")
    host.run("systemctl stop factory-job-careful.timer")
    host.run("touch -d '3 hours ago' /var/lib/systemd/timers/stamp-factory-job-careful.timer")

    subprocess.run(["docker", "restart", "--time", "10", HOST], check=True, capture_output=True)

    until(lambda: lines(host, "/var/tmp/careful"), seconds=40)
    time.sleep(3)
    assert len(lines(host, "/var/tmp/careful")) == 1
    assert host.file("/run/factory-job-locks/factory-shared.lock").mode == 0o666
    assert converge(JOBS)["changed"] is False


@pytest.mark.deep
def test_undeclared_units_of_the_prefix_go_and_foreign_ones_stay(
    host: Any, declared_afterwards: None
) -> None:
    host.run(
        f"""cd {UNITS} && for name in factory-job-stale other; do
        printf '[Timer]\\nOnCalendar=*:*:0/2\\nPersistent=true\\n[Install]\\nWantedBy=timers.target\\n' >$name.timer
        printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' >$name.service; done
        systemctl daemon-reload && systemctl enable --now factory-job-stale.timer other.timer"""
    )
    until(lambda: show(host, "factory-job-stale.service", "ActiveState") == "failed")
    assert {"unit": "factory-job-stale.timer", "reason": "undeclared"} in report(host)["drift"]

    result = converge(JOBS)

    assert result["changed"] is True
    assert host.run(f"ls {UNITS}/factory-job-stale* {UNITS}/*/factory-job-stale*").stdout == ""
    assert not host.file("/var/lib/systemd/timers/stamp-factory-job-stale.timer").exists
    assert (
        host.run("systemctl list-units --all --plain --no-legend 'factory-job-stale*'").stdout == ""
    )
    assert show(host, "other.timer", "ActiveState") == "active"
    assert converge(JOBS)["changed"] is False
    host.run(f"systemctl disable --now other.timer; rm {UNITS}/other.*; systemctl daemon-reload")


# The first is judged by systemd, the second by the host's accounts; the others by us.
BROKEN = [
    ({"schedule": "*-*-* 99:00"}, "schedule"),
    ({"user": "nobody-at-all"}, "user"),
]
BROKEN_TOO = [
    ({"schedule": "2001-01-01"}, "schedule"),
    ({"schedule": "61 * * * *"}, "schedule"),
    ({"timezone": "Mars/Olympus"}, "schedule"),
    ({"timeout_seconds": 0}, "timeout_seconds"),
    ({"state": "paused"}, "paused"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(
    ("change", "field"),
    [*BROKEN, *(pytest.param(*broken, marks=pytest.mark.deep) for broken in BROKEN_TOO)],
)
def test_what_is_invalid_never_replaces_what_is_good(
    host: Any, change: dict[str, Any], field: str
) -> None:
    before = host.check_output(
        f"cat {UNITS}/factory-job-*.timer {UNITS}/factory-job-*.service | sha256sum"
    )

    result = converge(
        [
            *with_changes("tick", **change),
            {"name": "new", "schedule": "daily", "command": ["/bin/true"]},
        ]
    )

    assert result["failed"] is True
    assert f"jobs.tick.{field}" in result["msg"]
    assert (
        host.check_output(
            f"cat {UNITS}/factory-job-*.timer {UNITS}/factory-job-*.service | sha256sum"
        )
        == before
    )
    assert show(host, "factory-job-tick.timer", "ActiveState") == "active"


@pytest.mark.deep
def test_a_program_that_is_missing_is_a_warning(host: Any, declared_afterwards: None) -> None:
    result = converge(with_changes("overrun", command=["/srv/not/there"]), "--check")

    assert not result["failed"]
    assert any("jobs.overrun.command" in warning for warning in result["warnings"])


@pytest.mark.deep
def test_files_written_without_a_reload_are_put_into_force(
    host: Any, declared_afterwards: None
) -> None:
    # What a run that was killed between its files and daemon-reload leaves behind.
    new = [
        *with_changes("tick", schedule="*-*-* *:*:0/3"),
        {**JOBS[0], "name": "fresh", "command": ["/bin/true"]},
    ]
    converge(new)
    host.run("systemctl disable --now factory-job-fresh.timer")
    host.run(f"touch {UNITS}/factory-job-tick.timer")
    assert show(host, "factory-job-tick.timer", "NeedDaemonReload") == "yes"
    assert "timer_needs_daemon_reload" in job_report(host, "tick")["drift"]
    assert job_report(host, "fresh")["drift"] == ["timer_not_active", "timer_not_enabled"]

    result = converge(new)

    assert result["changed"] is True
    assert show(host, "factory-job-tick.timer", "NeedDaemonReload") == "no"
    assert show(host, "factory-job-fresh.timer", "ActiveState") == "active"
    assert host.run("systemctl is-enabled factory-job-fresh.timer").rc == 0


@pytest.mark.deep
def test_a_timer_that_somebody_stopped_is_drift_and_is_started_again(host: Any) -> None:
    host.run("systemctl disable --now factory-job-tick.timer")
    assert job_report(host, "tick")["drift"] == ["timer_not_active", "timer_not_enabled"]

    predicted = converge(JOBS, "--check")
    result = converge(JOBS)

    assert predicted["actions"] == result["actions"]
    assert job_report(host, "tick")["drift"] == []


@pytest.mark.deep
def test_an_operators_drop_in_is_kept_and_reported(host: Any, declared_afterwards: None) -> None:
    drop_in = f"{UNITS}/factory-job-tick.service.d"
    host.run(
        f"mkdir -p {drop_in} && printf '[Service]\\nNice=3\\n' >{drop_in}/override.conf && systemctl daemon-reload"
    )

    result = converge(JOBS)

    assert host.file(f"{drop_in}/override.conf").exists
    assert any("override.conf" in warning for warning in result["warnings"])
    host.run(f"rm -r {drop_in}; systemctl daemon-reload")


def test_replaced_crontab_lines_go_only_once_their_successor_runs(
    host: Any, declared_afterwards: None
) -> None:
    old = "0 4 * * * bash /srv/ops/janitor.sh\n# PAUSED: 15 * * * * /srv/ops/janitor.sh\n5 5 * * * /srv/ops/mine.sh\n"
    host.run(f"printf '%s' '{old}' | crontab -u daemon -")
    entries = [{"user": "daemon", "matches": "/srv/ops/janitor.sh"}]
    job = {"name": "janitor", "schedule": "daily", "command": ["/bin/true"]}

    # A twin that rests between two runs, as such services do.
    host.run(
        f"""cd {UNITS} && printf '[Timer]\\nOnCalendar=*-01-01\\n' >twin.timer
        printf '[Service]\\nType=oneshot\\nExecStart=/srv/ops/janitor.sh\\n' >twin.service
        systemctl daemon-reload && systemctl start twin.timer"""
    )
    unnamed = converge([*JOBS, job])
    assert any("twin.timer also has" in warning for warning in unnamed["warnings"])
    host.run(f"systemctl stop twin.timer; rm {UNITS}/twin.*; systemctl daemon-reload")
    assert any("janitor may run twice" in warning for warning in unnamed["warnings"])
    unsucceeded = converge(JOBS, replaces=entries)
    assert host.check_output("crontab -u daemon -l") + "\n" == old
    assert any("stays" in warning for warning in unsucceeded["warnings"])
    done = converge([*JOBS, job], replaces=entries)

    assert len(done["replaced_lines"]) == 2
    assert host.check_output("crontab -u daemon -l") == "5 5 * * * /srv/ops/mine.sh"
    assert host.file("/var/backups/aina-factory/crontab-daemon").content_string == old
    assert converge([*JOBS, job], replaces=entries)["changed"] is False
    host.run("crontab -u daemon -r")


@pytest.mark.parametrize(
    "verb",
    [
        *("daemon-reload", "start"),
        *(pytest.param(verb, marks=pytest.mark.deep) for verb in ("stop", "disable", "enable")),
    ],
)
def test_a_run_killed_at_any_step_is_completed_by_the_next(
    host: Any, declared_afterwards: None, verb: str
) -> None:
    fresh = {"name": "fresh", "schedule": "*-*-* *:*:0/2", "command": ["/bin/true"]}
    pause = {"reason": "test", "by": "ali", "since": "2026-01-01"}
    new = [
        *with_changes("tick", schedule="*-*-* *:*:0/3"),
        fresh,
    ]
    new = [
        {**job, "state": "paused", "paused": pause} if job["name"] == "words" else job
        for job in new
    ]
    new = [job for job in new if job["name"] != "quiet"]
    # systemctl kills the module (its grandparent, behind "timeout") at the chosen step.
    trap = f"""#!/bin/sh
case " $* " in *" {verb} "*) kill -9 $(ps -o ppid= -p $PPID) $PPID; exit 1 ;; esac
exec /usr/bin/systemctl "$@"
"""
    host.run("printf %s %s >/usr/local/sbin/systemctl", "%s", trap)
    host.run("chmod 755 /usr/local/sbin/systemctl")
    assert converge(new)["failed"] is True
    host.run("rm /usr/local/sbin/systemctl")

    assert converge(new)["changed"] is True

    document = report(host)
    assert document["drift"] == []
    assert {job["name"] for job in document["jobs"]} == {job["name"] for job in new}
    assert [job for job in document["jobs"] if job["drift"]] == []
    assert converge(new)["changed"] is False


@pytest.mark.parametrize("kept", ["plain", "encrypted"])
def test_a_secret_reaches_its_job_and_shows_nowhere(
    host: Any, declared_afterwards: None, kept: str
) -> None:
    secret, user = f"Xq7-{kept}-for-the-job", "daemon"
    path = "/root/token" if kept == "plain" else "/root/token.cred"
    store = f"cat >{path}" if kept == "plain" else f"systemd-creds encrypt --name=token - {path}"
    host.check_output(f"umask 077; printf %s {secret} | {store}")
    assert (secret in host.check_output(f"cat {path}")) == (kept == "plain")
    script = (
        'test "$(cat $CREDENTIALS_DIRECTORY/token)" = "$(cat /var/tmp/wanted)" && touch /tmp/knows;'
        "sleep 3"
    )
    host.check_output(f"printf %s {secret} >/var/tmp/wanted; chmod 644 /var/tmp/wanted")
    job = {
        "name": "keeper",
        "schedule": "*-01-01 03:00",
        "command": ["/bin/sh", "-c", script],
        "user": user,
        "credentials": [f"token:{path}"],
    }

    answer = converge([*JOBS, job])
    host.check_output("systemctl start --no-block factory-job-keeper")
    until(lambda: host.file("/tmp/knows").exists)
    seen = host.check_output(
        "ps -eo args; systemctl show factory-job-keeper; systemctl cat factory-job-keeper; "
        f"journalctl --boot --output=cat; grep --recursive --no-filename . {UNITS}"
    )
    host.run(f"rm /tmp/knows /var/tmp/wanted {path}; systemctl stop factory-job-keeper")

    assert answer["failed"] is False
    # The shell of this test itself is not asked.
    told = [line for line in (seen + json.dumps(answer)).splitlines() if "ps -eo args" not in line]
    assert secret not in "\n".join(told)
