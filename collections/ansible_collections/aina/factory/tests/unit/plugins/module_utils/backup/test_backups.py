from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.core.backup import backups
from factory.core.backup.backups import BackupError, BackupPaths, BackupReport, BackupRepository
from factory.core.backup.settings import BackupSettings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.ports import Completed
from factory.core.base.settings import read

VALUES: dict[str, Any] = {"repository": "/srv/r", "paths": ["/etc"]}
SUMMARY = {
    "message_type": "summary",
    "snapshot_id": "abc",
    "total_files_processed": 3,
    "total_bytes_processed": 30,
    "data_added": 10,
}


def settings(**values: Any) -> BackupSettings:
    return read(BackupSettings, Section({**VALUES, **values}, "backup"))


class Restic:
    """Answers by subcommand; keeps what it was asked."""

    def __init__(self, places: BackupPaths, **answers: tuple[int, str]) -> None:
        self.places = places
        self.answers = answers
        self.asked: list[str] = []
        self.lost: set[str] = set()
        self.spoilt = b""

    def __call__(self, argv: Sequence[str | bytes], **_: Any) -> Completed:
        words = [str(word) for word in argv]
        if words[0] != "restic":
            return Completed(0, b"", b"")
        verb = words[2]
        self.asked.append(verb)
        code, text = self.answers.get(verb, (0, ""))
        if verb == "cat" and "init" in self.asked:
            code, text = 0, '{"id": "new"}'
        if verb == "backup" and not text:
            text = json.dumps(SUMMARY)
        if verb == "restore" and code == 0 and text != "nothing":
            target = Path(words[4].removeprefix("--target="))
            copy = target / str(self.places.canary)[1:]
            copy.parent.mkdir(parents=True)
            copy.write_text(text or self.places.canary.read_text())
            for path in (word.removeprefix("--include=") for word in words[6:]):
                if path not in self.lost:
                    other = Path(f"{target}{path}")
                    other.parent.mkdir(parents=True, exist_ok=True)
                    other.write_bytes(self.spoilt or Path(path).read_bytes())
        return Completed(code, text.encode(), text.encode() if code else b"")


@pytest.fixture
def places(tmp_path: Path) -> BackupPaths:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(40):
        (source / str(number)).write_text("x" * number)
    return BackupPaths(tmp_path / "canary", tmp_path / "report.json")


def source_of(places: BackupPaths) -> Path:
    return places.canary.with_name("source")


def back_up(restic: Restic, last: BackupReport | None = None, **values: Any) -> BackupReport:
    chosen = settings(paths=[str(source_of(restic.places))], **values)
    repository = BackupRepository(restic, {})
    return backups.back_up(
        chosen, repository, restic.places, restic, lambda: 5.0, last or BackupReport()
    )


def test_a_good_run_is_proved_by_reading_back(places: BackupPaths) -> None:
    restic = Restic(places, cat=(0, '{"id": "r1"}'))

    report = back_up(restic)

    assert (report.state, report.restore_test, report.snapshot_id) == ("ok", "ok", "abc")
    assert restic.asked == ["unlock", "cat", "backup", "forget", "restore"]


@pytest.mark.parametrize("restored", ["nothing", "another content"])
def test_a_snapshot_that_does_not_give_back_what_was_in_it_is_a_failure(
    places: BackupPaths, restored: str
) -> None:
    with pytest.raises(BackupError, match="not to be trusted"):
        back_up(Restic(places, cat=(0, '{"id": "r1"}'), restore=(0, restored)))


def test_files_that_could_not_be_read_make_it_incomplete(places: BackupPaths) -> None:
    restic = Restic(places, cat=(0, '{"id": "r1"}'), backup=(3, json.dumps(SUMMARY)))

    assert back_up(restic).state == "incomplete"


def working(places: BackupPaths) -> Restic:
    return Restic(places, cat=(0, '{"id": "r1"}'))


def empty(source: Path) -> None:
    for path in source.iterdir():
        path.unlink()


def thin_out(source: Path) -> None:
    for number in range(1, 30):
        (source / str(number)).unlink()


def truncate(source: Path) -> None:
    for path in source.iterdir():
        path.write_text("")


def be_a_link(source: Path) -> None:
    source.symlink_to(source.rename(source.with_name("elsewhere")))


LOSSES = [
    (empty, "holds no file that could be saved; the last time it held 40"),
    (be_a_link, "holds no file that could be saved; the last time it held 40"),
    (thin_out, "shrank from 40 files and 780 bytes to 11 files"),
    (truncate, "to 40 files and 0 bytes"),
    (lambda source: source.rename(source.with_name("away")), "does not exist"),
]


@pytest.mark.parametrize(("lose", "words"), LOSSES)
def test_a_source_that_lost_what_it_held_makes_a_backup_incomplete(
    places: BackupPaths, lose: Callable[[Path], object], words: str
) -> None:
    first = back_up(working(places))
    assert first.state == "ok"
    lose(source_of(places))

    second = back_up(working(places), first)

    assert second.state == "incomplete"
    assert words in second.detail
    if "shrank" not in second.detail and "0 bytes" not in second.detail:
        third = back_up(working(places), second)
        assert third.state == "incomplete", "what is empty is never fine"
        assert third.sources == first.sources


