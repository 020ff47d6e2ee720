"""The Docker engine through its HTTP interface: what is there, and letting one thing go.

Speaks to the socket directly, since the client lacks its build-cache command where buildx is
not installed, and says "a prune is already running" only in words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from . import times
from .disk import Removal
from .errors import FactoryError
from .ports import Fetch, Request, Response

# The newest interface version this was written against; an older engine is asked in its own.
_NEWEST = (1, 51)
_TYPED_DISK_USAGE = (1, 42)
TIMEOUT_SECONDS = 300.0


class DockerError(FactoryError):
    """The engine does not answer as expected."""


@dataclass(frozen=True)
class Container:
    """A container; times are the engine's own text, empty when never."""

    id: str
    name: str
    image_id: str
    state: str
    labels: Mapping[str, str]
    bytes: int
    started_at: float | None
    finished_at: float | None
    created_at: float


@dataclass(frozen=True)
class Image:
    """An image; ``bytes`` is what no other image shares; ``references`` are tags and digests."""

    id: str
    references: tuple[str, ...]
    labels: Mapping[str, str]
    bytes: int
    created_at: float


@dataclass(frozen=True)
class CacheRecord:
    """A record of the build cache."""

    id: str
    description: str
    bytes: int
    in_use: bool
    shared: bool
    last_used_at: float | None


