"""What a lane hands over at its end, whatever state its agent has left the repository in."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import agents
import pytest

from factory import effects
from factory.core.base.configuration import Section
from factory.core.base.settings import read
from factory.core.lanes import collect, frames, outcome
from factory.core.lanes.collect import Start
from factory.core.lanes.settings import LanesSettings
from factory.lanes import supervisor, tasks

IMAGE = Path(__file__).parents[2] / "collections/ansible_collections/aina/factory/images/lane"
ENVIRONMENT = {
    "LANE_ID": "demo-7-0a1b2c3d",
    "LANE_SESSIONS": "",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}
GOOD = outcome.Model(1, 1, 1, 0, 0, "complete", 200)


@dataclass
class Lane:
    """A lane's clone of a mirror, and the programs of the image with their places moved here."""

    root: Path
    base: str = ""

    def run(self, script: str, **more: str) -> bytes:
        """Run what an agent runs; return what was printed."""
        path = f"{self.root / 'bin'}:{os.environ['PATH']}"
        environment = {**os.environ, **ENVIRONMENT, "PATH": path, "HOME": str(self.root / "home")}
        argv = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(
            argv,
            cwd=self.repository if self.repository.exists() else self.root,
            env={**environment, **more},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    @property
    def repository(self) -> Path:
        return self.root / "work/repository"

    def moved(self, name: str) -> str:
        """Return a program of the image with its places below this directory."""
        text = (IMAGE / name).read_text()
        places = r"work|tmp|mirror\.git|seed|store|etc/aina-lane"
        return re.sub(rf"(?<=[ =\"])/({places})\b", rf"{self.root}/\1", text)

    def begin(self, **more: str) -> str:
        """Begin the lane as its own program does; return what the agent would be told of it."""
        shutil.rmtree(self.repository)
        for name in ("socat", "pnpm"):
            program = self.root / "bin" / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.root}/called\n')
            program.chmod(0o755)
        text = self.moved("lane")
        head = text[text.index("cp -R") : text.index("# What was committed so far")]
        given = f"say() {{ echo $1; }}\nexec 5<<<'{self.base}'\nset +e\n"
        environment = {"LANE_HOME": "codex", "LANE_INSTRUCTIONS": ".codex/AGENTS.md"}
        return self.run(given + head + "\nwait; exit 0", **environment, **more).decode()

    def end(self) -> tuple[str, str, collect.Work | None]:
        """End the lane as its own program does; return what the host makes of it."""
        text = self.moved("lane")
        tail = text[text.index("git rev-parse --verify") : text.index('kill "$forwarder"')]
        given = "say() { :; }; status=0; exec 3>&1 1>&2\nset +e\n"
        return self.judged(self.run(given + tail))

    def judged(self, stream: bytes) -> tuple[str, str, collect.Work | None]:
        (handover,) = frames.Reader(64 << 20).feed(stream)
        work = None
        if handover.bundle:
            bundle = self.root / "lane.bundle"
            bundle.write_bytes(handover.bundle)
            work = self.results.take(bundle, Start(self.base), "demo-7-0a1b2c3d")
        unkept = outcome.unkept(handover.result, work.head if work else self.base)
        count = work.commits_count if work else 0
        evidence = outcome.LaneEvidence(0, "", "", 0, count, GOOD, True, unkept=unkept)
        return *outcome.decide(evidence), work

    @property
    def results(self) -> collect.LaneMirror:
        return collect.LaneMirror(effects.run, self.root / "mirror.git", "")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    found = Lane(tmp_path_factory.mktemp("fresh"))
    for name in ("bin", "home", "tmp", "work/repository"):
        (found.root / name).mkdir(parents=True)
    found.run(
        "git init -q -b main . && git config user.name a && git config user.email a@example.com"
        " && echo one >a.txt && git add . && git commit -qm base"
        " && git clone -q --bare . ../../mirror.git && git checkout -q -b lane"
        " && git update-ref refs/host/base HEAD && git branch -qD main"
    )
    found.base = found.run("git rev-parse HEAD").decode().strip()
    return found


