"""What may go of an engine and of a runner, and what holds it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from factory.core.base.configuration import Section
from factory.core.base.disk import Disk, Removal
from factory.core.base.docker import Engine
from factory.core.base.paths import PathEntry
from factory.core.base.ports import Request, Response
from factory.core.base.processes import Process
from factory.core.base.settings import read
from factory.core.janitor import sweep
from factory.core.janitor.image_use import ImageUse
from factory.core.janitor.kinds.docker import (
    BuildCache,
    DockerSettings,
    Images,
    LaneContainers,
)
from factory.core.janitor.kinds.runner import job_holder
from factory.core.janitor.model import Candidate, Kind, KindLimits, SkipError, Watermarks

NOW = 1_700_000_000.0
QUIET = Disk("/", 1000, 500, 500)
FULL = Disk("/", 1000, 900, 100)
MARKS = Watermarks(80, 70)
OLD = KindLimits(max_age_seconds=1)


def container(name: str, state: str, image: str, **labels: str) -> dict[str, Any]:
    return {
        "Id": name,
        "Names": [f"/{name}"],
        "ImageID": image,
        "State": state,
        "Labels": labels,
        "SizeRw": 10,
        "Created": NOW - 900,
    }


def image(name: str, **labels: str) -> dict[str, Any]:
    tags = [] if name.startswith("<none>") else [name]
    return {
        "Id": f"sha256:{name}",
        "RepoTags": tags,
        "Labels": labels,
        "Size": 100,
        "SharedSize": 40,
        "Created": NOW - 900,
    }


def record(name: str, **more: Any) -> dict[str, Any]:
    return {"ID": name, "Size": 7, "CreatedAt": "2020-01-01T00:00:00Z", **more}


class Docker:
    """An engine that knows what exists, and forgets what it is told to remove."""

    def __init__(self) -> None:
        self.containers = [
            container("lane-running", "running", "sha256:running:1", lane="1"),
            container("lane-stopped", "exited", "sha256:stopped:1", lane="1"),
            container(
                "lane-kept", "exited", "sha256:stopped:1", lane="1", **{"factory.keep": "true"}
            ),
            container("foreign", "exited", "sha256:foreign:1"),
        ]
        self.images = [
            image("running:1"),
            image("foreign:1"),
            image("plain:1"),
            image("<none>"),
            image("kept:1", **{"factory.keep": "true"}),
            image("team/base:9"),
            image("aina-factory/lane:current"),
        ]
        self.cache = [record("free"), record("busy", InUse=True), record("shared", Shared=True)]
        self.removed: list[str] = []

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        parts = urlsplit(request.url)
        path = parts.path.removeprefix("/v1.51")
        answer: Any = None
        if request.method == "DELETE":
            self.removed.append(unquote(path).rpartition("/")[2])
        elif path == "/build/prune":
            wanted = json.loads(parse_qs(parts.query)["filters"][0])["id"][0].strip("^$")
            self.removed.append(wanted)
            answer = {"CachesDeleted": [wanted], "SpaceReclaimed": 7}
        elif path == "/version":
            answer = {"ApiVersion": "1.60"}
        elif path == "/containers/json":
            answer = self.containers
        elif path.startswith("/containers/"):
            name = path.split("/")[2]
            (found,) = [item for item in self.containers if item["Id"] == name]
            answer = {"State": {"Status": found["State"], "FinishedAt": "2020-01-01T00:00:00Z"}}
        elif path == "/images/json":
            answer = self.images
        elif path == "/system/df":
            answer = {"Images": self.images, "BuildCache": self.cache}
        return Response(200, {}, json.dumps(answer).encode())


@pytest.fixture
def docker() -> Docker:
    return Docker()


def kinds(docker: Docker, limits: KindLimits = OLD) -> list[Kind]:
    """Return the four kinds, for an engine in which no image was used for long."""
    engine = Engine(docker, "/run/docker.sock")
    section = Section({"base_images": ["team/base:*"]}, "docker")
    marks = read(DockerSettings, section).marks
    use = ImageUse({item["Id"]: NOW - 900 for item in docker.images}, {}, NOW)
    return [
        LaneContainers(limits, engine, marks, lambda: True),
        Images(limits, engine, marks, lambda: True, True, lambda: use),
        BuildCache(limits, engine, lambda: True),
        Images(limits, engine, marks, lambda: True, False, lambda: use),
    ]


def swept(found: Sequence[Kind], disk: Disk = QUIET, **options: Any) -> dict[str, sweep.KindReport]:
    return sweep.sweep(found, lambda: disk, MARKS, NOW, **{"dry_run": False, **options})


def gone(report: sweep.KindReport) -> list[str]:
    return [item.target for item in report.items]


def test_of_containers_only_stopped_lanes_go(docker: Docker) -> None:
    report = swept(kinds(docker))["docker_containers"]

    assert gone(report) == ["lane-stopped"]
    assert report.kept == {"running": 1, "labelled_keep": 1}
    assert "foreign" not in docker.removed


def test_of_images_those_in_use_labelled_or_base_stay(docker: Docker) -> None:
    reports = swept(kinds(docker))

    assert gone(reports["docker_images"]) == ["plain:1"]
    assert reports["docker_images"].kept == {"in_use": 2, "labelled_keep": 1, "base_image": 2}
    assert gone(reports["docker_dangling_images"]) == ["sha256:<none>"]


def test_a_full_disk_takes_no_image_that_is_in_use_labelled_or_base(docker: Docker) -> None:
    within = KindLimits(min_age_seconds=60)

    report = swept(kinds(docker, within), FULL)["docker_images"]

    assert gone(report) == ["plain:1"]
    assert [item.reason for item in report.items] == ["watermark"]


def test_the_least_recently_used_image_goes_first(docker: Docker) -> None:
    docker.containers = []
    *_others, images = kinds(docker, KindLimits())
    assert isinstance(images, Images)
    ages = {"running:1": 90, "foreign:1": 30, "plain:1": 60}
    use = ImageUse({}, {f"sha256:{name}": NOW - age for name, age in ages.items()}, NOW)
    images.use = lambda: use

    report = swept([images], Disk("/", 1000, 815, 185), dry_run=True)["docker_images"]

    assert gone(report) == ["running:1", "plain:1"]  # 60 bytes each of the 115 too many


def test_of_the_build_cache_what_is_in_use_or_shared_stays(docker: Docker) -> None:
    report = swept(kinds(docker))["docker_build_cache"]

    assert gone(report) == ["free"]
    assert report.kept == {"in_use": 1, "shared": 1}


def test_an_older_engine_is_asked_in_its_own_version(docker: Docker) -> None:
    asked: list[str] = []

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        asked.append(request.url)
        version = {"ApiVersion": "1.41"}
        return Response(200, {}, json.dumps(version if "/version" in request.url else []).encode())

    Engine(fetch, "/run/docker.sock").containers()

    assert asked[1].startswith("http://docker/v1.41/containers/json")


class Things:
    """A kind of a test's own."""

    def __init__(self, name: str, *candidates: Candidate, error: Exception | None = None) -> None:
        self.name, self.limits = name, KindLimits(max_age_seconds=1)
        self.candidates, self.error = candidates, error
        self.removed: list[str] = []

    def inventory(self) -> Sequence[Candidate]:
        if self.error:
            raise self.error
        return self.candidates

    def remove(self, candidate: Candidate) -> Removal:
        self.removed.append(candidate.target)
        return Removal(True, candidate.bytes, "")


