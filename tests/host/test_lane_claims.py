"""One lane works on an issue, of however many servers: what is claimed at GitHub, by git itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agents
import pytest

from factory import effects
from factory.core.base.configuration import Section
from factory.core.base.github.errors import RefusedError
from factory.core.base.ports import Completed
from factory.core.base.settings import read
from factory.core.lanes import claims, forge
from factory.core.lanes.claims import Claim, Claims
from factory.core.lanes.collect import CollectError, LaneMirror
from factory.core.lanes.dispatch import ObservedProject
from factory.core.lanes.settings import LanesSettings
from factory.lanes import claiming, delivery, dispatching

NOW = 1_000_000.0
LANE, OTHER = "demo-7-0a1b2c3d", "demo-7-99999999"


@dataclass
class Hub:
    """A repository at GitHub, and the servers that work on its issues."""

    root: Path

    def git(self, *words: str) -> str:
        argv = ["git", "-C", str(self.root / "hub.git"), *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def server(self, name: str, run: Any = effects.run) -> Claims:
        mirror = LaneMirror(run, self.root / f"{name}.git", str(self.root / "hub.git"))
        mirror.ensure()
        return Claims(mirror)

    def refs(self) -> list[str]:
        return self.git("for-each-ref", "--format=%(refname)").split()


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    subprocess.run(["git", "init", "--bare", "--quiet", str(tmp_path / "hub.git")], check=True)
    return Hub(tmp_path)


def claim(host: str, lane: str = LANE, until: float = NOW + 60, **more: Any) -> Claim:
    return Claim(host, lane, until=until, **more)


def test_of_many_servers_at_once_one_has_the_issue(hub: Hub) -> None:
    servers = {f"s{number}": hub.server(f"s{number}") for number in range(6)}

    def ask(name: str) -> str:
        try:
            return servers[name].take(7, claim(name), NOW).host
        except claims.ClaimedError as error:
            return str(error)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, servers))

    (winner,) = [answer for answer in answers if answer in servers]
    refused = [answer for answer in answers if answer not in servers]
    words = f"#7: lane {LANE} of the server {winner} works on it (running)"
    assert refused == [words] * 5
    # No branch of the repository says so, and another issue is another claim.
    assert hub.refs() == ["refs/factory/lanes/7"]
    assert servers["s0"].take(8, claim("s0"), NOW).host == "s0"
    assert set(servers["s1"].all()) == {7, 8}


def test_a_claim_runs_out_and_a_server_has_its_own_again(hub: Hub) -> None:
    one, two = hub.server("one"), hub.server("two")
    first = one.take(7, claim("one"), NOW)
    # A lane of the same server goes on where one has died.
    again = one.take(7, claim("one", OTHER), NOW)
    assert (again.lane, again.commit != first.commit) == (OTHER, True)
    with pytest.raises(claims.ClaimedError):
        two.take(7, claim("two"), NOW + 59)
    taken = two.take(7, claim("two", until=NOW + 999), NOW + 61)
    # The first one is back from a long sleep: what it knows is not true any more.
    with pytest.raises(claims.ClaimedError, match="of the server two works on it"):
        one.record(7, again, NOW + 62, state=claims.ENDED)
    one.release(7, again)
    assert two.of(7) == taken
    two.release(7, taken)
    assert hub.refs() == []


def test_what_became_of_a_lane_is_known_to_all_servers(hub: Hub) -> None:
    one, two = hub.server("one"), hub.server("two")
    for number in (1, 2):
        held = one.take(7, claim("one"), NOW)
        assert held.attempts_count == number - 1
        claiming.ended(lambda: one.mirror, 7, held, "budget", is_attempt=True)
    found = two.all()[7]
    assert (found.state, found.outcome, found.attempts_count) == ("ended", "budget", 2)
    assert two.take(7, claim("two"), NOW).attempts_count == 2


def test_a_push_that_was_carried_out_and_not_answered_counts(hub: Hub) -> None:
    def unanswered(argv: Sequence[str], **options: Any) -> Completed:
        done = effects.run(argv, **options)
        return Completed(1, b"", b"the remote end hung up") if "push" in argv else done

    lossy = hub.server("lossy", unanswered)
    assert lossy.take(7, claim("lossy"), NOW).commit == hub.git("rev-parse", "refs/factory/lanes/7")

    def dead(argv: Sequence[str], **options: Any) -> Completed:
        return Completed(1, b"", b"no route") if "push" in argv else effects.run(argv, **options)

    with pytest.raises(CollectError, match="claim on #8: no route"):
        hub.server("dead", dead).take(8, claim("dead"), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "no claim at all",
        "[" * 3000,
        json.dumps({"host": "x", "state": "running", "until": 1e300}),
        json.dumps({"host": "x", "state": "running", "until": "soon"}),
        '{"host": "x", "state": "running", "until": NaN}',
    ],
)
def test_what_is_no_claim_holds_nobody_up(text: str, hub: Hub) -> None:
    one = hub.server("one")
    tree = one.mirror.text("mktree")
    commit = one.mirror.text(
        "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", text, tree
    )
    one.mirror.out("push", "--quiet", one.mirror.url, f"{commit}:refs/factory/lanes/7")
    assert one.take(7, claim("one"), NOW).host == "one"


def test_a_terminal_obeys_nothing_of_a_claim(hub: Hub) -> None:
    one = hub.server("one")
    one.take(7, claim("\x1b[2Jevil" * 99, "\u202elane"), NOW)
    with pytest.raises(claims.ClaimedError) as caught:
        hub.server("two").take(7, claim("two"), NOW)
    assert not {"\x1b", "\u202e"} & set(str(caught.value))
    assert len(str(caught.value)) < 400


# --- Delivering and dispatching ----------------------------------------------------------


class Proposals(forge.LaneForge):
    def __init__(self, *branches: str) -> None:
        self.branches, self.opened = branches, 0

    def open_branches(self) -> list[str]:
        return list(self.branches)

    def open_pull_request(self, *_: object, **__: object) -> forge.OpenedPull:
        self.opened += 1
        return forge.OpenedPull(12, "u")


@pytest.fixture
def settings() -> LanesSettings:
    section = {"agents": agents.shipped(), "projects": [{"name": "demo", "repository": "a/b"}]}
    return read(LanesSettings, Section(section, "lanes"))


def delivered(
    settings: LanesSettings, hub: Hub, found: Proposals, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    here = hub.server("here").mirror
    monkeypatch.setattr(LaneMirror, "guarded", lambda *_: ("0" * 40, []))
    monkeypatch.setattr(LaneMirror, "push", lambda *_: None)
    monkeypatch.setattr(delivery, "repository", lambda *_, **__: here)
    result: dict[str, Any] = {"lane": LANE, "issue": 7, "base": "0" * 40, "outcome": "changed"}
    result |= {"agent": "codex", "model": "m", "summary": "", "requests_count": 1, "tokens": 1}
    result |= {"duration_seconds": 1}
    delivery.deliver(settings, settings.lane_projects[0], found, "", result)
    return result


def test_what_another_server_took_over_is_not_delivered_twice(
    settings: LanesSettings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, found = hub.server("other"), Proposals()
    held = other.take(7, claim("other", OTHER, until=1e11), NOW)
    with pytest.raises(claims.ClaimedError, match=f"lane {OTHER} of the server other"):
        delivered(settings, hub, found, monkeypatch)
    other.release(7, held)
    # It has delivered meanwhile, and its pull request is open.
    found.branches = ("lane/7-99999999",)
    with pytest.raises(RefusedError, match="lane/7-99999999 is the open pull request for #7"):
        delivered(settings, hub, found, monkeypatch)
    assert found.opened == 0
    # Its own, of a try that was not answered.
    found.branches = ("lane/7-0a1b2c3d",)
    assert delivered(settings, hub, found, monkeypatch)["delivery"] == "done"
    assert (found.opened, hub.refs()) == (1, [])


def test_a_dispatch_leaves_alone_what_another_server_works_on(
    settings: LanesSettings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = hub.server("other")
    other.take(7, claim("other", until=1e11), NOW)
    tried = other.take(8, claim("other", attempts_count=2), NOW)
    claiming.ended(lambda: other.mirror, 8, tried, "oom", is_attempt=True)
    here = hub.server("here").mirror
    monkeypatch.setattr(delivery, "repository", lambda *_, **__: here)
    project = settings.lane_projects[0]

    found = dispatching.claims_of(settings, project, "")
    seen = dispatching._with_claims(ObservedProject(project, [], set(), {}), found)

    assert seen.elsewhere == {7: f"lane {LANE} of the server other works on it (running)"}
    assert seen.attempts == {7: 0, 8: 3}
