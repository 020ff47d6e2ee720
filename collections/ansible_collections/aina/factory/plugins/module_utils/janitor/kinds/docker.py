"""Docker's leftovers, kind by kind.

``docker system prune`` is of no use here: its age means something else for each kind and for
each image store, it takes base images while no container runs, and it ignores labels for the
build cache.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...base import files, paths
from ...base.disk import Removal
from ...base.docker import CacheRecord, Container, Engine, Image, Network, Volume, has_label
from ...base.paths import PathError
from ...base.settings import setting
from .. import image_use
from ..host import Host
from ..image_use import ImageUse
from ..limits import Limited
from ..model import Candidate, Kind, KindLimits

# What containers start from: of these only the replaced ones go, which have no name any more.
FACTORY_IMAGES = ("aina-factory/*:current", "aina-factory/*:previous", "aina-factory/base:*")
_ENDED = frozenset({"exited", "dead", "created"})


@dataclass(frozen=True)
class Marks:
    """How containers of lanes and images to keep are known."""

    lane_labels: tuple[str, ...]
    keep_labels: tuple[str, ...]
    base_images: tuple[str, ...]


@dataclass(frozen=True)
class DockerSettings:
    """What goes from the engine behind ``socket_path``."""

    enabled: bool = setting(True, "Whether the engine's leftovers go.")
    socket_path: str = setting("/run/docker.sock", "The engine's socket.", kind="path")
    lane_labels: tuple[str, ...] = setting(
        ("lane",), "A container with one of these labels belongs to a lane.", adds=False
    )
    keep_labels: tuple[str, ...] = setting(
        ("factory.keep=true",),
        "Images and containers with one of these labels stay.",
        adds=True,
    )
    base_images: tuple[str, ...] = setting(
        FACTORY_IMAGES, "Images with a name that matches one of these patterns stay.", adds=True
    )
    containers: Limited = setting(
        Limited(max_age_days=0.25, min_age_hours=1),
        "Stopped containers of lanes, by the time they ended.",
    )
    dangling_images: Limited = setting(
        Limited(max_age_days=1, min_age_hours=1), "Images without a name."
    )
    build_cache: Limited = setting(
        Limited(max_age_days=7, min_age_hours=1, max_total_mib=20 * 1024),
        "Records of the build cache, by last use.",
    )
    images: Limited = setting(Limited(min_age_hours=24), "Images with a name, by last use.")
    leftover_labels: tuple[str, ...] = setting(
        ("lane",),
        "Volumes and networks with one of these labels go when no container has them; others stay.",
        adds=False,
    )
    volumes: Limited = setting(
        Limited(max_age_days=14, min_age_hours=24, watermark=False),
        "Labelled volumes that no container has, by the last change of their content.",
    )
    networks: Limited = setting(
        Limited(max_age_days=1, min_age_hours=1, watermark=False),
        "Labelled networks on which no container is, by the time they were made.",
    )

    @property
    def marks(self) -> Marks:
        """How containers of lanes and images to keep are known."""
        return Marks(self.lane_labels, self.keep_labels, self.base_images)

    def kinds(self, host: Host) -> Sequence[Kind]:
        """Return Docker's kinds in the order that keeps builds fast."""
        if not self.enabled:
            return []
        engine = Engine(host.at(self.socket_path), self.socket_path)
        uses = Uses(engine, host.image_use_path, host.image_heard_path, host.now)
        host.keep.append(uses.keep)

        def counted() -> bool:
            return _lies_on(engine.root_directory(), host.device)

        return [
            LaneContainers(self.containers.limits, engine, self.marks, counted),
            Images(self.dangling_images.limits, engine, self.marks, counted, True, uses.use),
            BuildCache(self.build_cache.limits, engine, counted),
            Volumes(self.volumes.limits, engine, self, counted),
            Networks(self.networks.limits, engine, self),
            Images(self.images.limits, engine, self.marks, counted, False, uses.use),
        ]


def _lies_on(directory: str, device: int) -> bool:
    try:
        return Path(directory).stat().st_dev == device
    except OSError:
        return False


