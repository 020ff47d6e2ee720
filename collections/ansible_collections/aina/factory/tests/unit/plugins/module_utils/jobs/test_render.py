from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from factory.core.base import settings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.jobs import converge, cron, layout, plan, render, scripts
from factory.core.jobs.settings import Jobs


def jobs(**changes: Any) -> Jobs:
    job = {"name": "tick", "schedule": "*:0/5", "command": ["/bin/true"], **changes}
    return settings.read(Jobs, Section({"jobs": [job]}, "jobs"))


QUOTED = [
    ("a b", '"a b"'),
    ('say "x"', '"say \\"x\\""'),
    ("100%", '"100%%"'),
    ("$HOME", '"$$HOME"'),
    ("back\\slash", '"back\\\\slash"'),
    ("two\nlines", '"two\\nlines"'),
    ("\x1b", '"\\x1b"'),
    ("ü", '"ü"'),
    ("", '""'),
]


@pytest.mark.parametrize(("word", "quoted"), QUOTED)
def test_an_argument_is_quoted_for_a_unit_file(word: str, quoted: str) -> None:
    assert render.quote(word, expands_variables=True) == quoted


def test_locks_wrap_the_command_in_sorted_order() -> None:
    (job,) = jobs(locks=["b", "a"]).declared
    (waiter,) = jobs(locks=["a"], on_overlap="queue").declared

    assert render.command_line(job) == [
        "/usr/bin/flock", "-n", "-E", "75", "/run/factory-job-locks/factory-a.lock",
        "/usr/bin/flock", "-n", "-E", "75", "/run/factory-job-locks/factory-b.lock", "/bin/true",
    ]  # fmt: skip
    assert render.command_line(waiter)[:2] == [
        "/usr/bin/flock",
        "/run/factory-job-locks/factory-a.lock",
    ]


def test_root_alone_makes_the_shared_locks() -> None:
    *_before, directory, file = render.tmpfiles(jobs(locks=["a"])).splitlines()

    assert directory == "d /run/factory-job-locks 0755 root root -"
    assert file == "f /run/factory-job-locks/factory-a.lock 0666 root root -"
    assert "factory-job-locks" not in render.tmpfiles(jobs())


def test_no_text_of_a_job_can_add_a_line_to_a_unit() -> None:
    hostile = jobs(
        command=["/bin/echo", "x\nExecStart=/bin/evil", "\\"],
        environment={"A": "x\n[Install]"},
        description="ends with \\",
    )

    lines = render.units(hostile)["factory-job-tick.service"].splitlines()

    assert [line for line in lines if line.startswith("[")] == ["[Unit]", "[Service]"]
    assert len([line for line in lines if line.startswith("ExecStart=")]) == 1
    assert not any(line.endswith("\\") for line in lines)


def test_the_notifier_is_outside_the_prefix_that_calls_it() -> None:
    files = render.units(jobs())

    assert (
        "OnFailure=factory-notify@%n.service" in files["factory-job-.service.d/10-on-failure.conf"]
    )
    assert not any("notify" in name for name in files if name.startswith("factory-job-"))


def test_an_ignored_failure_overrides_the_drop_in_of_the_prefix() -> None:
    name = "factory-job-tick.service.d/10-on-failure.conf"

    assert "OnFailure" not in render.units(jobs(on_failure="ignore"))[name]
    assert "OnFailure=a.service" in render.units(jobs(on_failure=["a.service"]))[name]
    assert name not in render.units(jobs())


def test_a_cron_line_escapes_percent_signs_and_quotes() -> None:
    text = cron.crontab(jobs(command=["/bin/date", "+%s", "a b"]), "UTC")

    assert text.splitlines()[-1] == (
        "*/5 * * * * root /usr/local/lib/aina-factory-jobs/cron-run tick root 3600 skip 0 0 alert - "
        "-- /bin/date +\\%s 'a b'"
    )


def test_each_job_has_its_own_share_of_its_jitter_and_keeps_it() -> None:
    def delay(**changes: Any) -> int:
        line = cron.crontab(jobs(jitter_seconds=300, **changes), "UTC").splitlines()[-1]
        return int(line.partition(" skip ")[2].split()[0])

    delays = [delay(), delay(), delay(name="tock")]

    assert delays[0] == delays[1] != delays[2]
    assert all(0 <= seconds <= 300 for seconds in delays)


def test_a_schedule_means_the_time_zone_of_its_job() -> None:
    (job,) = jobs(timezone="Europe/Berlin", schedule="0 4 13 * 5").declared

    assert render.calendars(job) == (
        "*-*-13 04:00:00 Europe/Berlin",
        "Fri *-*-* 04:00:00 Europe/Berlin",
    )


def test_a_job_at_boot_runs_once_in_each() -> None:
    declared = jobs(schedule="@reboot")

    units = render.units(declared)
    timer, service = (units[f"factory-job-tick.{kind}"] for kind in ("timer", "service"))

    assert "OnBootSec=" in timer
    assert "OnCalendar=" not in timer
    # Whoever starts the timer later finds the mark, which a boot takes away.
    assert f"ConditionPathExists=!{layout.booted_path('tick')}\n" in service
    assert (
        f"ExecStartPre=+/usr/bin/install -D -m 0644 /dev/null {layout.booted_path('tick')}\n"
        in service
    )
    assert layout.booted_path("tick").startswith("/run/")
    assert "\n@reboot root " in cron.crontab(declared, "Europe/Berlin")
    with pytest.raises(ConfigurationError, match="misses no time"):
        jobs(schedule="@reboot", catch_up=True)


def test_a_timer_that_is_started_runs_no_job_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BOOTED_DIR", str(tmp_path / "booted"))
    start = plan.Action("start", (layout.timer("tick"),))

    converge.let_boots_pass(jobs(schedule="*:0/5"), [start])
    converge.let_boots_pass(jobs(schedule="@reboot"), [])
    assert not (tmp_path / "booted").exists()

    converge.let_boots_pass(jobs(schedule="@reboot"), [start])
    assert (tmp_path / "booted/tick").exists()


def test_a_paused_job_is_a_comment_with_its_reason() -> None:
    pause = {"reason": "saving", "by": "ali", "since": "2026-06-30"}

    text = cron.crontab(jobs(state="paused", paused=pause), "UTC")

    body = [line for line in text.splitlines() if "tick" in line or "saving" in line]
    assert all(line.startswith("#") for line in body)
    assert any("saving (since 2026-06-30 by ali)" in line for line in body)


REFUSED_BY_CRON = [
    ({"schedule": "*:0:30"}, "schedule"),
    ({"timezone": "Europe/Berlin"}, "timezone"),
    ({"credentials": ["token"]}, "credentials"),
    ({"command": ["/bin/echo", "a\nb"]}, "command"),
    ({"command": ["/bin/echo", "x" * 1000]}, "command"),
]


@pytest.mark.parametrize(("change", "field"), REFUSED_BY_CRON)
def test_what_cron_cannot_do_is_refused_by_name(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"jobs\.tick\.{field}"):
        cron.crontab(jobs(**change), "Etc/UTC")


def test_what_cron_cannot_honour_is_said() -> None:
    (note,) = cron.unsupported(jobs(catch_up=True, requires=["docker"], needs=["/etc/key"]))

    assert note.startswith("jobs.tick: cron cannot honour catch_up, requires, needs")


@pytest.mark.parametrize("name", sorted({**scripts.SYSTEMD, **scripts.CRON}))
def test_the_shell_programs_are_clean(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text({**scripts.SYSTEMD, **scripts.CRON}[name])

    done = subprocess.run(["shellcheck", str(file)], capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0
