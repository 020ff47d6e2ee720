from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from behaviour import converge

SCENARIO = Path(__file__).parent

LIBRARY = "/usr/local/lib/aina-factory"
CONFIGURATION = "/etc/aina-factory/factory.json"


def test_the_command_judges_its_own_configuration(host: Any) -> None:
    answer = json.loads(host.check_output("factory validate --json"))

    assert answer["schema"] == 1
    assert {"projects", "github", "agents"} <= set(answer["sections"])

    wrong = json.dumps({"reap": {"grace_seconds": "soon"}})
    host.check_output("mkdir -p /tmp/wrong && printf %%s %s >/tmp/wrong/factory.json", wrong)
    refused = host.run("factory validate --config /tmp/wrong/factory.json")
    assert refused.rc == 2
    assert "reap.grace_seconds is 'soon'; it must be a number" in refused.stderr


def test_wrong_usage_is_told_apart_from_failure(host: Any) -> None:
    assert host.run("factory validate --config /nonexistent").rc == 2
    assert host.run("factory no-such-command").rc == 2
    # The declared checkout does not exist on this host: something failed, and the answer says what.
    failed = host.run("factory reap --dry-run --json")
    assert failed.rc == 1
    assert "/srv/repos/example" in json.loads(failed.stdout)["repositories"][0]["failures"][0]


def test_the_server_needs_nothing_beside_the_standard_library(host: Any) -> None:
    assert host.run("/usr/bin/python3 -I -S /usr/local/bin/factory validate").succeeded


def test_a_refused_configuration_never_replaces_a_good_one(host: Any) -> None:
    before = host.file(CONFIGURATION).content_string

    refused = converge(SCENARIO, factory_github={"api_ulr": "x"})

    assert refused.returncode != 0
    assert "configuration.github.api_ulr is not known; did you mean api_url?" in refused.output
    assert host.file(CONFIGURATION).content_string == before
    assert host.run("factory validate").succeeded


def test_what_no_version_of_ours_installed_is_removed(host: Any) -> None:
    host.check_output(f"touch {LIBRARY}/factory/commands/stale.py")

    again = converge(SCENARIO)

    assert again.changed == [f"{LIBRARY}/factory/commands/stale.py"]
    assert not host.file(f"{LIBRARY}/factory/commands/stale.py").exists


def test_absent_leaves_nothing_but_data(host: Any) -> None:
    data = "/var/lib/aina-factory"
    host.check_output(f"mkdir -p {data} && touch {data}/status.json {data}/draining.json")

    gone = converge(SCENARIO, factory_command_state="absent")

    assert gone.returncode == 0
    for path in ("/usr/local/bin/factory", LIBRARY, CONFIGURATION):
        assert not host.file(path).exists
    assert host.file(f"{data}/status.json").exists
    assert not host.file(f"{data}/draining.json").exists
    assert converge(SCENARIO, factory_command_state="absent").changed == []
