"""Whatever state a host is in: nobody is locked out by a converge, or by leaving."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import ways_in_states
from behaviour import converge
from sampling import draw

HERE = Path(__file__).parent
PROGRAM = HERE / "ways_in.py"
STATES = [ways_in_states.state(number) for number in range(ways_in_states.COUNT)]


def packed(text: str) -> str:
    """Return a text as one word that is short enough for a command."""
    return base64.b64encode(gzip.compress(text.encode())).decode()


@pytest.fixture(scope="module")
def reports(host: Any) -> dict[str, dict[str, Any]]:
    """Try the drawn states on the host, each with a real client, server and firewall."""
    drawn = draw("states of the ways in", STATES)
    host.check_output(
        "echo %s | base64 --decode | gunzip >/root/ways_in.py", packed(PROGRAM.read_text())
    )
    asked = packed("".join(f"{json.dumps(item)}\n" for item in drawn))
    done = host.run("echo %s | base64 --decode | gunzip | python3 /root/ways_in.py", asked)
    host.check_output("rm /root/ways_in.py")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(drawn), done.stderr
    # What the states have moved is in place again for whoever comes after.
    assert converge(HERE).returncode == 0
    return {report["name"]: report for report in found}


def test_nobody_is_locked_out_whatever_the_state_of_the_host(
    reports: dict[str, dict[str, Any]],
) -> None:
    """Refused, confirmed by a new login, or taken back: people get in, and others' things stay."""
    assert [report for report in reports.values() if "problem" in report] == []
