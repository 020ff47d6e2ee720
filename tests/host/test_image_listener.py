"""The listener of the engine's events, against a socket that answers as an engine does."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from factory import effects, image_listener
from factory.core.base import settings
from factory.core.base.configuration import Section
from factory.core.janitor import image_use
from factory.core.janitor.settings import Janitor

NOW = 1_700_000_000.0


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """What happened, which image bears a name now, and since when was asked."""

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        self.events: list[Any] = []
        self.images = {name: f"sha256:{name[:-2]}" for name in ("hot:1", "cold:1", "busy:1")}
        self.asked_since: list[float] = []
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    """One request; the events come in pieces, as they happen, and end with the engine."""

    server: Engine
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *words: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path.rpartition("/images/")[2].removesuffix("/json"))
        if parts.path == "/events":
            self.server.asked_since.append(float(parse_qs(parts.query)["since"][0]))
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in self.server.events:
                line = (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        elif parts.path == "/version":
            self.answer(200, {"ApiVersion": "1.41"})
        elif name in self.server.images:
            self.answer(200, {"Id": self.server.images[name]})
        else:
            self.answer(404, {"message": "no such image"})

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def event(name: str, at: float) -> dict[str, Any]:
    return {"Actor": {"Attributes": {"image": name}}, "time": int(at), "timeNano": int(at * 1e9)}


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(effects, "now", lambda: NOW)
    with Engine(tmp_path / "docker.sock") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def hear(tmp_path: Path) -> image_use.ImageUse:
    image_listener.hear(tmp_path / "heard.json", str(tmp_path / "docker.sock"))
    return image_use.read(tmp_path / "heard.json")


def test_an_image_is_known_after_more_containers_than_the_engine_remembers(
    engine: Engine, tmp_path: Path
) -> None:
    engine.events = [event("hot:1", NOW - 100)]
    hear(tmp_path)
    engine.events = [event("busy:1", NOW - n / 10) for n in range(300)]  # hot is forgotten

    heard = hear(tmp_path)

    assert heard.last_used("sha256:hot") == pytest.approx(NOW - 100, abs=0.01)


def test_a_new_start_asks_for_what_was_missed(engine: Engine, tmp_path: Path) -> None:
    engine.events = [event("hot:1", NOW - 100)]
    hear(tmp_path)
    engine.events = [event("cold:1", NOW - 50)]

    heard = hear(tmp_path)

    assert engine.asked_since == [1.0, pytest.approx(NOW - 100, abs=0.01)]
    assert set(heard.used) == {"sha256:hot", "sha256:cold"}


def test_the_use_stays_with_the_image_that_bore_the_name(engine: Engine, tmp_path: Path) -> None:
    engine.events = [event("hot:1", NOW - 100)]
    hear(tmp_path)
    engine.images["hot:1"] = "sha256:next"
    engine.events = []

    assert set(hear(tmp_path).used) == {"sha256:hot"}


def test_what_is_no_event_of_a_known_image_is_passed_over(engine: Engine, tmp_path: Path) -> None:
    engine.events = ["{", "[]", {"Actor": {}}, event("gone:1", NOW), event("hot:1", NOW - 1)]

    assert set(hear(tmp_path).used) == {"sha256:hot"}


def test_an_engine_that_is_down_is_waited_for(engine: Engine, tmp_path: Path) -> None:
    policy = settings.read(
        Janitor,
        Section(
            {
                "image_heard_path": str(tmp_path / "heard.json"),
                "docker": {"socket_path": str(tmp_path / "other.sock")},
            },
            "janitor",
        ),
    )
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            (tmp_path / "other.sock").symlink_to(tmp_path / "docker.sock")
            engine.events = [event("hot:1", NOW)]
        else:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        image_listener.listen(policy, pause)

    assert set(image_use.read(tmp_path / "heard.json").used) == {"sha256:hot"}
