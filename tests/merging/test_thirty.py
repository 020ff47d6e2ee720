"""The owner's thirty: red for want of CI, and then CI works. Minutes are simulated ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from simulator import Simulator
from simulator.model import Repository

from factory import effects
from factory.core.base.github.settings import GitHub, Login
from factory.core.base.ports import Effects
from factory.core.marshal import assembly
from factory.core.marshal.settings import (
    Duplicates,
    MarshalSettings,
    MergePolicy,
    MergeProject,
    RequiredCheck,
)

pytestmark = pytest.mark.slow
NAME = "factory/demo"
CYCLE_SECONDS = 600.0
CI_SECONDS = 240.0


def request(number: int, files: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "head": f"change-{number}",
        "author": "agent[bot]",
        "created_at": f"-{400 - number}m",
        "commits": [{"message": f"Change {number}", "files": files}],
        **more,
    }


def thirty() -> list[dict[str, Any]]:
    """Return 18 of their own, 6 the same again, 3 almost the same, 3 in conflict with main."""
    own = {number: {f"file-{number}.txt": f"v{number}\n"} for number in range(1, 19)}
    found = [request(number, files) for number, files in own.items()]
    found += [request(18 + number, own[number]) for number in range(1, 7)]
    found += [request(17 + n, {f"file-{n}.txt": f"other {n}\n"}) for n in range(7, 10)]
    for index, entry in enumerate(found[-3:], 25):
        entry["head"] = f"near-{index}"
    old = {"from": "main~1"}
    found += [request(n, {"README.md": f"# Mine {n}\n"}, **old) for n in range(28, 31)]
    return found


def world(pulls: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "repositories": [
            {
                "name": NAME,
                "rules": [{"branch": "main", "required_checks": ["ci"]}],
                "commits": [
                    {"message": "Begin", "files": {"README.md": "# Demo\n"}, "date": "-60d"},
                    {"message": "Go on", "files": {"README.md": "# Ours\n"}, "date": "-59d"},
                ],
                "checks": [{"name": "ci", "conclusion": "success"}],
                "ci": [
                    {
                        "name": "ci",
                        "branches": ["change-*", "near-*", "train/*"],
                        "delay_seconds": CI_SECONDS,
                        "starts": False,
                    }
                ],
                "ci_slots": 4,
                "merge_delay_seconds": 3,
                "pull_requests": pulls,
                **more,
            }
        ]
    }


class Factory:
    """A server whose job runs every ten minutes; time passes only where somebody waits."""

    def __init__(self, simulator: Simulator, directory: Path, **policy: Any) -> None:
        self.simulator = simulator
        token = directory / "token"
        token.write_text(simulator.token.value)
        token.chmod(0o600)
        addresses = simulator.addresses()
        github = GitHub(
            api_url=addresses["api_url"],
            ca_file=addresses["ca_file"],
            login=Login(method="token_file", token_file=str(token)),
        )
        merge = MergePolicy(required_checks=(RequiredCheck(name="ci"),), **policy)
        self.project = MergeProject(name="demo", repository=NAME, merge=merge)
        self.settings = MarshalSettings(
            github=github, state_dir=str(directory / "state"), projects=(self.project,)
        )
        clock = simulator.world
        self.effects = Effects(
            effects.run, effects.https_fetch(addresses["ca_file"]), clock.now, clock.clock.advance
        )
        self.began = clock.now()
        self.reports: list[dict[str, Any]] = []

    @property
    def repository(self) -> Repository:
        found = self.simulator.world.repository(NAME)
        assert found is not None
        return found

    @property
    def minutes(self) -> float:
        return (self.simulator.world.now() - self.began) / 60

    def states(self, state: str) -> list[int]:
        return [pull.number for pull in self.repository.pulls if pull.state == state]

    def let_ci_work(self) -> None:
        for ci in self.repository.ci:
            ci.starts = True
        self.repository.ci_runs = 0

    def job(self) -> dict[str, Any]:
        """Run what the timer runs, then wait for its next turn."""
        at = self.simulator.world.now()
        document = assembly.serve(self.settings, self.project, self.effects, unlocked)
        self.reports.append(document)
        took = self.simulator.world.now() - at
        self.effects.sleep(max(0.0, CYCLE_SECONDS - took))
        return document


@contextmanager
def unlocked() -> Iterator[None]:
    yield


@contextmanager
def factory(directory: Path, document: dict[str, Any], **policy: Any) -> Iterator[Factory]:
    with Simulator(document) as simulator:
        yield Factory(simulator, directory, **policy)


@pytest.mark.deep
def test_the_owners_thirty_land_in_half_an_hour_once_ci_works(tmp_path: Path) -> None:
    duplicates = Duplicates(action="close")
    with factory(tmp_path, world(thirty()), duplicates=duplicates) as server:
        server.let_ci_work()

        for _turn in range(3):
            server.job()

        landings = [p.merged_at for p in server.repository.pulls if p.merged_at is not None]
        assert server.states("MERGED") == list(range(1, 19))
        assert (max(landings) - server.began) / 60 <= 30
        assert server.repository.ci_runs <= 30


def test_whoever_ci_is_asked_for_again_lands_when_it_ends(tmp_path: Path) -> None:
    pulls = [request(number, {f"file-{number}.txt": "x\n"}) for number in range(1, 7)]
    with factory(tmp_path, world(pulls)) as server:
        server.let_ci_work()
        document = server.job()

        ended = {
            check.head_oid: check.completed_at or 0.0
            for runs in server.repository.checks.values()
            for check in runs
        }
        landed = [pull for pull in server.repository.pulls if pull.merged_at is not None]
        assert document["merged"] == [pull.number for pull in landed]
        assert len(landed) >= 4
        assert max((pull.merged_at or 0.0) - ended[pull.head_oid] for pull in landed) <= 60
        assert server.repository.ci_runs == 6


def test_strict_has_the_next_one_tested_when_one_has_landed(tmp_path: Path) -> None:
    green = [{"name": "ci", "conclusion": "success"}]
    pulls = [request(number, {f"file-{number}.txt": "x\n"}, checks=green) for number in range(1, 4)]
    with factory(tmp_path, world(pulls), mode="strict") as server:
        server.let_ci_work()
        document = server.job()

        # The first one is up to date; then each takes one time of CI.
        assert document["merged"] == [1, 2, 3]
        assert server.repository.ci_runs == 2
        landings = [pull.merged_at or 0.0 for pull in server.repository.pulls]
        assert landings[2] - landings[0] <= 2 * (CI_SECONDS + 60)
