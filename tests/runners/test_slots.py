"""The slots of a pool as a converge leaves them: started with the host, fewer, or none."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from factory import effects
from factory.core.runners import layout
from factory.core.runners.converge import Converge, ConvergeOptions
from factory.core.runners.guard import GuardVerdict
from runners import support
from runners.support import REPOSITORY, Site, Unit, make_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A host with a pool of two slots; GitHub is not asked."""
    addresses = {"api_url": "https://127.0.0.1:1", "ca_file": "", "token_file": "/none"}
    nobody: Any = SimpleNamespace(ca_file="", addresses=lambda: addresses)
    monkeypatch.setattr(support, "Client", lambda _simulator: None)
    monkeypatch.setattr(effects, "https_fetch", lambda _ca_file: None)
    made = make_site(tmp_path, nobody, monkeypatch)
    made.section["instances"] = [{"name": "pool", "target": REPOSITORY, "slots": 2}]
    yield made
    made.host.close()


def converge(site: Site, problems: tuple[str, ...] = (), **options: Any) -> Converge:
    github = site.github_client()
    github.judge = lambda _instance, **_: GuardVerdict(problems)  # type: ignore[method-assign]
    run = Converge(github, 0.0, ConvergeOptions(**options))
    run.carry_out(run.plan())
    return run


def unit(site: Site, number: int) -> Unit:
    return site.host.units.get(layout.loop_unit(f"pool-{number}"), Unit())


def test_each_slot_is_started_and_starts_with_the_host(site: Site) -> None:
    converge(site)

    assert [(u.is_active, u.enabled) for u in (unit(site, 1), unit(site, 2))] == [(True, True)] * 2
    assert converge(site).report.actions == []


def test_a_slot_that_nobody_declares_any_more_is_stopped_for_good(site: Site) -> None:
    converge(site)
    site.section["instances"][0]["slots"] = 1

    assert f"stop {layout.loop_unit('pool-2')}" in converge(site).report.actions

    assert (unit(site, 1).is_active, unit(site, 1).enabled) == (True, True)
    assert (unit(site, 2).is_active, unit(site, 2).enabled) == (False, False)
    # The end of its job is not waited for.
    assert ["systemctl", "stop", "--no-block", layout.loop_unit("pool-2")] in site.host.calls


def test_the_slot_that_runs_the_play_is_not_stopped_by_it(site: Site) -> None:
    converge(site)
    site.section["instances"][0]["slots"] = 1

    run = converge(site, play_runner_name="box-pool-2-t1abcdxy")

    assert "pool-2: it runs this very play" in run.report.failures[0]
    assert unit(site, 2).is_active


def test_no_slot_is_started_for_a_target_that_may_not_be_served(site: Site) -> None:
    assert converge(site, ("x/y: it is public",)).report.failures == ["x/y: it is public"]

    assert not unit(site, 1).is_active
