"""What GitHub holds afterwards: one pull request, and a default branch that nobody touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

API = "https://github.workflow-policy/api/v3"
NAME = "ainative-academy/aina-academy"
ASK = r"""
import json, sys, urllib.request
token = open("/etc/aina-factory/secrets/operator-token").read().strip()
body = sys.argv[3].encode() if len(sys.argv) > 3 else None
request = urllib.request.Request(sys.argv[2], body, {"Authorization": "Bearer " + token}, method=sys.argv[1])
print(urllib.request.urlopen(request).read().decode())
"""


def ask(host: Any, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    words = [method, f"{API}/repos/{NAME}{path}", *([json.dumps(body)] if body else [])]
    return json.loads(host.check_output("python3 -c %s" + " %s" * len(words), ASK, *words))


def test_one_pull_request_holds_the_changes_and_the_default_branch_none(host: Any) -> None:
    (pull,) = ask(host, "GET", "/pulls?state=open")
    files = {item["filename"]: item for item in ask(host, "GET", f"/pulls/{pull['number']}/files")}

    assert pull["base"]["ref"] == "main"
    assert sorted(files) == [
        f".github/workflows/{name}.yml" for name in ("canon-guard", "ci", "pr-bot-review-watcher")
    ]
    assert all(item["status"] == "modified" for item in files.values())
    assert "CI_RUNS_ON" in pull["body"] and "pnpm/action-setup@v4 is not pinned" in pull["body"]
    commits = ask(host, "GET", "/commits?sha=main")
    assert [item["commit"]["message"] for item in commits] == ["Begin"]


@pytest.mark.deep
def test_what_changes_meanwhile_is_taken_up_in_the_same_pull_request(host: Any) -> None:
    (before,) = ask(host, "GET", "/pulls?state=open")
    limits = {"default": 25}
    project = {
        "name": "aina-academy",
        "repository": NAME,
        "workflows": {"timeout_minutes": limits, "required_checks": ["local launch-path checks"]},
    }

    assert converge(SCENARIO, factory_projects=[project]).returncode == 0
    (after,) = ask(host, "GET", "/pulls?state=open")

    assert after["number"] == before["number"]
    assert after["head"]["sha"] != before["head"]["sha"]
    assert converge(SCENARIO, factory_projects=[project]).changed == []


@pytest.mark.deep
def test_a_public_repository_is_refused_unless_somebody_says_why(host: Any) -> None:
    project: dict[str, Any] = {
        "name": "open",
        "repository": "ainative-academy/open-source",
        "workflows": {},
    }

    run = converge(SCENARIO, factory_projects=[project])

    assert run.returncode != 0
    assert "ainative-academy/open-source is public" in " ".join(run.output.split())
    project["workflows"] = {"public_allowed_because": "the runner is a throwaway machine"}
    assert converge(SCENARIO, "--check", factory_projects=[project]).returncode == 0


@pytest.mark.deep
def test_the_token_is_shown_nowhere(host: Any) -> None:
    token = host.check_output("cat /etc/aina-factory/secrets/operator-token")

    run = converge(SCENARIO, "-vvv")

    assert token not in run.output
    assert token not in host.check_output("journalctl --boot --output=cat")
