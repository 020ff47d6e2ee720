"""What jobs need is read from what people write, and weighed against what a runner offers."""

from __future__ import annotations

from typing import Any

import pytest

from factory.core.base.github.job_needs import Kind, Offer, foreign_events, needs_of, needs_of_label
from factory.core.runners.offer import offer
from factory.core.runners.settings import RunnerOptions

BARE = offer(RunnerOptions())


def runs(*scripts: str) -> dict[str, Any]:
    return {"steps": [{"run": script} for script in scripts]}


def uses(*actions: str) -> dict[str, Any]:
    return {"steps": [{"uses": action} for action in actions]}


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"container": "node:22"}, "'container'"),
        ({"services": {"db": {"image": "postgres"}}}, "'services'"),
        (uses("docker://alpine:3"), "no container engine"),
        (uses("docker/build-push-action@v6"), "no container engine"),
        (uses("Helm/Kind-Action@v1"), "no container engine"),
        (runs("docker build ."), "docker build"),
        (runs("set -e\nTAG=x docker compose up -d"), "docker compose"),
        (runs("if ! docker info; then exit 1; fi"), "docker info"),
        (runs("sudo docker ps"), "no container engine"),
        (runs("make &&\\\n  podman run x"), "podman run"),
        (runs("sudo apt-get update"), "nobody is root"),
        (runs("apt-get install -y jq"), "nobody is root"),
        (runs("(cd x; sudo make install)"), "nobody is root"),
        (runs("npx playwright install --with-deps chromium"), "nobody is root"),
        (uses("shivammathur/setup-php@v2"), "nobody is root"),
        (uses("vmactions/freebsd-vm@v1"), "nobody is root"),
        (runs("timeout 30m sudo apt-get install --yes bc"), "nobody is root"),
        (runs("retry -n 3 docker pull x"), "no container engine"),
        (runs("bash -ec 'docker compose up'"), "no container engine"),
        (runs("ls | xargs -n1 podman rm"), "no container engine"),
        (runs("nice -n 19 cmake ."), "runs cmake"),
        (runs("case $x in\n  a) sudo mount y ;;\nesac"), "nobody is root"),
        (runs("cmake ."), "runs cmake"),
        (runs("x=$(cargo -V)"), "runs cargo"),
        ({"steps": [{"shell": "pwsh", "run": "ls"}]}, "its shell is pwsh"),
        ({"defaults": {"run": {"shell": "powershell"}}, "steps": []}, "is Linux"),
        (uses("./tools/setup"), "nobody knows"),
    ],
)
def test_what_a_fresh_container_lacks_is_found(job: dict[str, Any], words: str) -> None:
    assert any(words in said for said in BARE.lacks(needs_of(job)))


@pytest.mark.parametrize(
    "job",
    [
        runs("pnpm install\npnpm test", "node build.js | jq .x > out"),
        runs("# sudo rm\necho docker sudo make", "cat docker/README sudo.txt", "./docker build"),
        runs("command -v docker || true", "npm run docker:lint -- --make"),
        runs("timeout 5 pnpm test", "bash docker/lint.sh", "flock x node make.js"),
        {"steps": [{"uses": "actions/setup-python@v5"}, {"run": "pip install tox\npython -m tox"}]},
        uses("actions/checkout@v4", "actions/setup-node@v4", "pnpm/action-setup@v4"),
        {"container": "", "services": {}, "steps": None},
    ],
)
def test_what_a_fresh_container_offers_is_no_reason_to_stay(job: dict[str, Any]) -> None:
    assert BARE.lacks(needs_of(job)) == []


def test_a_runner_that_offers_more_takes_more() -> None:
    job = runs("docker ps; sudo make")

    assert Offer(engine=True, root=True, programs=None).lacks(needs_of(job)) == []
    assert len(Offer(engine=True, programs=None).lacks(needs_of(job))) == 1
    assert Offer().also(["engine", "sudo", "make"]).lacks(needs_of(job)) == []
    assert Offer(engine=True).lacks(needs_of({"container": "node:22", **runs("sudo make")})) == []
    assert offer(RunnerOptions(mode="native", hardening="sudo")).root
    assert offer(RunnerOptions(docker_socket_reason="so")).engine
    assert offer(RunnerOptions(image="own")).lacks(needs_of(runs("make"))) == []


@pytest.mark.parametrize(
    ("action", "lacks"),
    [
        ({"runs": {"using": "composite", "steps": [{"run": "sudo ls", "shell": "bash"}]}}, True),
        ({"runs": {"using": "composite", "steps": [{"uses": "docker/login-action@v3"}]}}, True),
        ({"runs": {"using": "docker", "image": "Dockerfile"}}, True),
        ({"runs": {"using": "composite", "steps": [{"uses": "./a"}]}}, True),
        ({"name": "no runs"}, True),
        (None, True),
        ({"runs": {"using": "node20", "main": "x.js"}}, False),
        ({"runs": {"using": "composite", "steps": [{"run": "pnpm i", "shell": "bash"}]}}, False),
    ],
)
def test_an_action_of_the_repository_is_read_too(action: Any, lacks: bool) -> None:
    needs = needs_of(uses("./a"), None, {"./a": action})

    assert bool(BARE.lacks(needs)) is lacks


@pytest.mark.parametrize(
    ("label", "kinds"),
    [
        ("ubuntu-latest", []),
        ("ubuntu-22.04", [Kind.IMAGE]),
        ("ubuntu-24.04-arm", [Kind.ARCHITECTURE]),
        ("macos-14", [Kind.SYSTEM]),
        ("Windows-2022", [Kind.SYSTEM]),
        ("macos-14-xlarge", [Kind.SYSTEM]),
        ("charm", []),
    ],
)
def test_a_label_says_what_the_machine_must_be(label: str, kinds: list[Kind]) -> None:
    assert [need.kind for need in needs_of_label(label)] == kinds


def test_another_release_or_processor_is_another_machine() -> None:
    assert BARE.lacks(needs_of_label("ubuntu-24.04")) == []
    assert BARE.lacks(needs_of_label("ubuntu-22.04")) == [
        "it asks for ubuntu-22.04, and the runner's image is Ubuntu 24.04"
    ]
    assert BARE.lacks(needs_of_label("ubuntu-24.04-arm"))


def test_whom_an_event_lets_start_a_job_is_told() -> None:
    assert foreign_events(["push", "issue_comment", "pull_request", "workflow_run"]) == [
        "issue_comment",
        "workflow_run",
    ]
