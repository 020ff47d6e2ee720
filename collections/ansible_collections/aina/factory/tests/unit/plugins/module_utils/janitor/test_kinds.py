"""What may go of an engine and of a runner, and what holds it."""

from __future__ import annotations

import json
import re
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
from factory.core.janitor import image_use, sweep
from factory.core.janitor.image_use import ImageUse
from factory.core.janitor.kinds.docker import (
    BuildCache,
    DockerSettings,
    Images,
    LaneContainers,
    Networks,
    Uses,
    Volumes,
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
        self.volumes: list[dict[str, Any]] = []
        self.networks: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.prunes = 0

    def prune(self, wanted: str) -> list[str]:
        """Remove what matches, again and again, as the engine does: never below another."""
        deleted: list[str] = []
        while True:
            built_upon = {parent for item in self.cache for parent in item.get("Parents", ())}
            free = [
                item
                for item in self.cache
                if re.search(wanted, item["ID"])
                and not item.get("InUse")
                and item["ID"] not in built_upon
            ]
            if not free:
                return deleted
            self.cache = [item for item in self.cache if item not in free]
            deleted += [item["ID"] for item in free]

    def __call__(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        parts = urlsplit(request.url)
        path = parts.path.removeprefix("/v1.51")
        answer: Any = None
        if request.method == "DELETE":
            self.removed.append(unquote(path).rpartition("/")[2])
        elif path == "/build/prune":
            self.prunes += 1
            deleted = self.prune(json.loads(parse_qs(parts.query)["filters"][0])["id"][0])
            self.removed += deleted
            answer = {"CachesDeleted": deleted, "SpaceReclaimed": 7 * len(deleted)}
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
            answer = {"Images": self.images, "BuildCache": self.cache, "Volumes": self.volumes}
        elif path == "/events":
            return Response(200, {}, b"")
        elif path == "/info":
            answer = {"Driver": "overlay2"}
        elif path == "/networks":
            answer = self.networks
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


def test_what_the_listener_heard_counts_as_use(docker: Docker, tmp_path: Path) -> None:
    heard = ImageUse({}, {"sha256:plain:1": NOW - 5}, NOW)
    (tmp_path / "heard").write_text(image_use.dump(heard))
    own = ImageUse({item["Id"]: NOW - 900 for item in docker.images}, {}, NOW - 800)
    (tmp_path / "own").write_text(image_use.dump(own))
    engine = Engine(docker)
    uses = Uses(engine, tmp_path / "own", tmp_path / "heard", NOW)
    images = Images(OLD, engine, DockerSettings().marks, lambda: True, False, uses.use)

    last_used = {item.target: item.last_used for item in images.inventory()}

    assert last_used["plain:1"] == NOW - 5
    assert last_used["kept:1"] == NOW - 900


def test_the_least_recently_used_image_goes_first(docker: Docker) -> None:
    docker.containers = []
    *_others, images = kinds(docker, KindLimits())
    assert isinstance(images, Images)
    ages = {"running:1": 90, "foreign:1": 30, "plain:1": 60}
    use = ImageUse({}, {f"sha256:{name}": NOW - age for name, age in ages.items()}, NOW)
    images.use = lambda: use

    report = swept([images], Disk("/", 1000, 815, 185), dry_run=True)["docker_images"]

    assert gone(report) == ["running:1", "plain:1"]  # 60 bytes each of the 115 too many


def volume(name: str, directory: Path, **more: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Driver": "local",
        "Mountpoint": str(directory),
        "Labels": {"lane": "1"},
        "CreatedAt": "2020-01-01T00:00:00Z",
        "UsageData": {"Size": 50, "RefCount": 0},
        **more,
    }


def test_of_volumes_only_labelled_ones_go_that_nobody_has_or_changed(
    docker: Docker, tmp_path: Path
) -> None:
    docker.volumes = [
        volume("left", tmp_path),
        volume("foreign", tmp_path, Labels=None),
        volume("kept", tmp_path, Labels={"lane": "1", "factory.keep": "true"}),
        volume("used", tmp_path, UsageData={"Size": 50, "RefCount": 1}),
        volume("uncounted", tmp_path, UsageData={"Size": -1, "RefCount": -1}),
        volume("elsewhere", tmp_path, Driver="nfs"),
        volume("unseen", tmp_path / "none"),
    ]
    (tmp_path / "data").write_text("x")
    later = (tmp_path / "data").stat().st_mtime + 900
    limits = KindLimits(max_age_seconds=600, min_age_seconds=600)
    found = Volumes(limits, Engine(docker), DockerSettings(), lambda: True)

    def run(now: float) -> sweep.KindReport:
        return sweep.sweep([found], lambda: QUIET, MARKS, now, dry_run=False)[found.name]

    assert run(later - 600).items == []
    report = run(later)

    assert gone(report) == docker.removed == ["left"]
    assert report.bytes_freed == 50
    assert report.kept == {"labelled_keep": 1, "in_use": 2, "last_use_unknown": 2}


def test_of_networks_only_labelled_ones_go_on_which_nobody_is(docker: Docker) -> None:
    for name in ("left", "used", "stopped", "foreign", "kept", "bridge", "made"):
        network = {"Id": f"id-{name}", "Name": name, "Created": "2020-01-01T00:00:00.5+01:00"}
        docker.networks.append({**network, "Labels": {"lane": "1"}})
    docker.networks[1]["Containers"] = {"c": {}}
    docker.networks[3]["Labels"] = {}
    docker.networks[4]["Labels"]["factory.keep"] = "true"
    # The engine tells no identity to a container that has never run.
    networks = {"stopped": {"NetworkID": "id-stopped"}, "made": {"NetworkID": ""}}
    settings = {"Networks": networks}
    docker.containers[1]["NetworkSettings"] = settings
    found = Networks(OLD, Engine(docker), DockerSettings())

    report = swept([found])[found.name]

    assert gone(report) == ["left"]
    assert docker.removed == ["id-left"]
    assert report.kept == {"in_use": 3, "labelled_keep": 1}


def chain(length: int, **more: Any) -> list[dict[str, Any]]:
    """Return records that are built upon each other, the newest last, parents used no later."""
    return [
        record(f"r{number}", Parents=[f"r{number - 1}"] if number else [], **more)
        for number in range(length)
    ]


@pytest.mark.parametrize("same_time", [True, False])
def test_of_a_chain_of_the_build_cache_goes_what_the_plan_says_in_one_prune(
    same_time: bool, docker: Docker
) -> None:
    docker.cache = chain(12)
    if not same_time:
        for number, item in enumerate(docker.cache):
            item["LastUsedAt"] = f"2020-01-{number + 1:02}T00:00:00Z"
    cache = BuildCache(KindLimits(max_total_bytes=3 * 7), Engine(docker), lambda: True)

    def run(*, dry_run: bool) -> sweep.KindReport:
        swept = sweep.sweep([cache], lambda: QUIET, MARKS, NOW, dry_run=dry_run)
        return swept["docker_build_cache"]

    planned = [item.target for item in run(dry_run=True).items]
    report = run(dry_run=False)

    assert planned == [item.target for item in report.items] == [f"r{n}" for n in range(11, 2, -1)]
    assert report.bytes_freed == 9 * 7
    assert [item["ID"] for item in docker.cache] == ["r0", "r1", "r2"]
    assert docker.prunes == 1
    assert run(dry_run=True).items == []


def test_what_the_build_cache_in_use_is_built_upon_stays(docker: Docker) -> None:
    docker.cache = [*chain(3), record("busy", Parents=["r1"], InUse=True), record("alone")]

    report = swept([BuildCache(OLD, Engine(docker), lambda: True)])["docker_build_cache"]

    assert {item.target for item in report.items} == {"r2", "alone"}
    assert report.kept == {"in_use": 3}


def test_a_layer_without_content_does_not_keep_what_it_is_built_upon(docker: Docker) -> None:
    docker.cache = [*chain(2), record("empty", Parents=["r1"], Size=0)]
    cache = BuildCache(KindLimits(), Engine(docker), lambda: True)
    full = Disk("/", 100, 90, 10)

    report = sweep.sweep([cache], lambda: full, Watermarks(80, 78), NOW, dry_run=False)

    assert [item.target for item in report["docker_build_cache"].items] == ["r1", "r0"]
    assert docker.cache == []


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
