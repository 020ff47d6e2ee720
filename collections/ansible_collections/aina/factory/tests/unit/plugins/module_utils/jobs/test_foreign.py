from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.base.ports import Completed
from factory.core.jobs import command_lines, converge, foreign, layout
from factory.core.jobs.observe import ObservationError
from factory.core.jobs.settings import Jobs, Replacement


def jobs(*declared: dict[str, Any]) -> Jobs:
    return settings.read(Jobs, Section({"jobs": list(declared)}, "jobs"))


JANITOR = {"name": "janitor", "schedule": "daily", "command": ["/usr/local/bin/factory", "janitor"]}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "janitor.sh"
    path.write_text("true\n")
    return path


def parked(script: Path, declared: Jobs, settled: bool, crontab: str) -> list[tuple[str, str]]:
    entry = Replacement(user="ali", matches=str(script), job="janitor", park=str(script))
    ready = declared.declared if settled else ()
    return foreign.parked([entry], ready, declared, {"/var/spool/cron/crontabs/ali": crontab})


def test_a_script_that_nothing_runs_any_more_is_parked_beside_where_it_was(script: Path) -> None:
    target = script.parent / "parked" / script.name

    assert parked(script, jobs(JANITOR), True, "") == [(str(script), str(target))]


@pytest.mark.parametrize("case", ["successor not settled", "crontab", "job", "gone", "undeclared"])
def test_a_script_that_something_may_still_run_stays(script: Path, case: str) -> None:
    declared = jobs(JANITOR) if case != "undeclared" else jobs()
    crontab = f"0 4 * * * {script}\n" if case == "crontab" else ""
    if case == "job":
        declared = jobs(
            JANITOR, {**JANITOR, "name": "other", "command": ["/bin/bash", str(script)]}
        )
    if case == "gone":
        script.unlink()

    assert parked(script, declared, case != "successor not settled", crontab) == []


@pytest.mark.parametrize(
    "line",
    [
        "0 4 * * * cd {directory} && ./{name}",
        "0 4 * * * cd {directory} && tar czf /backup/all.tgz {name}",
        "0 4 * * * $OPS/{name} --all",
        "0 4 * * * run-parts {directory}",
        "0 4 * * * for f in {directory}/*.sh; do $f; done",
        "SCRIPT={directory}/{name}",
    ],
)
def test_a_script_that_a_line_may_name_in_other_words_stays(script: Path, line: str) -> None:
    text = line.format(directory=script.parent, name=script.name)

    assert parked(script, jobs(JANITOR), True, text + "\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "# 0 4 * * * {directory}/{name}",
        "0 4 * * * /elsewhere/{name}",
        "0 4 * * * {directory}/{name}.d/run-all",
        "0 4 * * * {directory}/not-{name}",
    ],
)
def test_a_line_that_names_another_file_keeps_no_script(script: Path, line: str) -> None:
    text = line.format(directory=script.parent, name=script.name)

    assert len(parked(script, jobs(JANITOR), True, text + "\n")) == 1


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what tells which line of ali's crontab goes, and why it stays."""
    monkeypatch.setattr(foreign, "_home", lambda user: f"/home/{user}")

    def ask(text: str, matches: str = "/srv/ops/janitor.sh") -> tuple[str, list[str], list[str]]:
        entry = Replacement(user="ali", matches=matches, job="janitor")
        declared = jobs(JANITOR)
        return foreign.without_replaced(text, [entry], declared.declared, declared)

    return ask