class Engine:
    """One engine; every method raises ``DockerError`` when it does not answer as expected."""

    def __init__(self, fetch: Fetch, socket_path: str) -> None:
        """Use ``fetch``, which reaches the engine at ``socket_path`` whatever the host name."""
        self._fetch = fetch
        self._socket_path = socket_path
        self._version: tuple[int, int] | None = None
        self._info: dict[str, Any] | None = None

    def root_directory(self) -> str:
        """Return the directory below which the engine keeps its data."""
        return str(self._information().get("DockerRootDir", ""))

    def store(self) -> str:
        """Return the image store: ``containerd``, or the name of the storage driver."""
        info = self._information()
        status = {str(pair[0]): str(pair[1]) for pair in info.get("DriverStatus") or []}
        if status.get("driver-type") == "io.containerd.snapshotter.v1":
            return "containerd"
        return str(info.get("Driver", "unknown"))

    def _information(self) -> Mapping[str, Any]:
        if self._info is None:
            self._info = dict(self._get("/info"))
        return self._info

    def containers(self) -> list[Container]:
        listed = self._get("/containers/json", all="1", size="1")
        return [found for item in listed if (found := self._container(item)) is not None]

    def _container(self, item: Mapping[str, Any]) -> Container | None:
        response = self._ask("GET", f"/containers/{item['Id']}/json")
        if response.status == 404:
            return None
        state = _json(response, "/containers")["State"]
        return Container(
            id=item["Id"],
            name=(item["Names"] or [item["Id"][:12]])[0].lstrip("/"),
            image_id=item["ImageID"],
            state=state["Status"],
            labels=item.get("Labels") or {},
            bytes=item.get("SizeRw") or 0,
            started_at=parse_time(state.get("StartedAt")),
            finished_at=parse_time(state.get("FinishedAt")),
            created_at=float(item["Created"]),
        )

    def images(self) -> list[Image]:
        """Return all images that are not mere steps of others."""
        listed = {item["Id"]: item for item in self._get("/images/json")}
        usage = {item["Id"]: item for item in self._disk_usage("image").get("Images") or []}
        return [_image(item, usage.get(identity, item)) for identity, item in listed.items()]

    def build_cache(self) -> list[CacheRecord]:
        """Return the records of the build cache."""
        records = self._disk_usage("build-cache").get("BuildCache") or []
        return [
            CacheRecord(
                id=item["ID"],
                description=item.get("Description") or item.get("Type") or "",
                bytes=item.get("Size") or 0,
                in_use=bool(item.get("InUse")),
                shared=bool(item.get("Shared")),
                last_used_at=parse_time(item.get("LastUsedAt")) or parse_time(item["CreatedAt"]),
            )
            for item in records
        ]

    def image_uses(self, since: float, until: float) -> list[tuple[str, float]]:
        """Return (image name or identity, time) of containers created or ended in between.

        The engine remembers only its newest events, so this is a help and not a record.
        """
        filters = json.dumps({"type": ["container"], "event": ["create", "start", "die"]})
        response = self._ask(
            "GET", "/events", since=f"{since:.0f}", until=f"{until:.0f}", filters=filters
        )
        if response.status != 200:
            raise self._error("/events", response)
        events = [json.loads(line) for line in response.body.splitlines() if line.strip()]
        return [
            (event["Actor"]["Attributes"]["image"], float(event["time"]))
            for event in events
            if "image" in event.get("Actor", {}).get("Attributes", {})
        ]

    def remove_container(self, identity: str) -> Removal:
        """Remove a stopped container and its anonymous volumes, never by force."""
        return self._delete(f"/containers/{identity}", v="1")

    def remove_image(self, image: Image) -> Removal:
        """Remove an image name by name, never by force, so that a use since then saves it."""
        for reference in image.references or (image.id,):
            removal = self._delete(f"/images/{quote(reference, safe='')}")
            if not removal.removed and removal.reason != "gone":
                return removal
        return Removal(True, 0, "")

    def remove_cache_record(self, identity: str) -> Removal:
        """Prune one record of the build cache."""
        filters = json.dumps({"id": [f"^{identity}$"]})
        response = self._ask("POST", "/build/prune", all="1", filters=filters)
        if response.status == 409:
            return Removal(False, 0, "prune_running")
        if response.status != 200:
            raise self._error("/build/prune", response)
        answer = json.loads(response.body)
        if identity not in (answer.get("CachesDeleted") or []):
            return Removal(False, 0, "in_use")
        return Removal(True, int(answer.get("SpaceReclaimed") or 0), "")

    def _delete(self, path: str, **query: str) -> Removal:
        response = self._ask("DELETE", path, **query)
        if response.status in (200, 204):
            return Removal(True, 0, "")
        if response.status == 404:
            return Removal(False, 0, "gone")
        if response.status == 409:
            return Removal(False, 0, "in_use")
        raise self._error(path, response)

    def _disk_usage(self, kind: str) -> Any:
        if self._interface() >= _TYPED_DISK_USAGE:
            return self._get("/system/df", type=kind)
        return self._get("/system/df")

    def _interface(self) -> tuple[int, int]:
        if self._version is None:
            answer = _json(self._send("GET", "/version"), "/version")
            major, minor = str(answer["ApiVersion"]).split(".")
            self._version = min((int(major), int(minor)), _NEWEST)
        return self._version

    def _get(self, path: str, **query: str) -> Any:
        response = self._ask("GET", path, **query)
        if response.status != 200:
            raise self._error(path, response)
        return _json(response, path)

    def _ask(self, method: str, path: str, **query: str) -> Response:
        major, minor = self._interface()
        words = f"?{urlencode(query)}" if query else ""
        return self._send(method, f"/v{major}.{minor}{path}{words}")

    def _send(self, method: str, path: str) -> Response:
        try:
            request = Request(method, f"http://docker{path}")
            return self._fetch(request, timeout_seconds=TIMEOUT_SECONDS)
        except OSError as error:
            raise DockerError(
                f"the Docker engine does not answer at {self._socket_path} ({error}); "
                "start it, or empty docker in the janitor's configuration"
            ) from error

    def _error(self, path: str, response: Response) -> DockerError:
        text = response.body.decode(errors="replace").strip()[:300]
        return DockerError(f"the Docker engine answered {response.status} to {path}: {text}")


def _json(response: Response, path: str) -> Any:
    try:
        return json.loads(response.body)
    except ValueError as error:
        raise DockerError(f"the Docker engine's answer to {path} is not JSON: {error}") from error


def _image(item: Mapping[str, Any], usage: Mapping[str, Any]) -> Image:
    shared = max(usage.get("SharedSize") or 0, 0)
    tags = [tag for tag in item.get("RepoTags") or [] if tag != "<none>:<none>"]
    digests = [name for name in item.get("RepoDigests") or [] if not name.startswith("<none>")]
    return Image(
        id=item["Id"],
        references=tuple(tags or digests),
        labels=item.get("Labels") or {},
        bytes=max((item.get("Size") or 0) - shared, 0),
        created_at=float(item["Created"]),
    )


def parse_time(text: str | None) -> float | None:
    """Return seconds since the epoch; the engine writes year 1 for "never"."""
    if not text or text.startswith("0001-"):
        return None
    # The engine writes nanoseconds, and leaves trailing zeros out.
    head, _dot, rest = text.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return times.seconds(head + zone)


def has_label(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether one of ``wanted`` (``name`` or ``name=value``) is among the labels."""
    for label in wanted:
        name, equals, value = label.partition("=")
        if name in labels and (not equals or labels[name] == value):
            return True
    return False