@pytest.fixture
def lane(tmp_path: Path, fresh: Lane) -> Lane:
    found = Lane(tmp_path / "lane", fresh.base)
    shutil.copytree(fresh.root, found.root)
    program = found.root / "bin/lane-export"
    program.write_text(found.moved("lane-export"))
    program.chmod(0o755)
    return found


@pytest.fixture
def outset(lane: Lane) -> Lane:
    """Return a lane whose image has its templates, and that has not begun."""
    templates = lane.root / "etc/aina-lane"
    shutil.copytree(IMAGE / "homes", templates / "homes")
    shutil.copy(IMAGE / "AGENTS.md", templates)
    return lane


def test_a_lane_begins_with_a_clone_of_its_own_and_a_home_that_is_fresh(outset: Lane) -> None:
    assert outset.begin() == ""

    alternates = outset.repository / ".git/objects/info/alternates"
    assert alternates.read_text().strip() == str(outset.root / "mirror.git/objects")
    heads = outset.run(
        "git rev-parse HEAD refs/host/base && git branch --show-current && git remote"
    )
    assert heads.decode().split() == [outset.base, outset.base, "lane"]
    assert (outset.repository / "a.txt").read_text() == "one\n"
    home = outset.root / "home/.codex"
    assert (home / "config.toml").read_text() == (
        IMAGE / "homes/codex/.codex/config.toml"
    ).read_text()
    assert (home / "AGENTS.md").read_text() == (IMAGE / "AGENTS.md").read_text()


def test_agents_are_told_what_their_project_says_beside_what_all_are_told(outset: Lane) -> None:
    (outset.root / "etc/aina-lane/AGENTS.project.md").write_text("Sell.\n")
    outset.begin()
    told = (outset.root / "home/.codex/AGENTS.md").read_text()
    assert told == f"{(IMAGE / 'AGENTS.md').read_text()}Sell.\n"


def test_a_lane_goes_on_from_the_commits_and_the_memory_of_an_earlier_one(outset: Lane) -> None:
    outset.run(f"echo two >>a.txt; git stash -q\n{COMMIT.format('b')}")
    outset.run("mkdir -p ~/old && echo remembered >~/old/session")
    _, _, work = outset.end()
    assert work is not None
    seed = outset.root / "seed"
    seed.mkdir()
    (outset.root / "lane.bundle").rename(seed / "lane.bundle")
    outset.run(f"tar -czf {seed}/sessions.tar.gz -C ~/old .")

    assert outset.begin(LANE_SESSIONS=".codex/sessions") == ""

    found = outset.run("git rev-parse HEAD && git for-each-ref --format='%(refname)'").decode()
    assert found.split() == [
        work.head,
        "refs/heads/lane",
        "refs/heads/main",
        "refs/host/base",
        "refs/kept/stash0",
    ]
    assert (outset.root / "home/.codex/sessions/session").read_text() == "remembered\n"


def test_packages_are_installed_from_the_store_and_none_of_them_is_run(outset: Lane) -> None:
    outset.run(
        "git -C ../../mirror.git worktree add -q ../tree main && cd ../../tree"
        " && touch pnpm-lock.yaml && git add ."
        " && git -c user.name=a -c user.email=a@example.com commit -qm lock"
    )
    outset.base = outset.run("git -C ../../mirror.git rev-parse main").decode().strip()
    (outset.root / "store/v10").mkdir(parents=True)
    outset.begin()
    calls = (outset.root / "called").read_text().splitlines()
    (call,) = [line for line in calls if line.startswith("pnpm")]
    assert call.startswith("pnpm install --offline --frozen-lockfile --ignore-scripts --store-dir")
    assert f"{outset.root}/store" in call