@pytest.mark.parametrize(
    ("command", "matches"),
    [
        ("/srv/ops/janitor.sh", "/srv/ops/janitor.sh"),
        ("/srv/ops/janitor.sh --all >>/var/log/janitor.log 2>&1", "/srv/ops/janitor.sh"),
        ("/srv/ops/janitor.sh --all", "janitor"),
        ("/srv/ops/janitor.sh --all", "ops/janitor.sh --all"),
        ("bash -e '/srv/ops/janitor.sh' &>/dev/null # nightly", "/srv/ops/janitor.sh"),
        ("FOO=1 nice -n 10 flock -n /tmp/lock /srv/ops/janitor.sh", "/srv/ops/janitor.sh"),
        ("timeout -k 5 10m /bin/bash -lc '/srv/ops/janitor.sh'", "/srv/ops/janitor.sh"),
        ("/srv/ops/janitor.sh || true", "/srv/ops/janitor.sh"),
        ("cd /srv/ops && ./janitor.sh", "./janitor.sh"),
        ("cd /srv/ops && bash janitor.sh", "cd /srv/ops && bash janitor.sh"),
        ("~/ops/janitor.sh", "~/ops/janitor.sh"),
        ('"$HOME/ops/janitor.sh"', "ops/janitor.sh"),
        # Named as a whole, with everything that it does.
        ("/srv/ops/janitor.sh; ship-metrics", "/srv/ops/janitor.sh; ship-metrics"),
    ],
)
def test_a_line_whose_one_command_is_the_replaced_one_goes(
    replaced: Any, command: str, matches: str
) -> None:
    line = f"0 4 * * *  {command}\n"

    assert replaced(f"# mine\n{line}PATH=/bin\n", matches) == (
        "# mine\nPATH=/bin\n",
        [line.rstrip("\n")],
        [],
    )


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("/srv/ops/janitor.sh; /opt/ship-metrics.sh", "does more"),
        ("/srv/ops/janitor.sh && /opt/ship-metrics.sh", "does more"),
        ("/srv/ops/janitor.sh | mail -s done ali", "does more"),
        ("/srv/ops/janitor.sh & /opt/ship-metrics.sh", "does more"),
        ("bash -c '/srv/ops/janitor.sh; /opt/ship-metrics.sh'", "does more"),
        (": >/var/log/janitor.log; /srv/ops/janitor.sh", "does more"),
        ("[ -e /run/go ] && /srv/ops/janitor.sh", "does more"),
        ("if true; then /srv/ops/janitor.sh; fi", "does more"),
        ("/srv/ops/janitor.sh $(rm -v /tmp/mark)", "does more"),
        ("/srv/ops/janitor.sh > >(tee /var/log/janitor.log)", "does more"),
        ("/srv/ops/janitor.sh%some input", "does more"),
        ("cd /srv/ops && ./janitor.sh", "in other words"),
        ("tar czf /backup/ops.tgz /srv/ops/janitor.sh /srv/state", "only mentions"),
        ("/srv/ops/janitor.sh.d/run-all", "only mentions"),
        ("/opt/watch --file=/srv/ops/janitor.sh", "only mentions"),
        ("echo '/srv/ops/janitor.sh", "only mentions"),
    ],
)
def test_a_line_that_does_more_or_only_mentions_it_stays_and_is_told(
    replaced: Any, command: str, reason: str
) -> None:
    line = f"0 4 * * * {command}\n"

    left, removed, (told,) = replaced(line)

    assert (left, removed) == (line, [])
    assert reason in told


def test_a_line_for_the_boot_stays(replaced: Any) -> None:
    left, removed, (told,) = replaced("@reboot /srv/ops/janitor.sh\n@daily /srv/ops/janitor.sh\n")

    assert left == "@reboot /srv/ops/janitor.sh\n"
    assert removed == ["@daily /srv/ops/janitor.sh"]
    assert "at boot" in told


def test_comments_stay_but_for_a_replaced_line_at_rest(replaced: Any) -> None:
    resting = "# PAUSED 2026-06-30 (save minutes): 0 */2 * * * bash /srv/ops/janitor.sh\n"
    words = "# /srv/ops/janitor.sh is Bob's; ask him at: 10 4 o'clock\n"

    assert replaced(words + resting) == (words, [resting.rstrip("\n")], [])


