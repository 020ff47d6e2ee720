"""``factory drift`` with a real repository and real signatures; the Ansible that it pins is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from factory import __main__
from factory.commands import drift
from factory.core.base import times
from factory.outcome import Exit

SETUP = '#!/bin/sh\necho setup >>"$SERVER/calls"\nmkdir -p .venv/bin\ncp play .venv/bin/ansible-playbook\n'
# Says what differs of the server; a run that is no look brings the server to what is declared.
PLAY = """#!/bin/sh
echo "$@" >>"$SERVER/calls"
check=false
case " $* " in *" --check "*) check=true ;; esac
printf '{"check_mode": %s, "changes": [%s]}' $check "$(cat "$SERVER/differs")" >"$AINA_RECAP_FILE"
$check || cp declared "$SERVER/applied"
"""
CHANGE = '{"task": "configure", "what": ["/etc/x"]}'


class Server:
    """A server, the repository that declares it, and people with keys."""

    def __init__(self, root: Path) -> None:
        self.root, self.origin = root, root / "declaration"
        (root / "differs").touch()
        (root / "calls").touch()
        for name in ("ali", "stranger"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", root / name]
            subprocess.run(key, check=True)
        self.origin.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        for name, text in (("script/setup", SETUP), ("play", PLAY)):
            path = self.origin / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        self.declare("first")
        self.signers = root / "signers"
        self.section: dict[str, Any] = {
            "repository": str(self.origin),
            "inventory": "inventory/production",
            "host": "vds",
            "checkout_path": str(root / "checkout"),
            "environment": {"SERVER": str(root)},
        }

    def git(self, *words: str) -> str:
        identity = {f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER")
                    for what in ("NAME", "EMAIL")}  # fmt: skip
        done = subprocess.run(
            ["git", "-C", self.origin, *words],
            env={**os.environ, **identity},
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def declare(self, text: str) -> None:
        (self.origin / "declared").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", text)

    def sign(self, tag: str, who: str = "ali", commit: str = "main") -> None:
        options = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.root / who}"]
        self.git(*options, "tag", "--sign", "--message=x", f"converge/{tag}", commit)

    def let_ali_sign(self) -> None:
        public = (self.root / "ali.pub").read_text().split()
        self.signers.write_text(f'ali@example.com namespaces="git" {public[0]} {public[1]}\n')
        self.section["signers_path"] = str(self.signers)

    def factory(self, *words: str) -> tuple[int, dict[str, Any]]:
        config = self.root / "factory.json"
        locks = {"directory": str(self.root / "locks")}
        config.write_text(json.dumps({"drift": self.section, "locks": locks}))
        done = __main__.main(["drift", *words, "--config", str(config)])
        state = self.root / ("converged.json" if words else "drift.json")
        return done, json.loads(state.read_text()) if state.exists() else {}

    def calls(self) -> list[str]:
        return (self.root / "calls").read_text().splitlines()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(drift, "STATE", tmp_path / "drift.json")
    monkeypatch.setattr(drift, "APPLIED", tmp_path / "converged.json")
    return Server(tmp_path)


def test_a_look_is_a_check_run_of_the_branch_on_the_server_alone(server: Server) -> None:
    code, found = server.factory()

    assert (code, found["error"], found["changes"]) == (Exit.DONE, "", [])
    assert found["commit"] == server.git("rev-parse", "main")
    assert server.calls() == [
        "setup",
        "--inventory inventory/production --limit vds --connection local --check --diff playbooks/site.yml",
    ]


def test_what_differs_is_named_with_the_time_it_was_first_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server.root / "differs").write_text(CHANGE)
    monkeypatch.setattr(times, "iso", lambda _at: "2026-01-01T00:00:00Z")
    server.factory()
    (server.root / "checkout/stray").touch()
    monkeypatch.setattr(times, "iso", lambda _at: "2026-01-02T00:00:00Z")

    _code, found = server.factory()

    assert found["checked_at"] == "2026-01-02T00:00:00Z"
    assert found["changes"] == [{"what": "configure: /etc/x", "since": "2026-01-01T00:00:00Z"}]
    # What is not of the repository is in nobody's way.
    assert not (server.root / "checkout/stray").exists()


def test_a_look_that_fails_is_no_clean_bill(server: Server) -> None:
    (server.root / "differs").write_text(CHANGE)
    _code, before = server.factory()
    server.origin.rename(server.root / "away")

    code, found = server.factory()

    assert code == Exit.FAILED
    assert "git fetch" in found["error"]
    assert found["changes"] == before["changes"]


def test_a_run_that_was_no_look_proves_nothing(server: Server) -> None:
    (server.origin / "play").write_text(PLAY.replace("check=true", "check=false"))
    server.declare("another play")

    code, found = server.factory()

    assert (code, "left no recap" in found["error"]) == (Exit.FAILED, True)


def test_whoever_can_only_push_reaches_nothing_on_a_server_with_signers(server: Server) -> None:
    server.let_ali_sign()
    server.git("tag", "converge/1-unsigned", "main")
    server.sign("2-stranger", "stranger")

    for words in ((), ("--converge",)):
        code, _found = server.factory(*words)
        assert code == Exit.FAILED

    assert (
        "is not signed by anybody" in json.loads((server.root / "drift.json").read_text())["error"]
    )
    assert server.calls() == []


def test_the_newest_signed_tag_is_applied_once(server: Server) -> None:
    server.let_ali_sign()
    server.sign("1")
    server.declare("second")
    server.sign("2")

    code, done = server.factory("--converge")
    again, _done = server.factory("--converge")

    assert (code, again, done["tag"]) == (Exit.DONE, Exit.DONE, "converge/2")
    assert (server.root / "applied").read_text() == "second"
    assert len(server.calls()) == 2
    assert "--check" not in server.calls()[1]


@pytest.mark.parametrize(
    ("way", "words"), [("aside", "is not on the branch"), ("main~1", "does not contain")]
)
def test_a_signed_commit_that_leads_elsewhere_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str], way: str, words: str
) -> None:
    server.let_ali_sign()
    server.declare("second")
    server.sign("1")
    server.factory("--converge")
    server.git("checkout", "--quiet", "-b", "aside")
    server.declare("aside")
    server.git("checkout", "--quiet", "main")
    server.sign("2", commit=way)

    code, done = server.factory("--converge")

    assert (code, done["tag"]) == (Exit.FAILED, "converge/1")
    assert words in "".join(capsys.readouterr())


def test_nobody_applies_by_tag_where_nobody_is_declared(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.sign("1")

    code, _done = server.factory("--converge")

    assert (code, server.calls()) == (Exit.FAILED, [])
    assert "nobody may sign what is applied" in "".join(capsys.readouterr())
