"""What a lane hands over at its end, whatever state its agent has left the repository in."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
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
    # What its agent did.
    script: str = ""

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
        head = text[text.index("cp -R") : text.index("# What was done so far")]
        given = f"say() {{ echo $1; }}\nexec 5<<<'{self.base}'\nset +e\n"
        environment = {"LANE_HOME": "codex", "LANE_INSTRUCTIONS": ".codex/AGENTS.md"}
        return self.run(given + head + "\nwait; exit 0", **environment, **more).decode()

    def end(self) -> tuple[str, str, collect.Work | None]:
        """End the lane as its own program does; return what the host makes of it."""
        return self.judged(self.run("LANE_STATUS=0 lane-export result"))

    def judged(self, stream: bytes) -> tuple[str, str, collect.Work | None]:
        (handover,) = frames.Reader(64 << 20).feed(stream)
        work = None
        if handover.bundle:
            bundle = self.root / "lane.bundle"
            bundle.write_bytes(handover.bundle)
            try:
                work = self.results.take(bundle, Start(self.base), "demo-7-0a1b2c3d")
            except collect.RewrittenError:
                # What it holds was taken, and is known to whoever looks for it.
                return outcome.REWRITTEN, "", None
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


# More that an agent can leave: where it lies does not matter, only that nothing of it is lost unsaid.
MORE: dict[str, str] = {
    "stash": "echo two-x >>a.txt; git stash -q",
    "stashes": "echo two-x >>a.txt; git stash -q; echo three-x >>a.txt; git stash -q; echo b-x >b",
    "other branch": "git checkout -qb x; echo b-x >b; git add .; git commit -qm b; git checkout -q lane; echo c-x >c",
    "other tree": "git worktree add -q ../tree -b tree; echo b-x >../tree/b; echo c-x >c",
    "tree without a branch": "git worktree add -q --detach ../tree; echo b-x >../tree/b",
    "amended base": "echo b-x >b; git add .; git commit -q --amend -m new",
    "other history": "git checkout -q --orphan y; echo b-x >b; git add .; git commit -qm y",
    "merge under way": "git checkout -qb x; echo b-x >a.txt; git commit -qam b; git checkout -q lane;"
    " echo c-x >a.txt; git commit -qam c; git merge -q x || true",
    "rebase under way": "git checkout -qb x; echo b-x >a.txt; git commit -qam b; git checkout -q lane;"
    " echo c-x >a.txt; git commit -qam c; git rebase -q x 2>/dev/null || true",
    "called unchanged": "git update-index --assume-unchanged a.txt; echo two-x >>a.txt",
    "called absent": "git update-index --skip-worktree a.txt; echo two-x >>a.txt",
    "sparse": "git sparse-checkout set --no-cone nothing; echo b-x >b",
    "odd names": "mkdir -p 'd [x]'; echo b-x >'d [x]/*b'; echo c-x >$'c\\tc'; echo d-x >-d; echo e-x >:e",
    "repository in a repository": "git init -q p; echo b-x >p/b; git init -q p/q; echo c-x >p/q/c",
    "repository in what is tracked": "mkdir p; echo 1 >p/a; git add .; git commit -qm p; git init -q p; echo b-x >p/a",
    "deleted and written anew": "rm a.txt; mkdir a.txt; echo b-x >a.txt/b",
    "renamed": "git mv a.txt b.txt; echo b-x >>b.txt",
    "link": "ln -s b-x b",
    "no repository": "echo b-x >b; rm -rf .git",
    "no HEAD": "echo b-x >b; rm .git/HEAD",
    "lost object": "echo b-x >b; git add .; git commit -qm b; rm b"
    " .git/objects/$(git rev-parse HEAD:b | sed 's,..,&/,')",
}


def lost(lane: Lane, said: str) -> list[str]:
    """Return the marks of what an agent wrote that did not come out, unless that is said."""
    argv = "git cat-file --batch --batch-all-objects --unordered <&-"
    held = lane.run(f"cd {lane.root}/mirror.git; {argv}").decode(errors="replace")
    wrote = set(re.findall(r"\b[a-z]+-x\b", lane.script))
    return [] if "not handed over" in said else sorted(mark for mark in wrote if mark not in held)


@pytest.mark.parametrize("name", [*KEPT, *MORE])
def test_nothing_is_lost_unsaid_whenever_a_lane_is_killed(name: str, lane: Lane) -> None:
    """Its state is looked at as a lane that is killed leaves it, and as one that ends does."""
    lane.script = MORE[name] if name in MORE else KEPT[name][0].replace("echo b ", "echo b-x ")
    lane.run(lane.script)
    # Killed while it works, or while its agent adds to the index.
    lane.run("mkdir -p .git; touch .git/index.lock")
    rescued = lane.run("lane-export checkpoint")
    _, said, _ = lane.judged(rescued)
    assert lost(lane, said) == []
    # What was said already is not said again.
    assert len(lane.run("lane-export checkpoint")) == 0
    # Killed while it hands over: what came before stays, and what is cut off has forged nothing.
    final = lane.run("LANE_STATUS=0 lane-export result")
    reader = frames.Reader(64 << 20)
    assert len(list(reader.feed(rescued + final[: len(final) // 2]))) == 1
    with pytest.raises(frames.CutOffError):
        reader.end()
    outcome_name, said, work = lane.judged(final)
    assert lost(lane, said) == []
    if name in KEPT:
        _, paths, commits_count = KEPT[name]
        assert (outcome_name, work is not None) == ("changed", True), said
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


def test_what_is_no_work_is_left_out_and_named(lane: Lane) -> None:
    """Neither a secret nor what a build made lands in a pull request, and neither is an offence."""
    lane.run(
        "echo KEY=1 >.env; echo KEY= >.env.example; echo ghp_$(printf 'a%.0s' $(seq 36)) >notes"
        "; mkdir -p app/node_modules/x target; echo 1 >app/node_modules/x/y; echo 1 >target/o"
        "; echo 'Signature: 8a477f597d28d172789f06886806bc55' >target/CACHEDIR.TAG"
        "; head -c 3000000 /dev/zero >big; echo b >b"
    )

    stream = lane.run("LANE_HANDOVER_MAX_BYTES=5000000 LANE_STATUS=0 lane-export result")
    found, detail, work = lane.judged(stream)

    assert work is not None
    assert (found, work.paths, detail) == ("changed", (".env.example", "b"), "1 commits")
    (handover,) = frames.Reader(64 << 20).feed(stream)
    assert handover.result["left_out"] == [
        "app/node_modules (made by a build)",
        "target (made by a build)",
        ".env (looks like a secret)",
        "notes (looks like a secret)",
        "big (2 MiB)",
    ]
    # What is nowhere else is kept beside the work, as far as there is room; what is built anew is not.
    assert handover.result["beside"] == []
    lane.run("rm big")
    lane.judged(lane.run("LANE_STATUS=0 lane-export result"))
    kept = lane.run(
        "git fetch -q ../../lane.bundle refs/kept/left-out && git ls-tree -r --name-only FETCH_HEAD"
    )
    assert kept.decode().split() == [".env", ".env.example", "a.txt", "b", "notes"]


def test_what_is_too_much_to_hand_over_is_named(lane: Lane) -> None:
    lane.run("head -c 3000000 /dev/urandom >b; git add .; git commit -qm b; echo c >c")
    found, detail, work = lane.judged(
        lane.run("LANE_HANDOVER_MAX_BYTES=2000000 LANE_STATUS=0 lane-export result")
    )
    assert (found, work) == ("incomplete", None)
    assert "its commits are 2 MiB, and 1 may be handed over" in detail


def test_a_merge_that_its_agent_left_is_one_once_no_conflict_is_left(lane: Lane) -> None:
    lane.run(MORE["merge under way"])
    lane.judged(lane.run("lane-export checkpoint"))
    parents = "git -C ../../mirror.git log -1 --format=%P {}"
    _, _, left = lane.end()
    assert left is not None
    assert len(lane.run(parents.format(left.head)).split()) == 1

    lane.run("echo both >a.txt")
    _, _, merged = lane.end()
    assert merged is not None
    assert len(lane.run(parents.format(merged.head)).split()) == 2


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
    assert (work.paths, work.commits_count) == (("b", "c"), 2)
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


class Output:
    """What a container wrote before it ended."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def output(self) -> Iterator[tuple[bool, bytes]]:
        return ((False, piece) for piece in self.pieces)


