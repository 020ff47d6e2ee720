"""Agent workspaces on real repositories: what is wrong is told exactly, and only one thing healed."""

from __future__ import annotations

import os
import pwd
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factory.core.watchdog import workspaces
from watchdog.conftest import Mount, Server, firing, needs_root
from watchdog.test_real_facts import git, repository


@pytest.fixture
def root() -> Iterator[Path]:
    # Not below pytest's own directories, which every run of it closes to other users.
    with tempfile.TemporaryDirectory(prefix="workspaces-") as directory:
        Path(directory).chmod(0o755)
        path = Path(directory, "workspaces")
        path.mkdir()
        yield path


def plain(root: Path) -> Path:
    path = root / "w"
    path.mkdir()
    (path / "notes.md").write_text("work")
    return path


def healthy(root: Path) -> Path:
    return repository(root / "w")


def packed(root: Path) -> Path:
    path = repository(root / "w")
    git("pack-refs", "--all", cwd=path)
    return path


def detached(root: Path) -> Path:
    path = repository(root / "w")
    git("checkout", "--quiet", "--detach", cwd=path)
    return path


def linked(root: Path) -> Path:
    main = repository(root.parent / "main")
    git("worktree", "add", "--quiet", str(root / "w"), cwd=main)
    return root / "w"


def dangling(root: Path) -> Path:
    path = linked(root)
    subprocess.run(["rm", "-rf", str(root.parent / "main")], check=True)
    return path


def unborn(root: Path) -> Path:
    path = root / "w"
    path.mkdir()
    git("init", "--quiet", cwd=path)
    return path


def symlink(root: Path) -> Path:
    target = repository(root.parent / "elsewhere")
    (root / "w").symlink_to(target)
    return root / "w"


def link_to_nowhere(root: Path) -> Path:
    (root / "w").symlink_to(root / "nowhere")
    return root / "w"


def git_symlink(root: Path) -> Path:
    main = repository(root.parent / "main")
    path = plain(root)
    (path / ".git").symlink_to(main / ".git")
    return path


def bare(root: Path) -> Path:
    path = root / "w"
    path.mkdir()
    git("init", "--quiet", "--bare", cwd=path)
    return path


def damaged(root: Path) -> Path:
    path = healthy(root)
    (path / ".git/HEAD").unlink()
    return path


def damaged_gitfile(root: Path) -> Path:
    path = plain(root)
    (path / ".git").write_text("nonsense")
    return path


def file(root: Path) -> Path:
    (root / "w").write_text("a file")
    return root / "w"


SITUATIONS: list[tuple[Callable[[Path], Path], str]] = [
    (plain, "missing_git_metadata"),
    (healthy, ""),
    (packed, ""),
    (detached, ""),
    (linked, ""),
    (dangling, "dangling_gitfile"),
    (unborn, "unborn_head"),
    (symlink, "symlink"),
    (link_to_nowhere, "symlink"),
    (git_symlink, "git_symlink"),
    (bare, "bare_repository"),
    (damaged, "damaged_repository"),
    (damaged_gitfile, "damaged_gitfile"),
    (file, "not_a_directory"),
]


def fingerprint(path: Path) -> list[tuple[str, Any]]:
    """Return everything below a path: names, types, contents, owners and times of change."""
    found = []
    for place in sorted([path, *path.rglob("*")]):
        status = os.lstat(place)
        content = place.read_bytes() if place.is_file() and not place.is_symlink() else None
        found.append((str(place), (status.st_mode, status.st_uid, status.st_ctime_ns, content)))
    return found


@pytest.mark.parametrize(
    ("make", "reason"), SITUATIONS, ids=[make.__name__ for make, _ in SITUATIONS]
)
def test_each_situation_has_its_exact_reason(
    root: Path, make: Callable[[Path], Path], reason: str
) -> None:
    path = make(root)

    found = workspaces.survey([str(root)])

    assert found.count == 1
    assert [(item.path, item.reason) for item in found.broken] == (
        [(str(path), reason)] if reason else []
    )


def test_a_folder_inside_a_repository_is_told_as_such(tmp_path: Path) -> None:
    root = repository(tmp_path / "outer") / "workspaces"
    root.mkdir()
    plain(root)

    assert [item.reason for item in workspaces.survey([str(root)]).broken] == ["inside_repository"]


@needs_root
def test_a_folder_of_somebody_else_is_told_as_such(root: Path) -> None:
    os.chown(plain(root), 1, 1)

    assert [item.reason for item in workspaces.survey([str(root)]).broken] == ["wrong_owner"]


@needs_root
def test_a_mount_point_is_told_as_such(tmp_path: Path, tmpfs: Mount) -> None:
    root = tmp_path / "workspaces"
    root.mkdir()
    tmpfs("workspaces/w", "size=1m")

    assert [item.reason for item in workspaces.survey([str(root)]).broken] == ["mount_point"]


