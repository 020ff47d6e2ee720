"""What the server finds when it looks at itself, and whose word it takes for a change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent

STATE = "/var/lib/aina-factory/drift.json"
JOURNAL = "/etc/systemd/journald.conf.d/60-aina-factory.conf"
GIT = "git -C /srv/declaration"


def look(host: Any) -> dict[str, Any]:
    done = host.run("factory drift --json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert (done.rc == 0) == (document["error"] == "")
    written = json.loads(host.check_output(f"cat {STATE}"))
    assert written == document
    return document


def apply(host: Any) -> tuple[int, dict[str, Any]]:
    done = host.run("factory drift --converge --json")
    return done.rc, json.loads(done.stdout)


def sign(host: Any, tag: str, key: str, commit: str = "main") -> None:
    host.check_output(
        f"{GIT} -c gpg.format=ssh -c user.signingkey=/srv/{key} tag --sign --message=x converge/{tag} {commit}"
    )


def declare(host: Any, mib: int) -> None:
    host.check_output(
        f"cd /srv/declaration && sed -i '/journal_max_use/d' inventory/self/hosts.yml && "
        f"echo '    host_baseline_journal_max_use_mib: {mib}' >>inventory/self/hosts.yml && "
        f"git commit --quiet --all --message='Journal of {mib} MiB'"
    )


@pytest.mark.deep
def test_a_server_that_is_as_declared_has_no_drift(host: Any) -> None:
    document = look(host)

    assert (document["error"], document["changes"]) == ("", [])
    assert document["commit"] == host.check_output(f"{GIT} rev-parse main")


def test_what_somebody_changed_by_hand_is_found_by_the_ansible_that_is_pinned(host: Any) -> None:
    host.check_output(f"echo '# by hand' >>{JOURNAL}")

    document = look(host)

    (item,) = document["changes"]
    assert JOURNAL in item["what"]
    assert host.file(JOURNAL).contains("by hand"), "a look changes nothing"


@pytest.mark.deep
def test_a_look_that_fails_is_no_clean_bill(host: Any) -> None:
    before = look(host)
    host.check_output("mv /srv/declaration /srv/away")

    document = look(host)
    host.check_output("mv /srv/away /srv/declaration")

    assert "git fetch" in document["error"]
    assert document["changes"] == before["changes"]


@pytest.mark.deep
def test_only_a_signed_step_forward_is_applied(host: Any) -> None:
    declare(host, 333)
    host.check_output(f"{GIT} tag converge/1-unsigned main")
    code, answer = apply(host)
    assert code == 1 and "is not signed by anybody" in answer["error"]
    # A look is code of the repository as well.
    assert "is not signed by anybody" in look(host)["error"]

    sign(host, "2-stranger", "stranger")
    code, answer = apply(host)
    assert code == 1 and "is not signed by anybody" in answer["error"]
    assert not host.file(JOURNAL).contains("SystemMaxUse=333M")

    sign(host, "3-ali", "ali")
    code, answer = apply(host)
    assert (code, answer["tag"], answer["changed"]) == (0, "converge/3-ali", True), answer
    assert host.file(JOURNAL).contains("SystemMaxUse=333M")
    assert not host.file(JOURNAL).contains("by hand")
    assert look(host)["changes"] == []
    assert apply(host)[1]["changed"] is False


@pytest.mark.deep
@pytest.mark.parametrize("way", ["beside", "back"])
def test_a_signed_commit_that_leads_elsewhere_is_refused(host: Any, way: str) -> None:
    if way == "beside":
        host.check_output(
            f"{GIT} checkout --quiet -b aside && {GIT} commit --quiet --allow-empty --message=aside && "
            f"{GIT} checkout --quiet main"
        )
    sign(host, f"4-{way}", "ali", "aside" if way == "beside" else "main~1")

    code, answer = apply(host)
    host.check_output(f"{GIT} tag --delete converge/4-{way}")

    assert code == 1
    assert ("is not on the branch" if way == "beside" else "does not contain") in answer["error"]


def test_absence_takes_everything_back(host: Any) -> None:
    host.run("factory drift")
    assert host.file("/var/lib/aina-factory/checkout").exists
    assert converge(SCENARIO, drift_state="absent").returncode == 0

    assert host.run("factory drift").rc == 2
    assert not host.package("python3-venv").is_installed
    assert not host.file("/var/lib/aina-factory/checkout").exists
    assert host.package("git").is_installed
    assert converge(SCENARIO, drift_state="absent").changed == []