def concluded(lane: supervisor.Lane, base: str = "0" * 40) -> tuple[str, str]:
    result = lane._conclude(137, tasks.ResolvedTask(collect.Start(base), ""), 0.0, 0.0)
    return result["outcome"], result["detail"]


def test_a_lane_that_is_cut_off_has_forged_nothing_and_says_what_is_lost(tmp_path: Path) -> None:
    lane = supervised(tmp_path)
    lane.directory.mkdir()
    said = {"head": "0" * 40, "dirty_count": 0}
    lane._ended_by = "an operator"
    lane._read(Output(frame("checkpoint", **said), frame("result", **said)[:-1]))  # type: ignore[arg-type]
    (lane.directory / supervisor.BUNDLE).unlink()

    outcome_name, detail = concluded(lane)

    assert outcome_name == "interrupted"
    assert "what it did after its last checkpoint, at 20" in detail
    never = supervised(tmp_path)
    assert "before it handed anything over" in concluded(never)[1]


def test_what_is_wrong_with_a_hand_over_has_an_outcome_of_its_own(
    lane: Lane, tmp_path: Path
) -> None:
    def after(script: str, stream: bytes = b"") -> str:
        watched = supervised(tmp_path)
        shutil.rmtree(watched.directory, ignore_errors=True)
        watched.directory.mkdir()
        mirror = Path(watched.settings.mirror_dir, "demo.git")
        if not mirror.exists():
            shutil.copytree(lane.root / "mirror.git", mirror)
        lane.run(script)
        watched._read(Output(stream or lane.run("LANE_STATUS=0 lane-export result")))  # type: ignore[arg-type]
        return concluded(watched, lane.base)[0]

    assert after("true", b"LANE1 result 3000000000\n") == "too_large"
    assert after("true", b"all is well\n" * 10) == "forged"
    assert after("echo b >b; git add .; git commit -q --amend -m new") == "rewritten"
    # What git merely warns of.
    assert (
        after(
            "t=$(printf '040000 tree %s\\t.git\\n' $(git mktree </dev/null) | git mktree)"
            "; git reset -q --hard refs/host/base; git update-ref refs/heads/lane $(git commit-tree -p HEAD -m x $t)"
            "; git symbolic-ref HEAD refs/heads/lane"
        )
        == "broken"
    )


def test_a_frame_that_nobody_foresaw_breaks_the_result_and_not_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = supervised(tmp_path)

    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(frames, "_unpack", exhausted)
    lane._take(frames.Reader(1 << 20), frame("result"))

    assert lane._broken == "the result cannot be read: MemoryError"
