"""The module against a simulated GitHub: what it tells, what it proposes, and who sees the token."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from simulator import Simulator, contract, runners
from simulator.model import Pull, Repository
from simulator.runners import label_list

from ansible_collections.aina.factory.plugins.modules import workflow_policy

pytestmark = pytest.mark.slow
NAME = "ainative-academy/aina-academy"
POLICY = {
    "runs_on": {"labels": ["self-hosted", "vds", "linux"]},
    "pins": {"actions/checkout@v4": "0123456789abcdef0123456789abcdef01234567"},
    "required_checks": ["local launch-path checks"],
}
# A git that notes how it was called, and then is itself.
SHIM = '#!/bin/sh\nprintf \'%s\\n\' "$*" >>{log}\nexec {git} "$@"\n'


@pytest.fixture(scope="module")
def github() -> Iterator[Simulator]:
    with Simulator("workflows") as simulator:
        yield simulator
        assert contract.violations(simulator.dispatcher.recorder.everything) == []


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    git = shutil.which("git")
    assert git is not None
    place = tmp_path / "bin/git"
    place.parent.mkdir()
    place.write_text(SHIM.format(log=tmp_path / "calls", git=git))
    place.chmod(0o755)
    monkeypatch.setenv("PATH", str(place.parent), prepend=":")
    return tmp_path / "calls"


def run(
    github: Simulator,
    capsys: pytest.CaptureFixture[str],
    *,
    check: bool = False,
    login: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[dict[str, Any], str]:
    """Return the module's answer, and all that it printed."""
    addresses = github.addresses()
    arguments = {
        "repository": NAME,
        "policy": POLICY,
        "github": {
            "api_url": addresses["api_url"],
            "ca_file": addresses["ca_file"],
            "login": login or {"method": "token_file", "token_file": addresses["token_file"]},
        },
        "_ansible_check_mode": check,
        **changes,
    }
    capsys.readouterr()
    with patch_module_args(arguments), pytest.raises(SystemExit):
        workflow_policy.main()
    printed = capsys.readouterr()
    answer: dict[str, Any] = json.loads(printed.out)
    return answer, printed.out + printed.err


def repository(github: Simulator) -> Repository:
    found = github.world.repository(NAME)
    assert found is not None
    return found


def pulls(github: Simulator) -> list[Pull]:
    return repository(github).pulls


def test_a_look_shows_the_changed_lines_and_only_the_run_opens_one_pull_request(
    github: Simulator, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = repository(github).git.branch("main")

    told, _ = run(github, capsys, propose=False)
    planned, _ = run(github, capsys, check=True)
    assert pulls(github) == []
    done, printed = run(github, capsys)
    again, _ = run(github, capsys)

    answers = (told, planned, done, again)
    assert [answer["changed"] for answer in answers] == [False, True, True, False]
    assert planned["diff"] == done["diff"]
    assert [item["after_header"] for item in planned["diff"]] == [
        *("canon-guard.yml", "ci.yml", "pr-bot-review-watcher.yml"),
    ]
    assert "    runs-on: ubuntu-latest\n" in planned["diff"][1]["before"]
    assert "vars.CI_RUNS_ON" in planned["diff"][1]["after"]
    (pull,) = pulls(github)
    assert done["pull_request"]["number"] == again["pull_request"]["number"] == pull.number
    assert (pull.base, repository(github).git.branch("main")) == ("main", main)
    proposed = f"{pull.head_oid}:.github/workflows/ci.yml"
    assert "vars.CI_RUNS_ON" in repository(github).git.git("cat-file", "blob", proposed)
    assert "What stays, and why:" in pull.body
    assert "pnpm/action-setup@v4 is not pinned" in pull.body
    assert 'set it to `["self-hosted", "vds", "linux"]`' in pull.body
    pair = base64.b64encode(f"x-access-token:{github.token.value}".encode()).decode()
    for secret in (github.token.value, pair):
        assert secret not in printed + calls.read_text()


def test_without_a_file_the_operators_own_login_is_used(
    github: Simulator, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gh = calls.parent / "bin/gh"
    gh.write_text(f"#!/bin/sh\nprintf '%s\\n' \"gh $*\" >>{calls}\necho {github.token.value}\n")
    gh.chmod(0o755)

    answer, _ = run(github, capsys, login={"method": "gh"}, propose=False)

    assert [item["name"] for item in answer.get("workflows", ())]
    host = github.addresses()["host"]
    assert f"gh auth token --hostname {host}\n" in calls.read_text()


def test_a_public_repository_is_refused_unless_somebody_says_why(
    github: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "ainative-academy/open-source"

    refused, _ = run(github, capsys, repository=name, policy={})
    reason = {"public_allowed_because": "the runner is a throwaway machine"}
    allowed, _ = run(github, capsys, repository=name, policy=reason, check=True)

    assert refused["msg"].startswith(f"{name} is public: a pull request of anybody would run")
    assert allowed["changed"]


def test_the_variable_is_turned_on_and_off_and_tells_where_it_stands(
    github: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    found = repository(github)
    quiet: dict[str, Any] = {"propose": False}

    unset, _ = run(github, capsys, **quiet)
    refused, _ = run(github, capsys, switch="declared", **quiet)
    labels = label_list(["self-hosted", "vds", "Linux"])
    runner = runners.add(github.world, found.scope, "vds-1", labels)
    runner.status = "online"
    tried, _ = run(github, capsys, switch="declared", check=True, **quiet)
    assert found.variables == {}
    turned, _ = run(github, capsys, switch="declared", **quiet)
    again, _ = run(github, capsys, switch="declared", **quiet)
    assert found.variables == {"CI_RUNS_ON": '["self-hosted", "vds", "linux"]'}
    back, _ = run(github, capsys, switch="hosted", **quiet)

    assert unset["switch"]["position"] == "unset"
    assert (
        "no runner with the labels ['self-hosted', 'vds', 'linux'] is seen online" in refused["msg"]
    )
    assert [answer["changed"] for answer in (tried, turned, again, back)] == [
        True,
        True,
        False,
        True,
    ]
    assert turned["switch"]["position"] == "declared"
    assert "vds-1" in " ".join(turned["switch"]["lines"])
    assert (back["switch"]["position"], found.variables) == ("unset", {})
