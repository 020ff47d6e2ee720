"""Kill it, run it twice, walk in on it, fill the disk: nothing may be lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sampling
from corpus.build import build
from corpus.git import Git
from corpus.judge import inventory, lost, still_there
from corpus.labels import Corpus
from reap.support import Pristine, argv, environment, reap

pytestmark = pytest.mark.slow

SITUATIONS = ("fresh branch", "landed and detached", "untracked", "stash")
HOOKS = str(Path(__file__).with_name("hooks"))
# Ends in a few seconds when all is well.
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def pristine(shared_area: Path) -> Pristine:
    return Pristine(build(shared_area / "corpus", only=SITUATIONS))


@pytest.fixture
def corpus(pristine: Pristine) -> Corpus:
    return pristine.restore()


def expected(corpus: Corpus) -> set[str]:
    """Return the paths that shall be there after a reap."""
    return {label.path for label in corpus.labels if label.expected == "keep"}


def git(corpus: Corpus, *arguments: str) -> str:
    return Git(corpus.seconds)(corpus.checkout, *arguments)


def events(corpus: Corpus, log: Path) -> list[str]:
    """Return what an undisturbed reap does, in its order."""
    reap(corpus.checkout, PYTHONPATH=HOOKS, REAP_TEST_LOG=str(log))
    return log.read_text().splitlines()


def test_a_reap_killed_at_any_change_ends_as_if_it_had_not_been(
    pristine: Pristine, shared_area: Path
) -> None:
    corpus = pristine.restore()
    before = inventory(corpus)
    planned = events(corpus, shared_area / "events")
    changes = [at for at, event in enumerate(planned, 1) if not event.startswith("subprocess")]
    others = [at for at in range(1, len(planned) + 1) if at not in changes]
    assert changes, planned
    moments = [*changes[:12], *others[:: max(1, len(others) // 3)]]

    for at in sampling.draw("moments of a kill of a reap", moments):
        corpus = pristine.restore()
        killed = subprocess.run(
            argv(corpus.checkout),
            env=environment(PYTHONPATH=HOOKS, REAP_TEST_KILL_AT=str(at)),
            capture_output=True,
            check=False,
        )
        point = f"killed before event {at}: {planned[at - 1]}"
        assert killed.returncode == -9, point
        git(corpus, "worktree", "list")
        git(corpus, "fsck", "--no-dangling")
        again = reap(corpus.checkout)

        assert again.code == 0, (point, again.errors)
        assert still_there(corpus) == expected(corpus), point
        assert not lost(corpus, before), point
        assert "prunable" not in git(corpus, "worktree", "list", "--porcelain"), point
        git(corpus, "fsck", "--no-dangling")


@pytest.mark.deep
def test_a_reap_killed_after_any_time_ends_as_if_it_had_not_been(pristine: Pristine) -> None:
    corpus = pristine.restore()
    before = inventory(corpus)
    started = time.monotonic()
    reap(corpus.checkout)
    whole = time.monotonic() - started

    for part in (0.5, 0.8, 0.95):
        corpus = pristine.restore()
        process = subprocess.Popen(
            argv(corpus.checkout),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(part * whole)
        os.killpg(process.pid, 9)
        process.wait()
        # A git that the kill orphaned may still be at work.
        git(corpus, "fsck", "--no-dangling")
        again = reap(corpus.checkout)

        assert again.code == 0, again.errors
        assert still_there(corpus) == expected(corpus), part
        assert not lost(corpus, before), part


@contextmanager
def held(corpus: Corpus, area: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Start a reap and hold it just before it moves its first worktree away."""
    hold = area / "hold"
    process = subprocess.Popen(
        argv(corpus.checkout),
        env=environment(PYTHONPATH=HOOKS, REAP_TEST_HOLD=str(hold)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        until = time.monotonic() + PATIENCE_SECONDS
        while not hold.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.01)
        yield process, hold
    finally:
        for name in ("hold", "hold.tmp"):
            (area / name).unlink(missing_ok=True)
        process.kill()
        process.communicate()


@pytest.mark.deep
def test_of_two_reaps_at_once_one_works_and_one_says_75(corpus: Corpus, shared_area: Path) -> None:
    with held(corpus, shared_area) as (first, hold):
        second = reap(corpus.checkout)
        hold.unlink()
        output, errors = first.communicate(timeout=PATIENCE_SECONDS)

    assert second.code == 75
    assert str(first.pid) in second.document["error"]
    assert first.returncode == 0, errors
    assert output.startswith(b'{"schema": 1')
    assert still_there(corpus) == expected(corpus)


@pytest.mark.deep
def test_a_process_that_walks_in_after_the_plan_saves_its_worktree(
    corpus: Corpus, shared_area: Path
) -> None:
    with held(corpus, shared_area) as (process, hold):
        moving = hold.read_text()
        entered = next(
            one.path for one in corpus.labels if one.expected == "reap" and one.path not in moving
        )
        visitor = subprocess.Popen(["sleep", "300"], cwd=entered)
        hold.unlink()
        process.communicate(timeout=PATIENCE_SECONDS)
        visitor.kill()
        visitor.wait()

    assert Path(entered).is_dir()
    assert still_there(corpus) == expected(corpus) | {entered}


@pytest.mark.deep
def test_a_process_that_walks_in_at_the_last_moment_saves_its_worktree(
    corpus: Corpus, shared_area: Path
) -> None:
    with held(corpus, shared_area) as (process, hold):
        moving = hold.read_text()
        entered = next(one.path for one in corpus.labels if one.path in moving)
        visitor = subprocess.Popen(["sleep", "300"], cwd=entered)
        hold.unlink()
        process.communicate(timeout=PATIENCE_SECONDS)
        there = Path(entered).is_dir()
        visitor.kill()
        visitor.wait()

    assert there


@pytest.mark.deep
def test_work_that_is_written_after_the_plan_saves_its_worktree(
    corpus: Corpus, shared_area: Path
) -> None:
    with held(corpus, shared_area) as (process, hold):
        moving = hold.read_text()
        touched = next(
            one.path for one in corpus.labels if one.expected == "reap" and one.path not in moving
        )
        Path(touched, "notes.md").write_text("just in time")
        hold.unlink()
        process.communicate(timeout=PATIENCE_SECONDS)

    assert Path(touched, "notes.md").read_text() == "just in time"


@pytest.mark.deep
def test_undo_gives_back_every_byte(corpus: Corpus) -> None:
    before = inventory(corpus)
    listed = git(corpus, "worktree", "list", "--porcelain")
    gone = [path for path, one in reap(corpus.checkout).verdicts().items() if one["reaped"]]
    assert len(gone) == 4

    ends = [reap(corpus.checkout, "--undo", path) for path in gone]

    assert [end.code for end in ends] == [0] * len(gone), ends
    assert inventory(corpus).files == before.files
    assert inventory(corpus).own == before.own
    assert git(corpus, "worktree", "list", "--porcelain") == listed
    for path in gone:
        assert Git(0)(Path(path), "status", "--porcelain", "--ignored=no") == ""


@pytest.mark.deep
def test_undo_never_overwrites_what_stands_there_now(corpus: Corpus) -> None:
    gone = next(path for path, one in reap(corpus.checkout).verdicts().items() if one["reaped"])
    Path(gone).mkdir()
    Path(gone, "new.txt").write_text("new")

    end = reap(corpus.checkout, "--undo", gone)

    assert end.code == 1
    assert Path(gone, "new.txt").read_text() == "new"


def stats(root: Path) -> dict[str, tuple[int, int]]:
    """Return time and size of everything, git's own files included."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            status = Path(folder, name).lstat()
            found[str(Path(folder, name))] = (status.st_mtime_ns, status.st_size)
    return found


@pytest.mark.deep
def test_a_dry_run_changes_nothing_and_says_what_the_real_run_does(corpus: Corpus) -> None:
    before = stats(Path(corpus.root))

    planned = reap(corpus.checkout, "--dry-run")
    after = stats(Path(corpus.root))
    done = reap(corpus.checkout)

    assert planned.code == done.code == 0
    assert {path: at for path, at in after.items() if before.get(path) != at} == {}
    assert before == after
    assert not any(one["reaped"] for one in planned.document["worktrees"])
    assert planned.document["changed"] is False
    assert done.document["changed"] is True
    same = ("path", "branch", "head", "verdict", "reason", "evidence", "bytes")
    assert [[one[key] for key in same] for one in planned.document["worktrees"]] == [
        [one[key] for key in same] for one in done.document["worktrees"]
    ]


@pytest.mark.deep
def test_a_second_run_has_nothing_to_do(corpus: Corpus) -> None:
    reap(corpus.checkout)

    again = reap(corpus.checkout)

    assert (again.code, again.document["changed"], again.document["bytes_freed"]) == (0, False, 0)


@pytest.mark.deep
def test_worktrees_can_be_added_all_the_while(corpus: Corpus) -> None:
    def add(number: int) -> int:
        path = Path(corpus.root) / "agent-workspaces" / f"added-{number}"
        command = ["git", "worktree", "add", "-q", "-b", f"added/{number}", str(path), "main"]
        return subprocess.run(
            command, cwd=corpus.checkout, env=environment(), stderr=sys.stderr, check=False
        ).returncode

    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(add, range(30))
        ours = reap(corpus.checkout)
        codes = list(ended)

    assert codes == [0] * 30
    assert ours.code == 0
    assert all((Path(corpus.root) / "agent-workspaces" / f"added-{n}").is_dir() for n in range(30))
    assert len(git(corpus, "worktree", "list").splitlines()) == 1 + len(expected(corpus)) + 30


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a mounted file system of 48 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m,nr_inodes=40k", "tmpfs", str(disk)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_on_a_full_disk_space_is_freed_or_nothing_is_lost(small_disk: Path) -> None:
    corpus = build(small_disk / "corpus", only=SITUATIONS)
    before = inventory(corpus)
    fill(small_disk)

    end = reap(corpus.checkout)

    assert not lost(corpus, before)
    assert still_there(corpus) >= expected(corpus)
    assert end.code in (0, 1)
    if end.code == 0:
        assert still_there(corpus) == expected(corpus)
    else:
        assert end.document["failures"]
    (small_disk / "filler").unlink()
    assert reap(corpus.checkout).code == 0
    assert still_there(corpus) == expected(corpus)


def fill(disk: Path) -> None:
    """Leave not one free block."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65_536)
        except OSError:
            pass