COMMIT = "echo {0} >{0}; git add .; git commit -qm {0}\n"
# What an agent does, and which paths are handed over in how many commits.
KEPT: dict[str, tuple[str, list[str], int]] = {
    "committed": (COMMIT.format("b"), ["b"], 1),
    "not committed": ("echo b >b; echo two >>a.txt", ["a.txt", "b"], 1),
    "locked index": ("echo b >b; touch .git/index.lock", ["b"], 1),
    "locked references": ("echo b >b; touch .git/HEAD.lock .git/refs/heads/lane.lock", ["b"], 1),
    "signed": ("git config commit.gpgSign true; git config gpg.program false; echo b >b", ["b"], 1),
    "hooked": (
        "git config core.hooksPath hooks; mkdir hooks; for i in pre-commit prepare-commit-msg"
        " reference-transaction; do printf '#!/bin/sh\\nexit 1\\n' >hooks/$i; done; chmod +x hooks/*",
        ["hooks/pre-commit", "hooks/prepare-commit-msg", "hooks/reference-transaction"],
        1,
    ),
    "watched": ("git config core.fsmonitor 'echo / #'; git status >/dev/null; echo b >b", ["b"], 1),
    "failing filter": (
        "git config filter.x.clean false; git config filter.x.required true;"
        " echo '*.x filter=x' >.gitattributes; echo b >b.x",
        [".gitattributes", "b.x"],
        1,
    ),
    "damaged index": ("echo b >b; echo nonsense >.git/index", ["b"], 1),
    "damaged settings": (COMMIT.format("c") + "echo b >b; echo '[' >.git/config", ["b", "c"], 2),
    "bare": ("git config core.bare true; echo b >b", ["b"], 1),
    "own settings": ("echo b >b; echo '[' >~/.gitconfig; git config user.name ''", ["b"], 1),
    "hidden": ("git config status.showUntrackedFiles no; echo b >b", ["b"], 1),
    "own branch": (
        "git checkout -qb feature/x\n" + COMMIT.format("b") + COMMIT.format("c"),
        ["b", "c"],
        2,
    ),
    "no branch": ("git checkout -q --detach\n" + COMMIT.format("b") + "echo c >c", ["b", "c"], 2),
    "renamed branch": ("git branch -qm other\n" + COMMIT.format("b"), ["b"], 1),
    "deleted branch": (COMMIT.format("b") + "rm .git/refs/heads/lane", ["b"], 1),
    "repository without a commit": ("git init -q app; echo b >app/b", ["app/b"], 1),
    "looking back": (COMMIT.format("b") + "git checkout -q HEAD~", ["b"], 1),
    "spare branch": (
        COMMIT.format("b") + "git branch spare; git commit -q --amend -m more",
        ["b"],
        1,
    ),
    "repository inside": (
        "git init -q app; git -C app config user.name a; git -C app config user.email b"
        "; echo b >app/b; git -C app add .; git -C app commit -qm inner; echo c >app/c; git add .",
        ["app/b", "app/c"],
        1,
    ),
    "committed repository inside": (
        "git init -q app; git -C app -c user.name=a -c user.email=b commit -q --allow-empty -m x"
        "; git add .; git commit -qm app; echo b >app/b",
        ["app/b"],
        2,
    ),
    "tree inside": (
        "git worktree add -q tree; echo b >tree/b; git -C tree add .; git -C tree commit -qm b; echo c >c",
        ["c"],
        1,
    ),
    "full scratch": (COMMIT.format("b") + "rm -r ../../tmp; echo >../../tmp", ["b"], 1),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_an_agent_has_done_comes_out(name: str, lane: Lane) -> None:
    script, paths, commits_count = KEPT[name]
    lane.run(script)

    found, detail, work = lane.end()

    assert (found, work is not None) == ("changed", True), detail
    assert work is not None
    assert (list(work.paths), work.commits_count) == (paths, commits_count)


def test_an_agent_that_did_nothing_has_changed_nothing(lane: Lane) -> None:
    lane.run("git status")
    assert lane.end() == ("no_change", "the agent ended well and changed nothing", None)


# What an agent has left, what is said of it, and how many commits come out nevertheless.
NAMED: dict[str, tuple[str, str, int]] = {
    "stash": ("echo two >>a.txt; git stash -q", "on stash0 alone", 2),
    "other branch": (
        "git checkout -qb x\n" + COMMIT.format("b") + "git checkout -q lane",
        "on refs/heads/x alone",
        1,
    ),
    "other tree": (
        "git worktree add -q ../tree -b tree; echo b >../tree/b; echo c >c",
        "tree is not committed",
        1,
    ),
    "no repository": (COMMIT.format("b") + "rm -rf .git", "its repository cannot be read", 0),
    "lost object": (
        COMMIT.format("b") + "rm .git/objects/$(git rev-parse HEAD:b | sed 's,..,&/,') b",
        "its commits cannot be packed",
        0,
    ),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_does_not_come_out_is_named_and_no_success(name: str, lane: Lane) -> None:
    script, words, commits_count = NAMED[name]
    lane.run(script)

    found, detail, work = lane.end()

    assert found == "incomplete"
    assert words in detail
    assert (work.commits_count if work else 0) == commits_count


def test_what_lies_beside_the_branch_comes_out_with_it(lane: Lane) -> None:
    lane.run(f"echo two >>a.txt; git stash -q; git branch old\n{COMMIT.format('b')}")
    lane.run(f"git checkout -q old\n{COMMIT.format('c')} git checkout -q lane")

    found, _, work = lane.end()

    assert work is not None
    assert (found, work.paths) == ("changed", ("b",))
    heads = lane.run("git bundle list-heads ../../lane.bundle | cut -d ' ' -f 2").decode().split()
    assert sorted(heads) == ["refs/heads/lane", "refs/kept/heads/old", "refs/kept/stash0"]


def test_commits_on_a_branch_of_its_own_are_rescued_while_an_agent_works(lane: Lane) -> None:
    lane.run(f"git checkout -qb feature/x\n{COMMIT.format('b')} echo c >c; touch .git/index.lock")

    _, _, work = lane.judged(lane.run("lane-export checkpoint"))

    assert work is not None
    assert (work.paths, work.subject) == (("b",), "b")
    assert lane.run("git branch --show-current") == b"feature/x\n"


def supervised(directory: Path) -> supervisor.Lane:
    project = {"name": "demo", "repository": "factory/demo"}
    section = {"agents": agents.shipped(), "projects": [project]}
    places = {"state_dir": str(directory), "mirror_dir": str(directory), "git_user": ""}
    known = read(LanesSettings, Section({**section, **places}, "lanes"))
    task = tasks.Task(known.lane_projects[0], 7)
    return supervisor.Lane(known, task, directory, name="demo-7-0a1b2c3d")


def frame(kind: str, **result: object) -> bytes:
    buffer, text = io.BytesIO(), json.dumps(result).encode()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in (("result.json", text), ("lane.bundle", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return b"LANE1 %s %d\n" % (kind.encode(), len(buffer.getvalue())) + buffer.getvalue()


def test_what_cannot_be_written_down_is_no_success_until_it_is(tmp_path: Path) -> None:
    lane = supervised(tmp_path)
    said = {"head": "0" * 40, "dirty_count": 0}

    def concluded() -> tuple[str, str]:
        start = tasks.ResolvedTask(collect.Start("0" * 40), "")
        result = lane._conclude(0, start, 0.0, 0.0)
        return result["outcome"], result["detail"]

    def ends_well() -> None:
        line = {"kind": "model", "verdict": "complete", "status": 200}
        (lane.directory / supervisor.GATEWAY_LOG).write_text(json.dumps(line))

    # A file stands in the place of the directory: as with a full disk, nothing can be written into it.
    lane.directory.touch()
    lane._take(frames.Reader(1 << 20), frame("result", **said))
    lane.directory.unlink()
    lane.directory.mkdir()
    ends_well()
    without = concluded()
    lane._take(frames.Reader(1 << 20), frame("result", **said))
    (lane.directory / supervisor.BUNDLE).unlink()

    assert without[0] == "incomplete"
    assert "what it handed over cannot be written: [Errno 17]" in without[1]
    assert concluded() == ("no_change", "the agent ended well and changed nothing")


def test_a_frame_that_nobody_foresaw_breaks_the_result_and_not_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = supervised(tmp_path)

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(frames, "_unpack", exhausted)
    lane._take(frames.Reader(1 << 20), frame("result"))

    assert lane._broken == "the result cannot be read: MemoryError"