def test_the_files_that_cron_reads_are_read_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in ("cron.d", "crontabs", "cron.daily"):
        (tmp_path / directory).mkdir()
    monkeypatch.setattr(foreign, "CRONTABS_DIR", str(tmp_path / "crontabs"))
    monkeypatch.setattr(foreign, "_SYSTEM_TABLES_DIR", str(tmp_path / "cron.d"))
    monkeypatch.setattr(foreign, "_SYSTEM_TABLE", str(tmp_path / "crontab"))
    monkeypatch.setattr(foreign, "_ANACRON_TABLE", str(tmp_path / "anacrontab"))
    monkeypatch.setattr(foreign, "_SCRIPT_DIRS", (str(tmp_path / "cron.daily"),))
    (tmp_path / "anacrontab").write_text("START=6\n7 25 weekly nice /srv/ops/backup.sh\n")
    (tmp_path / "crontab").write_text("17 * * * * root cd /srv/ops && ./backup.sh\n")
    for name in ("live", "backup.dpkg-old", "layout~"):
        (tmp_path / "cron.d" / name).write_text("@daily root /srv/ops/backup.sh\n")
    (tmp_path / "crontabs" / "first.last").write_text("5 5 * * * /srv/ops/backup.sh\n")
    for name, mode in (("own", 0o755), ("off", 0o644), ("own.bak", 0o755)):
        (tmp_path / "cron.daily" / name).write_text("#!/bin/sh\nexec /srv/ops/backup.sh -q\n")
        (tmp_path / "cron.daily" / name).chmod(mode)
    declared = jobs({"name": "nightly", "schedule": "daily", "command": ["/srv/ops/backup.sh"]})

    found = foreign.crontab_duplicates(declared, foreign.crontabs())

    assert sorted(Path(item.where).name for item in found) == [
        "anacrontab",
        "crontab",
        "first.last",
        "live",
        "own",
    ]


@pytest.mark.parametrize(
    ("command", "line", "found"),
    [
        (["/usr/local/bin/factory", "reap"], "factory reap --quiet", True),
        (["/usr/local/bin/factory", "reap"], "factory jobs", False),
        (["/usr/bin/rsync", "-a", "/a", "/b"], "rsync -a /a /b", True),
        (["/usr/bin/rsync", "-a", "/a", "/b"], "/usr/bin/rsync -a /home /backup", False),
        (["/bin/sh", "-c", "cd /srv && ./sync.sh"], "/srv/sync.sh", True),
        (["/usr/local/bin/factory", "reap"], "tar czf /backup/nightly.tgz /srv", False),
        (["/usr/local/bin/factory", "reap"], "$OPS/nightly.sh", True),
    ],
)
def test_a_job_is_known_by_what_it_runs(command: list[str], line: str, found: bool) -> None:
    declared = jobs({"name": "nightly", "schedule": "daily", "command": command})

    assert foreign.runs(command_lines.read(line), declared.declared[0]) is found


def shown(name: str, *commands: str, timer: str = "", directory: str = "") -> str:
    lines = [
        f"ExecStart={{ path=x ; argv[]={text} ; ignore_errors=no ; pid=0 }}" for text in commands
    ]
    return "\n".join(
        (*lines, f"WorkingDirectory={directory}", f"Id={name}", f"TriggeredBy={timer}")
    )


def test_what_timers_start_is_found_though_it_is_not_active() -> None:
    units = [
        shown("a.service", "/srv/ops/backup.sh", timer="a.timer"),
        shown(
            "b.service", "/bin/true", "/bin/sh -c cd /srv/ops && ./backup.sh; date", timer="b.timer"
        ),
        shown("c.service", "/usr/bin/bash backup.sh", timer="c.timer", directory="/srv/ops"),
        shown("no-timer.service", "/srv/ops/backup.sh"),
        shown(layout.service("nightly"), "/srv/ops/backup.sh", timer=layout.timer("nightly")),
        shown("other.service", "/srv/ops/backup.sh.old", timer="other.timer"),
    ]
    declared = jobs({"name": "nightly", "schedule": "daily", "command": ["/srv/ops/backup.sh"]})

    def systemctl(argv: Any, **_: Any) -> Completed:
        return Completed(0, "\n\n".join(units if "--all" in argv else []).encode(), b"")

    found = foreign.command_duplicates(declared, foreign.timer_commands(systemctl))

    assert [item.where for item in found] == ["a.timer", "b.timer", "c.timer"]
    with pytest.raises(ObservationError, match="no bus"):
        foreign.timer_commands(lambda *_, **__: Completed(1, b"", b"no bus"))


def test_each_edit_of_a_crontab_leaves_the_one_before(tmp_path: Path) -> None:
    first = tmp_path / "crontab-ali"

    for content in (b"one\n", b"two\n", b"two\n", b"three\n", b"one\n"):
        path = converge.copy_path(first, content)
        if not path.exists():
            path.write_bytes(content)

    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"crontab-ali": "one\n", "crontab-ali.1": "two\n", "crontab-ali.2": "three\n"}