def owned_by(name: str, path: Path) -> None:
    account = pwd.getpwnam(name)
    subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", str(path)], check=True)


def healing(server: Server, root: Path, **heal: Any) -> None:
    values = {"mode": "repair", "workspace_roots": [str(root)], "cooldown_minutes": 10}
    server.section["heal"] = {**values, **heal}


@needs_root
def test_a_plain_folder_becomes_a_repository_of_its_owner(server: Server, root: Path) -> None:
    path = plain(root)
    owned_by("daemon", root)
    healing(server, root)

    document = server.run()

    assert (document["heals"]["recent"][0]["result"], document["heals"]["recent"][0]["detail"]) == (
        "done",
        "",
    )
    assert document["workspaces"]["items"][0]["reasons"] == {}
    assert firing(document) == set()
    owners = {os.lstat(place).st_uid for place in [path, *path.rglob("*")]}
    assert owners == {pwd.getpwnam("daemon").pw_uid}
    assert (path / "notes.md").read_text() == "work"
    assert sorted(item.name for item in path.iterdir()) == [".git", "notes.md"]
    # What Paperclip's guard wants: a work tree whose HEAD can be branched from.
    argv = ["runuser", "-u", "daemon", "--", "git", "-C", str(path)]
    subprocess.run(
        [*argv, "worktree", "add", str(path / "x"), "HEAD"], check=True, capture_output=True
    )
    log = subprocess.run(
        [*argv, "log", "--format=%an %s"], check=True, capture_output=True, text=True
    )
    assert log.stdout == "factory-watchdog Make this workspace a repository\n"
    assert server.run()["heals"]["recent"][1:] == []


@needs_root
@pytest.mark.parametrize(
    ("make", "reason"),
    [item for item in SITUATIONS if item[1] not in ("", "missing_git_metadata")],
    ids=[
        make.__name__ for make, reason in SITUATIONS if reason not in ("", "missing_git_metadata")
    ],
)
def test_everything_else_is_never_touched_and_told(
    server: Server, root: Path, make: Callable[[Path], Path], reason: str
) -> None:
    make(root)
    before = fingerprint(root)
    healing(server, root)

    document = server.run(3)

    assert fingerprint(root) == before
    assert document["heals"]["recent"] == []
    assert firing(document) == {f"workspace:{reason}"}


@needs_root
def test_by_default_it_is_only_told(server: Server, root: Path) -> None:
    path = plain(root)
    server.section["heal"] = {"workspace_roots": [str(root)]}

    document = server.run(2)

    assert not (path / ".git").exists()
    assert document["heals"]["waiting"] == [
        {"action": "init_workspace", "target": str(path), "verdict": "report_only"}
    ]
    assert firing(document) == {"workspace:missing_git_metadata"}


@needs_root
def test_what_does_not_stay_repaired_is_given_up(server: Server, root: Path) -> None:
    path = plain(root)
    healing(server, root)

    for _ in range(5):
        document = server.run()
        subprocess.run(["rm", "-rf", str(path / ".git")], check=True)

    assert len(document["heals"]["recent"]) == 3
    assert document["heals"]["waiting"][0]["verdict"] == "circuit_open"
    assert f"healing:init_workspace:{path}" in firing(document)
    assert not (path / ".git").exists()


@needs_root
def test_a_repair_that_fails_leaves_the_folder_as_it_was(server: Server, root: Path) -> None:
    path = plain(root)
    owned_by("daemon", root)
    os.chown(path, pwd.getpwnam("daemon").pw_uid, 0)
    path.chmod(0o500)
    before = fingerprint(path)
    healing(server, root)

    document = server.run()

    assert document["heals"]["recent"][0]["result"] == "failed"
    assert "Permission denied" in document["heals"]["recent"][0]["detail"]
    assert fingerprint(path) == before


def test_nothing_is_read_through_what_an_agent_put_in_gits_place(
    root: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")
    main = repository(root.parent / "main")
    git("worktree", "add", "--quiet", str(root / "w"), cwd=main)
    gitdir = main / ".git/worktrees/w/gitdir"
    gitdir.unlink()
    gitdir.symlink_to(secret)
    os.mkfifo(main / ".git/worktrees/w/pipe")
    (main / ".git/worktrees/w/pipe").rename(main / ".git/worktrees/w/HEAD")

    surveyed = workspaces.survey_worktrees([str(main)])

    assert surveyed.dangling == (str(gitdir),)
    # A pipe is neither waited for nor taken for a head.
    assert [found.reason for found in workspaces.survey([str(root)]).broken] == [
        "unreadable_it_is_no_plain_file"
    ]
