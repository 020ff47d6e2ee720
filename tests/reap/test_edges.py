"""The remote, other file systems, shallow clones, and the form of the answer."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from corpus.build import build
from corpus.factory import DAY_SECONDS, SHAPES, Factory, admin_directories, touch
from corpus.git import Git
from corpus.judge import inventory, origins, still_there
from corpus.labels import Corpus
from corpus.oracle import losses
from reap.support import Pristine, Ran, reap

pytestmark = pytest.mark.slow

SCHEMA = {
    "type": "object",
    "required": ["schema", "repository", "worktrees", "bytes_freed", "changed"],
    "properties": {
        "schema": {"const": 1},
        "repository": {"type": "string"},
        "bytes_freed": {"type": "integer", "minimum": 0},
        "changed": {"type": "boolean"},
        "worktrees": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "path", "branch", "head", "verdict", "reason", "evidence", "bytes", "reaped",
                ],
                "properties": {
                    "path": {"type": "string"},
                    "branch": {"type": ["string", "null"]},
                    "head": {"type": ["string", "null"]},
                    "verdict": {"enum": ["reap", "keep"]},
                    "reason": {"type": "string", "pattern": "^[a-z][a-z_]*$"},
                    "bytes": {"type": ["integer", "null"]},
                    "reaped": {"type": "boolean"},
                },
                # Only what was decided to go may be gone, and never without evidence.
                "if": {"properties": {"verdict": {"const": "keep"}}},
                "then": {"properties": {"reaped": {"const": False}}},
                "else": {"properties": {"evidence": {"type": ["object", "string"]}}},
            },
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def pristine(shared_area: Path) -> Pristine:
    names = ("landed", "odd path, landed", "odd path, dirty", "fresh branch", "locked", "unlanded")
    return Pristine(build(shared_area / "corpus", only=names))


@pytest.fixture
def corpus(pristine: Pristine) -> Corpus:
    return pristine.restore()


def reaped(run: Ran) -> set[str]:
    return {path for path, one in run.verdicts().items() if one["reaped"]}


@pytest.mark.deep
def test_the_answer_has_the_promised_form_and_every_odd_path(corpus: Corpus) -> None:
    run = reap(corpus.checkout)

    jsonschema.validate(run.document, SCHEMA)
    listed = {label.path for label in corpus.labels if label.listed}
    assert set(run.verdicts()) - {str(corpus.checkout)} == listed
    main = run.verdicts().get(str(corpus.checkout))
    assert main is None or main["verdict"] == "keep"
    assert run.document["bytes_freed"] == sum(
        one["bytes"] for one in run.document["worktrees"] if one["reaped"]
    )
    assert run.document["bytes_freed"] > 0


@pytest.mark.deep
def test_what_stays_is_measured_unless_nobody_wants_to_know(corpus: Corpus) -> None:
    measured = {
        path: one["bytes"] for path, one in reap(corpus.checkout, "--dry-run").verdicts().items()
    }
    quick = reap(corpus.checkout, "--dry-run", "--no-sizes").verdicts()

    du = ["du", "-sx0", "--block-size=1", *still_there(corpus)]
    done = subprocess.run(du, check=True, capture_output=True)
    listing = os.fsdecode(done.stdout)
    for size, _tab, path in (line.partition("\t") for line in listing.split("\0") if line):
        assert measured[path] == int(size), path
    assert {one["bytes"] for one in quick.values()} == {None}


@pytest.mark.deep
def test_without_the_remote_nothing_goes_and_the_reason_is_told(corpus: Corpus) -> None:
    corpus.origin.rename(corpus.origin.with_name("unreachable"))

    run = reap(corpus.checkout)

    assert still_there(corpus) == {label.path for label in corpus.labels}
    assert "remote" in str(run.document) or "origin" in str(run.document)


@pytest.mark.deep
def test_what_main_has_taken_back_is_not_landed(corpus: Corpus) -> None:
    before = inventory(corpus)
    git = Git(corpus.seconds)
    git(corpus.checkout, "fetch", "-q", "origin", "main")
    first = git(corpus.origin, "rev-list", "--max-parents=0", "main")
    git(corpus.origin, "update-ref", "refs/heads/main", first)

    reap(corpus.checkout)

    # Nothing counts as landed any more: whatever went must be at the origin itself.
    assert not losses(
        before, inventory(corpus), origins=origins(corpus), repository=corpus.checkout / ".git"
    )


@pytest.mark.deep
def test_a_lock_of_a_dead_lane_is_reaped_on_request_only(corpus: Corpus) -> None:
    dead = next(one.path for one in corpus.labels if one.variant == "by a dead lane")
    nameless = next(one.path for one in corpus.labels if one.variant == "without a reason")

    plain = reap(corpus.checkout)
    asked = reap(corpus.checkout, "--reap-dead-locks")

    assert dead not in reaped(plain)
    assert dead in reaped(asked)
    assert Path(nameless).is_dir()


@pytest.mark.deep
def test_one_corrupt_worktree_does_not_stop_the_others_nor_lose_them(corpus: Corpus) -> None:
    victim = next(one for one in corpus.labels if one.situation == "unlanded")
    head = admin_directories(corpus.checkout)[Path(victim.path)] / "HEAD"
    head.write_text("1234567890" * 4 + "\n")
    before = inventory(corpus)

    run = reap(corpus.checkout)

    assert Path(victim.path).is_dir()
    print(run.code, run.document["failures"], run.document["warnings"])
    assert len(reaped(run)) > 10
    assert not losses(
        before,
        inventory(corpus),
        origins=origins(corpus),
        repository=corpus.checkout / ".git",
        landed=corpus.landed,
    )


@pytest.mark.deep
def test_not_a_repository_is_a_failure_that_names_it(tmp_path: Path) -> None:
    run = reap(tmp_path)

    assert run.code in (1, 2)
    assert str(tmp_path) in str(run.document)


@pytest.fixture
def elsewhere(area: Path) -> Iterator[Path]:
    """Return a directory on another file system than ``area``."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        if os.lstat(directory).st_dev == area.lstat().st_dev:
            pytest.skip("/var/tmp and the corpus are on one file system")
        yield Path(directory)


