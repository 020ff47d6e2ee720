"""What a job needs of its machine: the policy leaves it where it can run, and explain says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from factory import __main__
from factory.core.base.github.job_needs import Kind, needs_of
from factory.core.workflows.document import Document
from factory.core.workflows.yaml_nodes import composer
from workflows.judging import judged

HEAD = "on: [pull_request]\njobs:\n  test:\n    runs-on: ubuntu-latest\n"


def job(body: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in body.splitlines())


def steps(*scripts: str) -> str:
    lines = ["steps:"]
    for script in scripts:
        lines.append("  - run: |")
        lines += [f"      {line}" for line in script.splitlines()]
    return job("\n".join(lines))


def needed(text: str) -> set[str]:
    document = Document(text, composer(yaml))
    found = document.get(document.root, "jobs")
    assert found is not None
    needs = needs_of(document.plain(next(found.pairs)[1]))
    names = {Kind.ENGINE: "engine", Kind.ROOT: "sudo"}
    return {names.get(need.kind, need.what) for need in needs}


CASES = [
    (job("services:\n  db: {image: 'postgres:16'}\nsteps: [{run: pnpm test}]"), {"engine"}),
    (job("container: node:22\nsteps: [{run: python3 x.py}]"), {"engine"}),
    (job("container: {image: node:22}\nsteps: []"), {"engine"}),
    (job("steps: [{uses: docker/build-push-action@v6}]"), {"engine"}),
    (job("steps: [{uses: 'docker://alpine:3'}]"), {"engine"}),
    (steps("docker build ."), {"engine"}),
    (steps("set -e\nDOCKER_BUILDKIT=1 docker compose up -d"), {"engine"}),
    (steps("sudo docker run x"), {"engine", "sudo"}),
    (steps("sudo apt-get install -y jq"), {"sudo"}),
    (steps("if true; then sudo -E cmake --install .; fi"), {"sudo", "cmake"}),
    (steps("pnpm build && ruby check.rb"), {"ruby"}),
    (steps("test -f x || cmake all"), {"cmake"}),
    (steps("x=$(psql -c https://example.com)"), {"psql"}),
    (job("steps:\n  - uses: actions/setup-go@v5\n  - run: go test ./..."), set()),
    (job("steps:\n  - run: go test ./...\n  - uses: actions/setup-go@v5"), {"go"}),
    # Words that call nothing.
    (steps("pnpm docker:lint\necho 'docker build .'\n# docker build\ngit add docker"), set()),
    (steps('echo "run make"\npnpm make\ncat Makefile sudo.txt'), set()),
    (steps("pnpm install --frozen-lockfile\nnode x.js | jq ."), set()),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_what_a_job_needs_is_read_off_its_steps(text: str, expected: set[str]) -> None:
    assert needed(text) == expected


@pytest.mark.parametrize(("text", "expected"), [case for case in CASES if case[1]])
def test_a_job_that_needs_more_than_the_runner_has_stays_hosted(
    text: str, expected: set[str]
) -> None:
    kept = judged(text)
    assert "runs-on: ubuntu-latest" in kept.after
    assert all(what in " ".join(kept.kept) for what in expected)

    moved = judged(text, runs_on={"offers": sorted(expected)})
    assert "runs-on: ubuntu-latest" not in moved.after


def test_explain_says_of_each_job_what_the_policy_decides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkout/.github/workflows"
    folder.mkdir(parents=True)
    (folder / "ci.yml").write_text(
        "on: [push]\njobs:\n"
        "  mine: {runs-on: [self-hosted, linux, vds], steps: [{run: pnpm test}]}\n"
        "  build: {runs-on: [self-hosted, vds], steps: [{run: docker build .}]}\n"
        "  other: {runs-on: [self-hosted, gpu], steps: [{run: pnpm test}]}\n"
        "  hosted: {runs-on: ubuntu-latest, steps: [{run: pnpm test}]}\n"
        "  moved: {runs-on: \"${{ fromJSON(vars.CI_RUNS_ON || 'x') }}\", steps: []}\n"
        "  called: {uses: ./.github/workflows/x.yml}\n"
        "  loud: {runs-on: Ubuntu-Latest, steps: [{run: pnpm test}]}\n"
        "  arm: {runs-on: [self-hosted, arm64], steps: [{run: pnpm test}]}\n"
    )
    (folder / "shell.yml").write_text(
        "on: [push]\ndefaults: {run: {shell: pwsh}}\njobs:\n"
        "  shell: {runs-on: [self-hosted, vds], steps: [{run: Get-Item}]}\n"
    )
    (folder / "broken.yml").write_text("jobs: [\n")
    (folder / "link.yml.txt").write_text("")
    project = {"name": "demo", "repository": "example/demo", "path": str(tmp_path / "checkout")}
    instance = {"name": "demo", "target": "example/demo", "labels": ["vds"]}
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "factory.json").write_text(json.dumps({"projects": [project]}))
    section = {"runners": {"prefix": "box", "instances": [instance]}}
    (tmp_path / "conf.d/runners.json").write_text(json.dumps(section))
    words = ["runner", "--config", str(tmp_path / "factory.json"), "explain"]

    assert __main__.main([*words, "demo", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)["jobs"]
    assert {item["job"]: (item["where"], len(item["missing"])) for item in told} == {
        "-": ("unknown", 0),
        "mine": ("here", 0),
        "build": ("here", 1),
        "other": ("nowhere", 0),
        "hosted": ("hosted", 0),
        "moved": ("variable", 0),
        "called": ("called", 0),
        "loud": ("hosted", 0),
        "arm": ("nowhere", 1),
        "shell": ("here", 1),
    }
    assert __main__.main([*words, "example/none"]) == 2
    (folder / "away.yml").symlink_to("/etc/passwd")
    assert __main__.main([*words, "demo"]) == 2