@dataclass
class Uses:
    """What is known about the use of images: read once, learned once, kept if told to."""

    engine: Engine
    path: Path
    heard_path: Path
    now: float
    _use: ImageUse | None = field(default=None, init=False)

    def use(self) -> ImageUse:
        """Return what is known now, this run's observations included."""
        if self._use is None:
            own, heard = map(image_use.read, (self.path, self.heard_path))
            known = image_use.together(own, heard)
            self._use = image_use.learn(
                known,
                self.engine.images(),
                self.engine.containers(),
                self.engine.image_uses(known.learned_at or 0.0, self.now),
                self.now,
                store=self.engine.store(),
            )
        return self._use

    def keep(self) -> None:
        """Write what was learned, if anything was."""
        if self._use is None:
            return
        files.write(self.path, image_use.dump(self._use).encode(), 0o600)


@dataclass
class LaneContainers:
    """Stopped containers of lanes; containers without a lane's label are not looked at."""

    limits: KindLimits
    engine: Engine
    marks: Marks
    counted: Callable[[], bool]
    name: str = field(default="docker_containers", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the lanes' containers; see ``Kind``."""
        return [
            self._candidate(container)
            for container in self.engine.containers()
            if has_label(container.labels, self.marks.lane_labels)
        ]

    def _candidate(self, container: Container) -> Candidate:
        held = "" if container.state in _ENDED else "running"
        if has_label(container.labels, self.marks.keep_labels):
            held = "labelled_keep"
        return Candidate(
            kind=self.name,
            target=container.name,
            bytes=container.bytes,
            last_used=container.finished_at or container.started_at or container.created_at,
            held_by=held,
            counted=self.counted(),
            handle=container,
        )

    def remove(self, candidate: Candidate) -> Removal:
        """Remove the container; see ``Kind``."""
        container = candidate.handle
        if not isinstance(container, Container):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        removal = self.engine.remove_container(container.id)
        return Removal(True, candidate.bytes, "") if removal.removed else removal


@dataclass
class Images:
    """Images, by their last use; those without a name apart, since they go first."""

    limits: KindLimits
    engine: Engine
    marks: Marks
    counted: Callable[[], bool]
    dangling: bool
    use: Callable[[], ImageUse]

    @property
    def name(self) -> str:
        return "docker_dangling_images" if self.dangling else "docker_images"

    def inventory(self) -> Sequence[Candidate]:
        """List the images; see ``Kind``."""
        in_use = {container.image_id for container in self.engine.containers()}
        use = self.use()
        chosen = [
            image for image in self.engine.images() if self.dangling != bool(image.references)
        ]
        return [self._candidate(image, in_use, use) for image in chosen]

    def _candidate(self, image: Image, in_use: Collection[str], use: ImageUse) -> Candidate:
        return Candidate(
            kind=self.name,
            target=image.references[0] if image.references else image.id,
            bytes=image.bytes,
            last_used=use.last_used(image.id),
            held_by=self._held_by(image, in_use),
            counted=self.counted(),
            handle=image,
        )

    def _held_by(self, image: Image, in_use: Collection[str]) -> str:
        if has_label(image.labels, self.marks.keep_labels):
            return "labelled_keep"
        if any(
            fnmatch.fnmatchcase(reference, pattern)
            for reference in image.references
            for pattern in self.marks.base_images
        ):
            return "base_image"
        return "in_use" if image.id in in_use else ""

    def remove(self, candidate: Candidate) -> Removal:
        """Remove the image; see ``Kind``."""
        image = candidate.handle
        if not isinstance(image, Image):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        removal = self.engine.remove_image(image)
        return Removal(True, candidate.bytes, "") if removal.removed else removal


@dataclass
class BuildCache:
    """Records of the build cache by last use and total size.

    The engine does not honour labels here, and removes no record that another one is built upon.
    A record therefore counts as used when one above it was, so that what goes is whole branches,
    and all of them go in one prune. Records that an image shares free nothing.
    """

    limits: KindLimits
    engine: Engine
    counted: Callable[[], bool]
    name: str = field(default="docker_build_cache", init=False)
    _above: dict[str, list[str]] = field(default_factory=dict, init=False)
    _gone: frozenset[str] | None = field(default=frozenset(), init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the records; see ``Kind``."""
        records = self.engine.build_cache()
        self._above = {}
        for record in records:
            for parent in record.parents:
                self._above.setdefault(parent, []).append(record.id)
        found: dict[str, Candidate] = {}
        for record in _from_the_top(records, self._above):
            above = [found[child] for child in self._above.get(record.id, ()) if child in found]
            found[record.id] = self._candidate(record, above)
        return list(found.values())

    def _candidate(self, record: CacheRecord, above: Sequence[Candidate]) -> Candidate:
        held = next((other.held_by for other in above if other.held_by), "")
        # Later by the least time: of equally old ones what is above goes first.
        later = [math.nextafter(other.last_used or math.inf, math.inf) for other in above]
        last_used = max([record.last_used_at or math.inf, *later])
        return Candidate(
            kind=self.name,
            target=record.id,
            bytes=0 if record.shared else record.bytes,
            last_used=None if last_used == math.inf else last_used,
            held_by="in_use" if record.in_use else "shared" if record.shared else held,
            counted=self.counted(),
        )

    def prepare(self, going: Sequence[Candidate]) -> None:
        """Prune all that goes, with what is built upon it and takes no space."""
        wanted: set[str] = set()
        pending = [candidate.target for candidate in going]
        while pending:
            one = pending.pop()
            if one not in wanted:
                wanted.add(one)
                pending += self._above.get(one, ())
        self._gone = self.engine.prune_cache(sorted(wanted)) if wanted else frozenset()

    def remove(self, candidate: Candidate) -> Removal:
        """Say whether the record went; see ``Kind``."""
        if self._gone is None:
            return Removal(False, 0, "prune_running")
        if candidate.target not in self._gone:
            return Removal(False, 0, "in_use")
        return Removal(True, candidate.bytes, "")


@dataclass
class Volumes:
    """Volumes that no container has; those without one of the labels are not looked at."""

    limits: KindLimits
    engine: Engine
    settings: DockerSettings
    counted: Callable[[], bool]
    name: str = field(default="docker_volumes", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the labelled volumes; see ``Kind``."""
        return [
            Candidate(
                kind=self.name,
                target=volume.name,
                bytes=volume.bytes,
                last_used=_changed(volume),
                held_by=_held(self.settings, volume),
                counted=self.counted(),
            )
            for volume in self.engine.volumes()
            if has_label(volume.labels, self.settings.leftover_labels)
        ]

    def remove(self, candidate: Candidate) -> Removal:
        """Remove the volume; see ``Kind``."""
        removal = self.engine.remove_volume(candidate.target)
        return Removal(True, candidate.bytes, "") if removal.removed else removal


def _held(settings: DockerSettings, found: Volume | Network) -> str:
    if has_label(found.labels, settings.keep_labels):
        return "labelled_keep"
    return "in_use" if found.in_use else ""


def _changed(volume: Volume) -> float | None:
    """Return when its content last changed; nothing where that cannot be seen."""
    if volume.in_use or not volume.directory or volume.created_at is None:
        return None if not volume.in_use else volume.created_at
    try:
        inside = paths.entries(volume.directory)
    except (OSError, PathError):
        return None
    return max([volume.created_at, *(entry.last_used for entry in inside)])


@dataclass
class Networks:
    """Networks on which no container is; those without one of the labels are not looked at."""

    limits: KindLimits
    engine: Engine
    settings: DockerSettings
    name: str = field(default="docker_networks", init=False)

    def inventory(self) -> Sequence[Candidate]:
        """List the labelled networks; see ``Kind``."""
        return [
            Candidate(
                kind=self.name,
                target=network.name,
                bytes=0,
                last_used=network.created_at,
                held_by=_held(self.settings, network),
                counted=False,
                handle=network,
            )
            for network in self.engine.networks()
            if has_label(network.labels, self.settings.leftover_labels)
        ]

    def remove(self, candidate: Candidate) -> Removal:
        """Remove the network; see ``Kind``."""
        network = candidate.handle
        if not isinstance(network, Network):
            raise TypeError(f"{candidate.target} was not listed by {self.name}")
        return self.engine.remove_network(network.id)


def _from_the_top(
    records: Sequence[CacheRecord], above: Mapping[str, Sequence[str]]
) -> Iterator[CacheRecord]:
    """Yield each record after all those that are built upon it."""
    known = {record.id: record for record in records}
    waiting = {record.id: len(above.get(record.id, ())) for record in records}
    ready = [identity for identity, count in waiting.items() if count == 0]
    while ready:
        record = known[ready.pop()]
        yield record
        for parent in record.parents:
            if parent in waiting:
                waiting[parent] -= 1
                if waiting[parent] == 0:
                    ready.append(parent)
