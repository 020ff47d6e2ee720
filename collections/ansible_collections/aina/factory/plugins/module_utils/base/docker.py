"""The Docker engine: through its HTTP interface, and through its client, the program.

Questions go to the socket, which answers in a tenth of the time that the client takes to start.
The client is for what it does better: building, and holding a container's input and output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from . import times
from .disk import Removal
from .errors import FactoryError
from .ports import Completed, Fetch, Request, Response, Run
from .run import CommandError, ended

SOCKET = "/run/docker.sock"
# The newest interface version this was written against; an older engine is asked in its own.
_NEWEST = (1, 51)
_TYPED_DISK_USAGE = (1, 42)
# Adding up what disks hold takes an engine minutes.
TIMEOUT_SECONDS = 300.0
QUERY_SECONDS = 60.0
# States of a container in which it has processes.
ALIVE = ("running", "paused", "restarting")


class DockerError(FactoryError):
    """The engine does not do what it is asked, or not as expected; the message quotes it."""


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
    """A record of the build cache; ``parents`` are the records that it is built upon."""

    id: str
    description: str
    bytes: int
    in_use: bool
    shared: bool
    last_used_at: float | None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Volume:
    """A volume; ``directory`` is where its content lies, empty where that is not on this host."""

    name: str
    labels: Mapping[str, str]
    bytes: int
    in_use: bool
    created_at: float | None
    directory: str


@dataclass(frozen=True)
class Network:
    """A network that somebody has made; the engine's own are none of them."""

    id: str
    name: str
    labels: Mapping[str, str]
    in_use: bool
    created_at: float | None


