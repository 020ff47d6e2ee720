"""What programs of their own clean: the journal and apt's cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.base.processes import Process
from factory.core.janitor.kinds.apt_cache import AptCache
from factory.core.janitor.kinds.journal import Journal
from factory.core.janitor.kinds.package_stores import is_installation
from factory.core.janitor.model import Candidate, KindError, KindLimits, SkipError

NOTHING = KindLimits()
OK = Completed(0, b"", b"")


class Program:
    """A program that does what a test says, and keeps how it was called."""

    def __init__(self, act: Any = lambda: None, done: Completed = OK) -> None:
        self.act, self.done = act, done
        self.calls: list[list[str]] = []

    def __call__(self, argv: Sequence[str | bytes], **_: Any) -> Completed:
        self.calls.append([os.fsdecode(word) for word in argv])
        self.act()
        return self.done


def by_name(found: Sequence[Candidate]) -> dict[str, Candidate]:
    return {Path(candidate.target).name: candidate for candidate in found}


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    directory = tmp_path / "journal/machine"
    directory.mkdir(parents=True)
    for name in ("system.journal", "system@a-1.journal", "system@a-2.journal"):
        (directory / name).write_bytes(b"j" * 8192)
    return directory


def journal(journals: Path, run: Any) -> Journal:
    return Journal(NOTHING, run, 1, str(journals.parent))


def test_the_active_journal_is_held_and_archived_ones_are_not(journals: Path) -> None:
    found = by_name(journal(journals, Program()).inventory())

    held = {name: candidate.held_by for name, candidate in found.items()}
    assert held == {
        "system.journal": "active",
        "system@a-1.journal": "",
        "system@a-2.journal": "",
    }


def test_an_archived_journal_goes_by_journalds_own_tool(journals: Path) -> None:
    oldest = journals / "system@a-1.journal"
    vacuum = Program(oldest.unlink)
    kind = journal(journals, vacuum)
    candidate = by_name(kind.inventory())[oldest.name]

    removal = kind.remove(candidate)

    assert (removal.removed, removal.bytes) == (True, 8192)
    (call,) = vacuum.calls
    assert call == ["journalctl", "--vacuum-size=16384", f"--directory={journals}"]


def test_a_journal_that_journald_keeps_is_told(journals: Path) -> None:
    kind = journal(journals, Program())

    removal = kind.remove(by_name(kind.inventory())["system@a-1.journal"])

    assert (removal.removed, removal.reason) == (False, "kept_by_journald")


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    directory = tmp_path / "archives"
    directory.mkdir()
    (directory / "a.deb").write_bytes(b"d" * 8192)
    (directory / "lock").touch()
    return directory


def apt(archives: Path, run: Any) -> AptCache:
    return AptCache(NOTHING, run, 1, str(archives))


def test_apt_empties_its_cache_itself(archives: Path) -> None:
    clean = Program((archives / "a.deb").unlink)
    kind = apt(archives, clean)
    (candidate,) = kind.inventory()
    assert (candidate.bytes, candidate.held_by) == (8192, "")
    assert candidate.last_used == pytest.approx((archives / "a.deb").stat().st_ctime)

    removal = kind.remove(candidate)

    assert (removal.removed, removal.bytes) == (True, 8192)
    assert clean.calls == [["apt-get", "clean"]]
    assert kind.inventory() == []


def test_a_cache_that_apt_has_locked_waits(archives: Path) -> None:
    busy = Completed(100, b"", b"E: Could not get lock /var/cache/apt/archives/lock.")
    kind = apt(archives, Program(done=busy))
    (candidate,) = kind.inventory()

    removal = kind.remove(candidate)

    assert (removal.removed, removal.reason) == (False, "locked")
    kind = apt(archives, Program(done=Completed(100, b"", b"E: disk on fire")))
    with pytest.raises(KindError, match="apt-get clean ended with status 100: E: disk on fire"):
        kind.remove(candidate)


def test_what_is_not_there_is_skipped(tmp_path: Path) -> None:
    for kind in (journal(tmp_path / "a/b", Program()), apt(tmp_path / "c", Program())):
        with pytest.raises(SkipError, match="not_present"):
            kind.inventory()


# the words of a program, whether it may be filling a package store
INSTALLING = [
    (("pnpm", "install"), True),
    (("node", "/usr/lib/pnpm.cjs", "add", "left-pad"), True),
    (("/usr/bin/corepack", "pnpm", "i", "--offline"), True),
    (("pnpm", "--dir", "x", "ci"), True),
    (("pnpm", "run", "build"), False),
    (("vim", "install"), False),
]


@pytest.mark.parametrize(("words", "expected"), INSTALLING)
def test_an_installation_is_known_by_its_words(words: tuple[str, ...], expected: bool) -> None:
    assert is_installation(Process(1, words[0], "", words)) is expected
