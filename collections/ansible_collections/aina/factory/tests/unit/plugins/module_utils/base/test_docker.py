"""How the engine's answers are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from factory.core.base.docker import (
    Client,
    Container,
    DockerError,
    Engine,
    Image,
    has_label,
    parse_time,
)
from factory.core.base.ports import Completed, Request, Response
from factory.core.janitor import image_use

IMAGE = Image("sha256:1", ("app:1",), {}, 10, 50.0)


def engine(answers: dict[str, tuple[int, Any]]) -> tuple[Engine, list[str]]:
    asked: list[str] = []

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        path = request.url.removeprefix("http://docker")
        asked.append(f"{request.method} {path}")
        for part, (status, body) in answers.items():
            if part in path:
                return Response(status, {}, json.dumps(body).encode())
        raise ConnectionRefusedError("refused")

    return Engine(fetch, "/run/docker.sock"), asked


VERSION = {"/version": (200, {"ApiVersion": "1.41"})}
TIMES = [
    ("2026-01-02T03:04:05Z", 1767323045.0),
    ("2026-01-02T03:04:05.5Z", 1767323045.0),
    ("2026-01-02T05:04:05.123456789+02:00", 1767323045.0),
    ("0001-01-01T00:00:00Z", None),
    ("", None),
    (None, None),
]
STORES = [
    ([["driver-type", "io.containerd.snapshotter.v1"]], "containerd"),
    ([["Backing Filesystem", "extfs"]], "overlay2"),
    (None, "overlay2"),
]
PRUNES = [
    (409, {"message": "a prune operation is already running"}, None),
    (200, {"CachesDeleted": ["x"], "SpaceReclaimed": 5}, {"x"}),
    (200, {"CachesDeleted": None, "SpaceReclaimed": 0}, set()),
]


@pytest.mark.parametrize(("text", "expected"), TIMES)
def test_the_engines_times_are_understood(text: str | None, expected: float | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(("status", "expected"), STORES)
def test_the_image_store_is_recognised(status: Any, expected: str) -> None:
    answer = {"Driver": "overlay2", "DriverStatus": status}
    found, _log = engine({**VERSION, "/info": (200, answer)})

    assert found.store() == expected


@pytest.mark.parametrize(("status", "body", "expected"), PRUNES)
def test_pruning_the_build_cache_says_what_came_of_it(
    status: int, body: Any, expected: set[str] | None
) -> None:
    found, _log = engine({**VERSION, "/build/prune": (status, body)})

    assert found.prune_cache(["x", "y"]) == expected


def test_an_image_that_came_into_use_stays() -> None:
    found, asked = engine({**VERSION, "/images/": (409, {"message": "conflict"})})

    removal = found.remove_image(IMAGE)

    assert (removal.removed, removal.reason) == (False, "in_use")
    assert not any("force" in line for line in asked)


def test_an_engine_that_is_down_is_a_failure_that_names_its_socket() -> None:
    found, _log = engine({})

    with pytest.raises(DockerError, match=r"/run/docker\.sock"):
        found.containers()


def test_labels_are_compared_with_their_values() -> None:
    labels = {"lane": "1", "factory.keep": "false"}

    assert has_label(labels, ["lane"])
    assert has_label(labels, ["lane=1"])
    assert not has_label(labels, ["factory.keep=true"])


def container(state: str, finished: float | None) -> Container:
    return Container("c", "c", IMAGE.id, state, {}, 0, 80.0, finished, 70.0)


def test_the_last_use_of_an_image_is_learned() -> None:
    learn = image_use.learn
    empty = image_use.ImageUse()

    fresh = learn(empty, [IMAGE], [], [], 100.0, store="overlay2")
    local = learn(empty, [IMAGE], [], [], 100.0, store="containerd")
    ended = learn(fresh, [IMAGE], [container("exited", 90.0)], [], 200.0, store="overlay2")
    running = learn(fresh, [IMAGE], [container("running", None)], [], 200.0, store="overlay2")
    event = learn(fresh, [IMAGE], [], [("app:1", 150.0)], 200.0, store="overlay2")

    found = [use.last_used(IMAGE.id) for use in (fresh, local, ended, running, event)]
    assert found == [100.0, 50.0, 90.0, 200.0, 150.0]


def test_a_lost_or_broken_state_makes_no_image_old() -> None:
    for text in ("", "{", "[]", '{"first_seen": 3, "used": {}, "learned_at": null}'):
        known = image_use.load(text)
        assert known.last_used(IMAGE.id) is None


def test_the_state_survives_being_written() -> None:
    use = image_use.learn(image_use.ImageUse(), [IMAGE], [], [], 9.0, store="overlay2")

    assert image_use.load(image_use.dump(use)) == use


def test_an_engine_that_was_renewed_is_asked_in_its_new_version() -> None:
    supported, asked = ["1.41"], []

    def fetch(request: Request, *, timeout_seconds: float = 30.0) -> Response:
        path = request.url.removeprefix("http://docker")
        asked.append(path)
        if path == "/version":
            return Response(200, {}, json.dumps({"ApiVersion": supported[0]}).encode())
        status = 200 if path.startswith(f"/v{supported[0]}/") else 400
        return Response(status, {}, b"{}")

    found = Engine(fetch)
    assert found.get("/info") == {}
    supported[0] = "1.44"
    assert found.get("/info") == {}

    assert asked == ["/version", "/v1.41/info", "/v1.41/info", "/version", "/v1.44/info"]


def test_a_client_says_what_is_missing_or_what_failed() -> None:
    def absent(*_: Any, **__: Any) -> Completed:
        raise FileNotFoundError("docker")

    with pytest.raises(DockerError, match="converge the role docker_host first"):
        Client(absent).ask("ps")
    with pytest.raises(DockerError, match="docker ps: no space left on device"):
        Client(lambda *_, **__: Completed(1, b"", b"no space left on device\n")).ask("ps")
