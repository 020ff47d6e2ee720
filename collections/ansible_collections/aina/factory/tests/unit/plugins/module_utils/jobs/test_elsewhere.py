"""What runs by the clock outside of crontabs, and how what was taken is given back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.jobs import converge, elsewhere, foreign, takeover
from factory.core.jobs.settings import Jobs
from factory.core.jobs.takeover import Taken, TakeoverError

NIGHTLY = {"name": "nightly", "schedule": "daily", "command": ["/srv/ops/backup.sh"]}
AT_JOB = """\
#!/bin/sh
# atrun uid=1000 gid=1000
# mail ali 0
umask 22
SHELL=/bin/bash; export SHELL
cd /srv/ops || {
\t echo 'Execution directory inaccessible' >&2
\t exit 1
}
%s
"""


def found(homes: list[tuple[str, str]]) -> list[str]:
    declared = settings.read(Jobs, Section({"jobs": [NIGHTLY]}, "jobs"))
    commands = [*elsewhere.user_timers(homes), *elsewhere.at_jobs()]
    return [item.where for item in foreign.command_duplicates(declared, commands)]


def test_what_users_and_at_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = tmp_path / "ali/.config/systemd/user"
    (units / "named.service.d").mkdir(parents=True)
    shared, at = tmp_path / "shared", tmp_path / "at"
    shared.mkdir()
    at.mkdir()
    monkeypatch.setattr(elsewhere, "_SHARED_UNITS_DIR", str(shared))
    monkeypatch.setattr(elsewhere, "AT_DIR", str(at))
    (units / "a.timer").write_text("[Timer]\nOnCalendar=daily\n")
    (units / "a.service").write_text(
        "[Service]\nExecStart=-/bin/sh -c 'nice \\\n  /srv/ops/backup.sh -q'\n"
    )
    (units / "b.timer").write_text("[Timer]\nOnCalendar=daily\nUnit=named.service\n")
    (units / "named.service").write_text("[Service]\nExecStart=/bin/true\n")
    (units / "named.service.d/x.conf").write_text(
        "[Service]\nExecStart=\nExecStart=/srv/ops/backup.sh\n"
    )
    (units / "c.timer").write_text("[Timer]\nUnit=../../../other.service\n")
    (units / "long.timer").write_text(f"[Timer]\nUnit={'x' * 300}.service\n")
    (units / "odd.timer").write_text("[Timer]\nUnit=a\0b.service\n")
    (units / "d.service").write_text("[Service]\nExecStart=/srv/ops/backup.sh\n")  # without a timer
    (units / "e.timer").write_text("[Timer]\n")
    (units / "e.service").write_text(
        "[Service]\n# ExecStart=/srv/ops/backup.sh\nExecStart=/bin/true\n"
    )
    os.mkfifo(units / "pipe.timer")
    (shared / "all.timer").write_text("[Timer]\n")
    (shared / "all.service").write_text(
        "[Service]\nWorkingDirectory=/srv/ops\nExecStart=bash backup.sh\n"
    )
    (at / "a0001").write_text(AT_JOB % "./backup.sh >/dev/null")
    (at / "a0002").write_text(AT_JOB % "# /srv/ops/backup.sh\ntar czf x.tgz backup.sh")
    (at / "a0003").write_text("/srv/ops/backup.sh\n")

    assert found(
        [("ali", str(tmp_path / "ali")), ("nobody", "/"), ("x", str(tmp_path / "none"))]
    ) == [
        str(shared / "all.timer"),
        f"{units / 'a.timer'} of ali",
        f"{units / 'b.timer'} of ali",
        f"at job {at / 'a0001'}",
        f"at job {at / 'a0003'}",
    ]


@pytest.mark.parametrize(
    ("now", "before", "lines", "expected"),
    [
        ("A=1\nlast\n", "A=1\n1 x\nlast\n", ["1 x"], "A=1\n1 x\nlast\n"),
        # Changed since: behind what stood before it then.
        ("A=1\nnew\nB=2\nlast\n", "A=1\nB=2\n1 x\nlast\n", ["1 x"], "A=1\nnew\nB=2\n1 x\nlast\n"),
        ("other\n", "A=1\n1 x\n", ["1 x"], "1 x\nother\n"),
        ("", "1 x\n2 y", ["1 x", "2 y"], "1 x\n2 y\n"),
        # There already, or twice.
        ("1 x\n", "1 x\n", ["1 x"], "1 x\n"),
        ("1 x\n", "1 x\n1 x\n", ["1 x", "1 x"], "1 x\n1 x\n"),
        ("a\n", "gone\n", ["1 x"], "a\n1 x\n"),
    ],
)
def test_a_line_comes_back_at_its_place_and_nothing_else_changes(
    now: str, before: str, lines: list[str], expected: str
) -> None:
    assert takeover.given_back(now, before, lines) == expected


def test_what_is_taken_is_written_down_first_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "RECORD_PATH", str(tmp_path / "taken.json"))
    item = Taken("line", "1 x", "/copy", "ali")

    takeover.record([item])
    takeover.record([item, Taken("script", "/a", "/parked/a")])

    assert [found.what for found in takeover.recorded()] == ["1 x", "/a"]
    assert (tmp_path / "taken.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "taken.json").write_text("{")
    with pytest.raises(TakeoverError, match="cannot be read"):
        takeover.recorded()


def test_a_crontab_is_written_down_before_it_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "RECORD_PATH", str(tmp_path / "taken.json"))
    monkeypatch.setattr(converge, "_BACKUP_DIR", str(tmp_path))
    (tmp_path / "crontab-ali").write_text("1 x\nrest\n")  # the copy of a run that was killed
    known = []

    def crontab(_argv: object, **_: object) -> object:
        known.extend(takeover.recorded())
        raise TimeoutError

    with pytest.raises(converge.ConvergeError):
        converge._replace_crontab("ali", "1 x\nrest\n", "rest\n", ["1 x"], crontab)  # type: ignore[arg-type]

    assert known == [Taken("line", "1 x", str(tmp_path / "crontab-ali"), "ali")]
