"""What a slot depends on besides GitHub: disk, engine, image, isolation, and its own program."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from factory.core.base.docker import DockerError
from factory.core.base.ports import Run
from factory.core.images.catalogue import ci_image
from factory.core.images.settings import PREFIX
from factory.core.runners import container, layout
from factory.core.runners.container import ContainerRun
from factory.core.runners.github_client import GitHubClient
from factory.core.runners.settings import Instance, Mode
from factory.runners import isolation
from factory.runners.engine import Info, SlotEngine

# Where the engine keeps images and containers, whichever of its stores it uses.
_STORES = ("/", "/var/lib/docker", "/var/lib/containerd")
_SOCKET = Path("/run/docker.sock")
# The part of a file system's files that must be free; some have no bound and tell none.
_FILES_FREE_MIN = 0.05


@dataclass
class Preflight:
    """Of one slot."""

    slot: str
    instance: Instance
    github: GitHubClient
    engine: SlotEngine
    run: Run
    configuration: Path
    image_records: Path = layout.IMAGE_RECORDS
    # What the last check before a run found, for that run: every question to the engine delays the next job.
    _info: Info | None = field(default=None, init=False)
    _image: str | None = field(default=None, init=False)

    def preflight(self) -> str:
        """Return what forbids to start a runner now; "" when nothing does."""
        return self._engine_problem() or self.recheck()

    def recheck(self) -> str:
        """Return what has come to forbid to start a container that is made already."""
        found = (self._guard(), self._disk(), isolation.problem(self.github.settings, self.run))
        return next(filter(None, found), "")

    def _engine_problem(self) -> str:
        try:
            self._info = self.engine.info()
            self._image = image = self.image()
            if self.engine.image_id(image) is None:
                return f"there is no image {image}; converge the images, or set image for {self.instance.name}"
        except DockerError as error:
            return f"the container engine does not answer: {error}"
        return ""

    def _guard(self) -> str:
        if self.github.recorded(self.instance, self.github.settings.timing.guard_max_age_seconds):
            return ""
        return "; ".join(self.github.judge(self.instance).problems)

    def _disk(self) -> str:
        floor = self.github.settings.disk_min_free_mib
        for store in filter(os.path.isdir, _STORES):
            free = shutil.disk_usage(store).free >> 20
            if free < floor:
                return f"{store} has {free} MiB left; jobs are taken from {floor} MiB on (factory janitor frees some)"
            usage = os.statvfs(store)
            if usage.f_favail < usage.f_files * _FILES_FREE_MIN:
                return f"{store} has room for {usage.f_favail} of {usage.f_files} files; factory janitor frees some"
        return ""

    def image(self) -> str:
        """Return the image of the next container."""
        candidates = image_names(self.instance)
        for name in candidates[:-1]:
            if self.engine.image_id(name) is not None:
                return name
        return candidates[-1]

    def built(self) -> str:
        """Return what changes when an image was put in force: its record is replaced then."""
        return "\n".join(_stamps([self.image_records]))

    def container_run(self, name: str, runner_id: int) -> ContainerRun:
        """Describe the next container.

        Raises:
            DockerError: its place among the control groups is unknown.

        """
        settings = self.github.settings
        info = self._info or self.engine.info()
        pools = tuple(i for i in settings.instances if i.mode == Mode.EPHEMERAL and i.present)
        return ContainerRun(
            slot=self.slot,
            name=name,
            runner_id=runner_id,
            image=self._image or self.image(),
            cgroup_parent=self._cgroup_parent(info),
            cpuset=container.cpuset(pools, self.slot, info.cpus_count),
            network=settings.network.name,
            ca_file=settings.ca_file,
            has_quota=container.has_quota(info.storage_driver, info.root_dir, _mountinfo()),
            docker_group_id=_SOCKET.stat().st_gid if self.instance.docker_socket_reason else 0,
        )

    def _cgroup_parent(self, info: Info) -> str:
        """Return where all slots together are bounded, as the engine's driver names it."""
        if info.cgroup_driver == "systemd":
            return layout.SLICE
        argv = ["systemctl", "show", "--property=ControlGroup", "--value", layout.SLICE]
        done = self.run(argv, timeout_seconds=30)
        path = done.stdout.decode(errors="replace").strip()
        if not done.ok or not path.startswith("/"):
            raise DockerError(
                f"{layout.SLICE} is not active; start it, it bounds all slots together"
            )
        return path

    def fingerprint(self) -> str:
        """Return what changes when this process is outdated."""
        library = Path(__file__).parents[2]
        files = [
            self.configuration,
            self.configuration.parent / "conf.d/runners.json",
            Path(f"/etc/systemd/system/{layout.LOOP_PREFIX}.service"),
            *library.rglob("*.py"),
        ]
        return "\n".join(_stamps(files))

    def rebuild(self) -> None:
        """Have the image built anew; the healer starts the slot again once it is."""
        unit = self.github.settings.rebuild_unit
        if unit:
            self.run(["systemctl", "start", "--no-block", unit], timeout_seconds=30)


def image_names(instance: Instance) -> list[str]:
    """Return the images that an instance takes, the first that there is.

    One that its project has for one of its labels, its project's, or the common one.
    """
    if instance.image:
        return [instance.image]
    if not instance.project:
        return [layout.COMMON_IMAGE]
    own = [ci_image(instance.project, label) for label in instance.labels]
    own.append(f"{instance.project}-ci")
    return [*(f"{PREFIX}/{name}:current" for name in own), layout.COMMON_IMAGE]


def _mountinfo() -> str:
    # The first process sees what the engine sees; a supervisor has mounts of its own.
    try:
        return Path("/proc/1/mountinfo").read_text(errors="replace")
    except OSError:
        return ""


def _stamps(files: Iterable[Path]) -> Iterator[str]:
    for path in sorted(files):
        try:
            status = path.stat()
        except OSError:
            continue
        yield f"{path} {status.st_ctime_ns} {status.st_size}"


def random_fraction() -> float:
    """Return a random number in [0, 1)."""
    return random.random()  # noqa: S311 - it spreads retries, nothing secret


def boot_time() -> float:
    """Return the wall-clock time at which the monotonic clock was zero."""
    return time.time() - time.monotonic()
