from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.aina.factory.plugins.module_utils import backups
from ansible_collections.aina.factory.plugins.module_utils.backups import (
    BackupError,
    Places,
    Report,
    Repository,
)
from ansible_collections.aina.factory.plugins.module_utils.configuration import (
    ConfigurationError,
    Section,
)
from ansible_collections.aina.factory.plugins.module_utils.ports import Completed

VALUES: dict[str, Any] = {"repository": "/srv/r", "paths": ["/etc"]}
SUMMARY = {
    "message_type": "summary",
    "snapshot_id": "abc",
    "total_files_processed": 3,
    "total_bytes_processed": 30,
    "data_added": 10,
}


def settings(**values: Any) -> backups.Settings:
    return backups.from_section(Section({**VALUES, **values}, "backup"))


class Restic:
    """Answers by subcommand; keeps what it was asked."""

    def __init__(self, places: Places, **answers: tuple[int, str]) -> None:
        self.places = places
        self.answers = answers
        self.asked: list[str] = []

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
        return Completed(code, text.encode(), text.encode() if code else b"")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "canary", tmp_path / "report.json")


def back_up(restic: Restic, last: Report | None = None) -> Report:
    repository = Repository(restic, {})
    return backups.back_up(
        settings(), repository, restic.places, restic, lambda: 5.0, last or Report()
    )


def test_a_good_run_is_proved_by_reading_back(places: Places) -> None:
    restic = Restic(places, cat=(0, '{"id": "r1"}'))

    report = back_up(restic)

    assert (report.state, report.restore_test, report.snapshot_id) == ("ok", "ok", "abc")
    assert restic.asked == ["unlock", "cat", "backup", "forget", "restore"]


@pytest.mark.parametrize("restored", ["nothing", "another content"])
def test_a_snapshot_that_does_not_give_back_what_was_in_it_is_a_failure(
    places: Places, restored: str
) -> None:
    with pytest.raises(BackupError, match="not to be trusted"):
        back_up(Restic(places, cat=(0, '{"id": "r1"}'), restore=(0, restored)))


def test_files_that_could_not_be_read_make_it_incomplete(places: Places) -> None:
    restic = Restic(places, cat=(0, '{"id": "r1"}'), backup=(3, json.dumps(SUMMARY)))

    assert back_up(restic).state == "incomplete"


@pytest.mark.parametrize("answer", [(10, ""), (1, "Is there a repository at the following")])
def test_a_repository_is_made_where_there_was_never_one(
    places: Places, answer: tuple[int, str]
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
    places: Places, answer: tuple[int, str], known: str, words: str
) -> None:
    restic = Restic(places, cat=answer)

    with pytest.raises(BackupError, match=words):
        back_up(restic, Report(repository_id=known))

    assert "init" not in restic.asked
    assert "backup" not in restic.asked


def test_the_time_of_the_last_success_survives_failures() -> None:
    good = backups.to_document(Report(state="ok"), {}, "2026-01-01T00:00:00Z")
    bad = backups.to_document(Report(), good, "2026-01-02T00:00:00Z")

    assert bad["last_success_at"] == "2026-01-01T00:00:00Z"
    assert backups.from_document(bad).state == "failed"


def test_nobodys_password_is_quoted() -> None:
    done = Completed(1, b"", b"Fatal: rest:https://me:secret@host/ refused")

    assert backups.said(done) == "Fatal: rest:https://host/ refused"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"repository": "rest:https://me:secret@host/"}, "holds a user name or password"),
        ({"paths": []}, "at least one path"),
        ({"paths": ["etc"]}, "absolute paths"),
        ({"keep": {"daily": 0, "weekly": 0, "monthly": 0}}, "at least one snapshot"),
        ({"before": ["pg_dump"]}, "list of commands"),
        ({"environment_credentials": {"x": "y"}}, "map a variable"),
        ({"password": "x"}, "is not known"),
    ],
)
def test_a_wrong_value_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        settings(**values)