def test_a_worktree_on_another_file_system_goes_and_comes_back(area: Path, elsewhere: Path) -> None:
    factory = Factory(
        area / "corpus", style="squash", seed=0, shape=SHAPES["small"], now=int(time.time())
    )
    lane = factory.lane("far", place=elsewhere)
    lane.work(1)
    factory.land(lane)
    kept = factory.lane("far-dirty", place=elsewhere)
    kept.write({"notes.md": "mine"})
    factory.finish([])
    for path, admin in admin_directories(factory.checkout).items():
        touch(path, factory.now - 3 * DAY_SECONDS)
        touch(admin, factory.now - 3 * DAY_SECONDS)

    run = reap(factory.checkout)
    gone = not lane.path.exists()
    undone = reap(factory.checkout, "--undo", str(lane.path))

    assert reaped(run) == {str(lane.path)}
    assert gone
    assert (kept.path / "notes.md").read_text() == "mine"
    assert undone.code == 0
    assert lane.git("status", "--porcelain") == ""


def test_in_a_shallow_clone_only_what_is_proven_goes(area: Path) -> None:
    factory = Factory(
        area / "corpus", style="squash", seed=0, shape=SHAPES["small"], now=int(time.time())
    )
    factory.main({"more.txt": "more"})
    shallow = area / "corpus" / "shallow"
    factory.git(area, "clone", "-q", "--depth", "1", f"file://{factory.origin}", str(shallow))
    factory.checkout = shallow
    fresh = factory.lane("fresh")
    unlanded = factory.lane("unlanded")
    unlanded.work(1)
    pushed = factory.lane("pushed")
    pushed.work(1)
    pushed.push("refs/heads/pushed")
    factory.finish([])
    for path, admin in admin_directories(shallow).items():
        touch(path, factory.now - 3 * DAY_SECONDS)
        touch(admin, factory.now - 3 * DAY_SECONDS)

    run = reap(shallow)

    assert reaped(run) == {str(fresh.path), str(pushed.path)}
    assert unlanded.path.is_dir()