def thing(name: str, age: float = 100, **more: Any) -> Candidate:
    return Candidate("k", name, 300, NOW - age, **more)


def test_each_kind_says_how_it_ended_and_none_stops_another() -> None:
    broken = Things("broken", error=ValueError("odd"))
    absent = Things("absent", error=SkipError("not_present"))
    sound = Things("sound", thing("a"))

    reports = swept([broken, absent, sound])

    told = {name: (report.status, report.detail) for name, report in reports.items()}
    assert told == {
        "broken": ("failed", "odd"),
        "absent": ("skipped", "not_present"),
        "sound": ("done", ""),
    }
    assert sound.removed == ["a"]
    assert reports["sound"].bytes_freed == 300


def test_a_disk_at_its_low_mark_gives_nothing_up_any_more() -> None:
    # Things that share blocks free more together than each by itself.
    kind = Things("k", thing("old", 90), thing("young", 80))
    kind.limits = KindLimits()
    measured = iter([FULL, FULL, Disk("/", 1000, 490, 510)])

    marks = Watermarks(80, 50)

    report = sweep.sweep([kind], lambda: next(measured), marks, NOW, dry_run=False)["k"]

    assert kind.removed == ["old"]
    assert report.kept == {"low_mark_reached": 1}


def test_a_dry_run_lists_and_removes_nothing() -> None:
    kind = Things("k", thing("a"), thing("held", held_by="open"))

    report = swept([kind], dry_run=True)["k"]

    assert ([(item.target, item.removed) for item in report.items]) == [("a", False)]
    assert report.kept == {"open": 1}
    assert kind.removed == []


def found(path: str) -> PathEntry:
    root, _slash, name = path.rpartition("/")
    return PathEntry(root, (name,), 1, 1, 0, False, 1, NOW, frozenset())


@pytest.fixture
def runners(tmp_path: Path) -> list[str]:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def test_a_runner_with_a_job_is_held_and_its_neighbour_is_not(runners: list[str]) -> None:
    one, two = runners
    worker = Process(7, "Runner.Worker", f"{one}/bin/Runner.Worker", ("Runner.Worker",))

    held_by = job_holder(runners, [worker])

    assert held_by(found(f"{one}/_diag/a.log")) == "job_running"
    assert held_by(found(f"{two}/_diag/a.log")) == ""


def test_a_job_of_which_nobody_knows_the_runner_holds_all(runners: list[str]) -> None:
    hidden = Process(7, "x", "", ("/elsewhere/bin/Runner.Worker", "spawnclient"))

    held_by = job_holder(runners, [hidden])

    assert {held_by(found(f"{root}/_diag/a.log")) for root in runners} == {"job_running"}


def test_a_job_in_a_container_holds_no_runner_of_the_host(runners: list[str]) -> None:
    contained = Process(7, "Runner.Worker", "/x/Runner.Worker", ("Runner.Worker",), contained=True)

    assert job_holder(runners, [contained])(found(f"{runners[0]}/_diag/a.log")) == ""
