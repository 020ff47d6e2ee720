from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.github import release
from factory.core.base.github.release import Release, ReleaseError
from factory.core.base.ports import Completed, Request, Response

DAY = 86400.0
LINUX = "linux-x64"


def archive(*names: str) -> bytes:
    """A tarball with these files, made by somebody else, writable by all."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.mode, entry.uid, entry.gid = 0o777, 4711, 4711
            tar.addfile(entry, io.BytesIO())
    return buffer.getvalue()


RUNNER = archive("bin/Runner.Listener")


def document(version: str, day: int = 1, digest: str | None = "", **more: Any) -> dict[str, Any]:
    stated = "sha256:" + hashlib.sha256(RUNNER).hexdigest() if digest == "" else digest
    names = [f"actions-runner-{LINUX}-{version}.tar.gz", f"actions-runner-osx-x64-{version}.tar.gz"]
    return {
        "tag_name": f"v{version}",
        "published_at": f"2026-01-{day:02}T00:00:00Z",
        "assets": [
            {"name": name, "digest": stated, "browser_download_url": f"https://example.com/{name}"}
            for name in names
        ],
        **more,
    }


def served(content: bytes) -> Any:
    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        assert "Authorization" not in request.headers
        if request.url.startswith("https://example.com/"):
            return Response(302, {"location": "https://files.example.com/x?signature=secret"}, b"")
        return Response(200, {}, content)

    return fetch


def real(argv: Sequence[str | bytes], **_: Any) -> Completed:
    done = subprocess.run(list(argv), capture_output=True, check=False)
    return Completed(done.returncode, done.stdout, done.stderr)


def one(version: str = "2.330.0", **more: Any) -> Release:
    return release.parse([document(version, **more)], LINUX)[0]


def test_the_newest_published_version_is_the_latest_whatever_the_order() -> None:
    listed = [
        document("2.330.0"),
        document("2.331.0", prerelease=True),
        document("2.332.0", draft=True),
        document("2.329.0"),
        document("2.330.1"),
        {"tag_name": "nightly", "assets": []},
    ]

    found = release.recent(lambda path: listed, LINUX)

    assert [item.version for item in found] == ["2.330.1", "2.330.0", "2.329.0"]
    assert release.choose(found, "latest", lambda path: None, LINUX).version == "2.330.1"


def test_an_older_pin_is_asked_for_by_its_tag() -> None:
    asked: list[str] = []

    def ask(path: str) -> Any:
        asked.append(path)
        return document("2.329.1")

    found = release.choose(release.parse([document("2.330.0")], LINUX), "2.329.1", ask, LINUX)

    assert found.version == "2.329.1"
    assert asked == ["/repos/actions/runner/releases/tags/v2.329.1"]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [("2.328.0", "2.329.0 and newer"), ("v2.330.0", "is no version"), ("newest", "is no version")],
)
def test_a_pin_that_cannot_work_is_refused(wanted: str, words: str) -> None:
    with pytest.raises(ReleaseError, match=words):
        release.choose([], wanted, lambda path: None, LINUX)


@pytest.mark.parametrize(
    "answer", [[], None, {"message": "Not Found"}, [{"tag_name": "v2.330.0", "assets": [{}]}]]
)
def test_an_answer_that_lists_nothing_is_an_error_and_not_an_old_version(answer: Any) -> None:
    with pytest.raises(ReleaseError):
        release.recent(lambda path: answer, LINUX)


def test_a_missing_digest_says_what_to_set_and_a_pin_takes_its_place() -> None:
    without = one(digest=None)
    assert without.sha256 == ""

    with pytest.raises(ReleaseError, match="set the_setting to it"):
        release.pinned(without, "", "the_setting")

    assert release.pinned(without, "AB" * 32, "the_setting").sha256 == "ab" * 32


def test_a_pin_that_contradicts_github_is_refused() -> None:
    with pytest.raises(ReleaseError, match="correct or remove it"):
        release.pinned(one(), "0" * 64, "the_setting")


def test_a_version_ages_from_the_first_newer_release_on() -> None:
    listed = release.parse(
        [document("2.330.0", 1), document("2.331.0", 5), document("2.332.0", 25)], LINUX
    )
    now = listed[0].published_at + 3 * DAY

    ages = [
        release.outdated_days(v, listed, now) for v in ("2.332.0", "2.331.0", "2.330.0", "2.333.0")
    ]

    assert ages == [0, 3, 23, 0]


def test_a_tarball_is_downloaded_once_and_verified_each_time(tmp_path: Path) -> None:
    path = release.tarball(one(), tmp_path / "cache", served(RUNNER))
    assert path.read_bytes() == RUNNER

    def nobody(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        raise AssertionError("downloaded again")

    assert release.tarball(one(), tmp_path / "cache", nobody) == path
    path.write_bytes(RUNNER[:-1] + b"x")
    assert release.tarball(one(), tmp_path / "cache", served(RUNNER)).read_bytes() == RUNNER


def test_one_flipped_byte_is_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    flipped = bytes([*RUNNER[:40], RUNNER[40] ^ 1, *RUNNER[41:]])

    with pytest.raises(ReleaseError, match="is refused: its SHA-256"):
        release.tarball(one(), tmp_path, served(flipped))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (404, {}, "answered 404"),
        (302, {"location": "http://files.example.com/x"}, "only https"),
        (302, {"location": "https://example.com/again?signature=secret"}, "redirects"),
    ],
)
def test_a_download_that_leads_nowhere_is_an_error_without_the_signature(
    tmp_path: Path, status: int, headers: dict[str, str], words: str
) -> None:
    with pytest.raises(ReleaseError, match=words) as caught:
        release.tarball(one(), tmp_path, lambda request, **_: Response(status, headers, b""))

    assert "secret" not in str(caught.value)


def test_a_tree_belongs_to_its_maker_and_nobody_else_can_write_into_it(tmp_path: Path) -> None:
    path = release.tarball(one(), tmp_path, served(RUNNER))

    tree = release.unpack(one(), path, tmp_path / "versions", real)

    status = (tree / "bin/Runner.Listener").stat()
    assert status.st_mode & 0o777 == 0o755
    assert status.st_uid == tmp_path.stat().st_uid
    assert tree.name == "2.330.0"


def test_what_a_killed_run_left_of_a_tree_is_replaced(tmp_path: Path) -> None:
    path = release.tarball(one(), tmp_path, served(RUNNER))
    partial = tmp_path / "versions/.2.330.0.partial"
    partial.mkdir(parents=True)
    (partial / "stale").touch()

    tree = release.unpack(one(), path, tmp_path / "versions", real)

    assert sorted(entry.name for entry in tree.iterdir()) == ["bin"]
    assert not partial.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no archive", "tar ended"), (archive("README"), "holds no bin")],
    ids=["no archive", "no runner"],
)
def test_what_is_no_runner_never_gets_its_name(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)

    with pytest.raises(ReleaseError, match=words):
        release.unpack(one(), path, tmp_path / "versions", real)

    assert not (tmp_path / "versions/2.330.0").exists()


def test_machines_without_a_release_are_named() -> None:
    assert release.platform_of("x86_64") == "linux-x64"
    with pytest.raises(ReleaseError, match="riscv64"):
        release.platform_of("riscv64")