def test_a_source_that_was_empty_from_the_beginning_is_no_backup(places: BackupPaths) -> None:
    empty(source_of(places))

    assert back_up(working(places)).state == "incomplete"


def test_what_is_excluded_is_not_counted_and_few_files_less_are_no_loss(
    places: BackupPaths,
) -> None:
    first = back_up(working(places), excludes=["1?", "/elsewhere/*"])
    for number in range(5):
        (source_of(places) / str(number)).unlink()

    second = back_up(working(places), first, excludes=["1?"])

    (counts,) = first.sources.values()
    assert (counts["files"], second.state) == (30, "ok")


def test_files_of_the_paths_are_read_back_and_compared(places: BackupPaths) -> None:
    restic = working(places)
    assert len(back_up(restic).samples) == 3
    restic.lost = {str(path) for path in source_of(places).iterdir()}
    lost = back_up(restic)
    assert (lost.state, lost.samples) == ("incomplete", {})
    assert "is not in the snapshot" in lost.detail
    restic.lost, restic.spoilt = set(), b"something else"
    with pytest.raises(BackupError, match="not to be trusted"):
        back_up(restic)


def verify(restic: Restic, last: BackupReport) -> BackupReport:
    return backups.verify(settings(), BackupRepository(restic, {}), restic.places, last)


def test_a_sound_repository_makes_no_good_backup_of_a_bad_one(places: BackupPaths) -> None:
    restic = working(places)
    good = back_up(restic)
    document = backups.to_document(good, {}, "2026-01-01T00:00:00Z")
    incomplete = replace(good, state="incomplete", saved="incomplete", saved_detail="/x is gone")

    assert (verify(restic, good).state, verify(restic, good).check) == ("ok", "ok")
    again = verify(restic, incomplete)
    assert (again.state, again.check) == ("incomplete", "ok")
    assert again.detail == "the repository is sound, but the last backup was incomplete: /x is gone"
    assert verify(restic, backups.failed(good, "no space")).state == "failed"
    # A check that could not be made says nothing of the backup.
    assert verify(restic, backups.failed(good, "no network", verifying=True)).state == "ok"
    later = backups.to_document(verify(restic, good), document, "2026-01-09T00:00:00Z")
    assert later["last_success_at"] == "2026-01-01T00:00:00Z", "it made no snapshot"
    restic.lost = set(good.samples)
    with pytest.raises(BackupError, match="back any more"):
        verify(restic, good)


def test_damage_that_restic_finds_is_a_failure(places: BackupPaths) -> None:
    restic = working(places)
    good = back_up(restic)
    restic.answers = {**restic.answers, "check": (1, "pack 1a2b is damaged")}

    with pytest.raises(BackupError, match="restic check found damage: pack 1a2b is damaged"):
        verify(restic, good)


@pytest.mark.parametrize("answer", [(10, ""), (1, "Is there a repository at the following")])
def test_a_repository_is_made_where_there_was_never_one(
    places: BackupPaths, answer: tuple[int, str]
) -> None:
    assert back_up(Restic(places, cat=answer)).repository_id == "new"


@pytest.mark.parametrize(
    ("answer", "known", "words"),
    [
        ((10, ""), "r1", "none is made anew"),
        ((1, "connection refused"), "", "cannot be read: connection refused"),
        ((0, '{"id": "r2"}'), "r1", "another disk or address"),
    ],
)
def test_a_repository_is_never_made_on_a_guess(
    places: BackupPaths, answer: tuple[int, str], known: str, words: str
) -> None:
    restic = Restic(places, cat=answer)

    with pytest.raises(BackupError, match=words):
        back_up(restic, BackupReport(repository_id=known))

    assert "init" not in restic.asked
    assert "backup" not in restic.asked


def test_the_time_of_the_last_success_survives_failures() -> None:
    good = backups.to_document(BackupReport(state="ok"), {}, "2026-01-01T00:00:00Z")
    bad = backups.to_document(BackupReport(), good, "2026-01-02T00:00:00Z")

    assert bad["last_success_at"] == "2026-01-01T00:00:00Z"
    assert backups.from_document(bad).state == "failed"


def test_nobodys_password_is_quoted() -> None:
    done = Completed(1, b"", b"Fatal: rest:https://me:secret@host/ refused")

    assert backups.said(done) == "Fatal: rest:https://host/ refused"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"repository": "rest:https://me:secret@host/"}, "hold no user name or password"),
        ({"paths": []}, "at least one path"),
        ({"paths": ["etc"]}, "an absolute path"),
        ({"keep": {"daily": 0, "weekly": 0, "monthly": 0}}, "at least one snapshot"),
        ({"before": ["pg_dump"]}, "list of commands"),
        ({"environment_credentials": {"x": "y"}}, "map a variable"),
        ({"password": "x"}, "is not known"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        settings(**values)

    assert "secret" not in str(refused.value)