class Engine:
    """One engine; every method raises ``DockerError`` when it does not answer as expected."""

    def __init__(
        self, fetch: Fetch, socket_path: str = SOCKET, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Use ``fetch``, which reaches the engine at ``socket_path`` whatever the host name."""
        self._fetch = fetch
        self._socket_path = socket_path
        self._timeout_seconds = timeout_seconds
        self._version: tuple[int, int] | None = None
        self._info: dict[str, Any] | None = None

    def root_directory(self) -> str:
        """Return the directory below which the engine keeps its data."""
        return str(self.info().get("DockerRootDir", ""))

    def store(self) -> str:
        """Return the image store: ``containerd``, or the name of the storage driver."""
        info = self.info()
        status = {str(pair[0]): str(pair[1]) for pair in info.get("DriverStatus") or []}
        if status.get("driver-type") == "io.containerd.snapshotter.v1":
            return "containerd"
        return str(info.get("Driver", "unknown"))

    def info(self) -> Mapping[str, Any]:
        """Return what the engine says of itself; it takes a while to, so it is asked once."""
        if self._info is None:
            self._info = dict(self.get("/info"))
        return self._info

    def labelled(self, label: str) -> list[Mapping[str, Any]]:
        """Return the containers with a label, ended ones too, as the engine lists them."""
        return list(self.get("/containers/json", all="1", filters=json.dumps({"label": [label]})))

    def containers(self) -> list[Container]:
        listed = self.get("/containers/json", all="1", size="1")
        return [found for item in listed if (found := self._container(item)) is not None]

    def _container(self, item: Mapping[str, Any]) -> Container | None:
        document = self.find(f"/containers/{item['Id']}/json")
        if document is None:
            return None
        state = document["State"]
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
        listed = {item["Id"]: item for item in self.get("/images/json")}
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
                # Older engines know of one parent.
                parents=tuple(item.get("Parents") or filter(None, [item.get("Parent")])),
            )
            for item in records
        ]

    def volumes(self) -> list[Volume]:
        """Return all volumes; one that a stopped container has is in use."""
        return [
            Volume(
                name=item["Name"],
                labels=item.get("Labels") or {},
                bytes=max((item.get("UsageData") or {}).get("Size") or 0, 0),
                # Unknown is -1, and in use.
                in_use=(item.get("UsageData") or {}).get("RefCount", -1) != 0,
                created_at=parse_time(item.get("CreatedAt")),
                directory=item.get("Mountpoint", "") if item.get("Driver") == "local" else "",
            )
            for item in self._disk_usage("volume").get("Volumes") or []
        ]

    def networks(self) -> list[Network]:
        """Return all networks but those that every engine has."""
        # A container that has never run knows its network by the name alone.
        used = {
            word
            for item in self.get("/containers/json", all="1")
            for name, network in (item.get("NetworkSettings") or {}).get("Networks", {}).items()
            for word in (name, str(network.get("NetworkID")))
        }
        return [
            Network(
                id=item["Id"],
                name=item["Name"],
                labels=item.get("Labels") or {},
                in_use=bool({item["Id"], item["Name"]} & used or item.get("Containers")),
                created_at=parse_time(item.get("Created")),
            )
            for item in self.get("/networks")
            if item["Name"] not in {"bridge", "host", "none"}
        ]

    def remove_volume(self, name: str) -> Removal:
        """Remove a volume, never by force."""
        return self._delete(f"/volumes/{quote(name, safe='')}")

    def remove_network(self, identity: str) -> Removal:
        """Remove a network; the engine refuses one that a container is on."""
        return self._delete(f"/networks/{identity}")

    def image_uses(self, since: float, until: float) -> list[tuple[str, float]]:
        """Return (image name or identity, time) of containers created or ended in between.

        The engine remembers only its newest events, so this is a help and not a record.
        """
        filters = json.dumps({"type": ["container"], "event": ["create", "start", "die"]})
        span = {"since": f"{since:.0f}", "until": f"{until:.0f}", "filters": filters}
        response = self._expect("/events", self.ask("GET", "/events", span), 200)
        events = [json.loads(line) for line in response.body.splitlines() if line.strip()]
        return [
            (event["Actor"]["Attributes"]["image"], float(event["time"]))
            for event in events
            if "image" in event.get("Actor", {}).get("Attributes", {})
        ]

    def stop(self, name: str, grace_seconds: int) -> None:
        """Let a container end by itself within so many seconds, then kill it; gone is well."""
        limit = grace_seconds + QUERY_SECONDS
        path = f"/containers/{name}/stop"
        response = self.ask("POST", path, {"t": str(grace_seconds)}, timeout_seconds=limit)
        self._expect(path, response, 204, 304, 404)

    def discard(self, name: str, *, force: bool = False) -> None:
        """Remove a container and its anonymous volumes; by force, whatever it does; gone is well."""
        path = f"/containers/{name}"
        response = self.ask("DELETE", path, {"v": "1", "force": str(int(force))})
        if b"already in progress" not in response.body:
            self._expect(path, response, 204, 404)

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

    def prune_cache(self, identities: Iterable[str]) -> frozenset[str] | None:
        """Prune these records of the build cache at once, children before their parents.

        Return those that went; None while another prune is at work.
        """
        filters = json.dumps({"id": [f"^({'|'.join(identities)})$"]})
        response = self.ask("POST", "/build/prune", {"all": "1", "filters": filters})
        if response.status == 409:
            return None
        answer = json.loads(self._expect("/build/prune", response, 200).body)
        return frozenset(answer.get("CachesDeleted") or [])

    def _delete(self, path: str, **query: str) -> Removal:
        response = self.ask("DELETE", path, query)
        if response.status in (200, 204):
            return Removal(True, 0, "")
        if response.status == 404:
            return Removal(False, 0, "gone")
        # Of a network that has containers the engine says that it is forbidden.
        if response.status in (403, 409):
            return Removal(False, 0, "in_use")
        raise self._error(path, response)

    def _expect(self, path: str, response: Response, *statuses: int) -> Response:
        if response.status not in statuses:
            raise self._error(path, response)
        return response

    def _disk_usage(self, kind: str) -> Any:
        if self._interface() >= _TYPED_DISK_USAGE:
            return self.get("/system/df", type=kind)
        return self.get("/system/df")

    def _interface(self) -> tuple[int, int]:
        if self._version is None:
            answer = _json(self._send("GET", "/version"), "/version")
            major, minor = str(answer["ApiVersion"]).split(".")
            self._version = min((int(major), int(minor)), _NEWEST)
        return self._version

    def get(self, path: str, **query: str) -> Any:
        """Return what is at ``path``."""
        return _json(self._expect(path, self.ask("GET", path, query), 200), path)

    def find(self, path: str, **query: str) -> Any:
        """Return what is at ``path``; None when the engine has nothing of that name."""
        response = self.ask("GET", path, query)
        return None if response.status == 404 else _json(self._expect(path, response, 200), path)

    def create(self, path: str, body: Any = None, **query: str) -> Any:
        """Have the engine do what ``path`` names; return its answer, None where it has none."""
        response = self._expect(path, self.ask("POST", path, query, body), 201, 204)
        return _json(response, path) if response.body else None

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        """Return the engine's answer, whatever its status."""
        words = f"{path}?{urlencode(query)}" if query else path
        version = self._interface()
        response = self._send(method, words, version, body, timeout_seconds)
        if response.status == 400:
            # Who lives long may meet another engine than the one that was asked first.
            self._version = None
            if (again := self._interface()) != version:
                response = self._send(method, words, again, body, timeout_seconds)
        return response

    def _send(
        self,
        method: str,
        path: str,
        version: tuple[int, int] | None = None,
        body: Any = None,
        timeout_seconds: float | None = None,
    ) -> Response:
        prefix = "/v{}.{}".format(*version) if version else ""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        content = json.dumps(body).encode() if body is not None else None
        request = Request(method, f"http://docker{prefix}{path}", headers, content)
        try:
            return self._fetch(request, timeout_seconds=timeout_seconds or self._timeout_seconds)
        except OSError as error:
            raise DockerError(
                f"the Docker engine does not answer at {self._socket_path} ({error}); "
                "see systemctl status docker"
            ) from error

    def _error(self, path: str, response: Response) -> DockerError:
        text = response.body.decode(errors="replace").strip()[:300]
        return DockerError(f"the Docker engine answered {response.status} to {path}: {text}")


@dataclass
class Client:
    """Docker's client; ``words`` are its name and first options."""

    run: Run
    words: Sequence[str] = ("docker",)
    environment: Mapping[str, str] = field(default_factory=lambda: {"LC_ALL": "C"})

    def call(
        self,
        *words: str,
        stdin: bytes = b"",
        timeout_seconds: float = QUERY_SECONDS,
        environment: Mapping[str, str] | None = None,
    ) -> Completed:
        """Run one command, whatever it ends with; ``environment`` is added to the client's own.

        Raises:
            DockerError: it did not run, or took too long.

        """
        try:
            return ended(
                self.run,
                [*self.words, *words],
                name=f"docker {words[0]}",
                stdin=stdin,
                environment={**self.environment, **(environment or {})},
                timeout_seconds=timeout_seconds,
            )
        except CommandError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise DockerError(
                    "there is no docker client on this host; converge the role docker_host first"
                ) from None
            raise DockerError(str(error)) from error

    def ask(self, *words: str, timeout_seconds: float = QUERY_SECONDS) -> str:
        """Run one command that must succeed, and return what it prints.

        Raises:
            DockerError: it failed, or took too long.

        """
        done = self.call(*words, timeout_seconds=timeout_seconds)
        if not done.ok:
            raise DockerError(f"docker {words[0]}: {done.said}")
        return done.stdout.decode(errors="replace").strip()


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
