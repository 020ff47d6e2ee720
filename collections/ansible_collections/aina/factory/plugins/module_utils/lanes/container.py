"""The one way in which a lane's container is started: every flag stands here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .settings import MIB, LaneProject

UID = 10001
HOME, WORK, MIRROR, STORE, GATEWAY, SEED = (
    "/home/lane",
    "/work",
    "/mirror.git",
    "/store",
    "/run/lane",
    "/seed",
)
STOP_SECONDS = 10
# Its supervisor ends a lane at its time limit and says so; by itself it ends this much later, should nobody.
UNWATCHED_SECONDS = 10


@dataclass(frozen=True)
class Place:
    """Where this lane's parts lie on the host; an empty one is not there."""

    lane: str
    issue: int
    socket_dir: str
    mirror: str
    store: str
    seed: str
    cgroup_parent: str
    deadline: float
    supervisor: str
    session: str = ""


def name(lane: str) -> str:
    """Return the name of a lane's container."""
    return f"factory-lane-{lane}"


def cgroup_parent(driver: str, slice_name: str, control_group: str) -> str:
    """Return the parent that puts a container below the slice, as the engine's driver wants it.

    Driver ``systemd`` (the rule with cgroup v2) has systemd make the container's scope and takes
    the slice's name. Driver ``cgroupfs`` makes a directory itself and takes the path, which
    systemd alone knows: ``control_group``, where a dash in a slice's name is a level.

    Raises:
        ValueError: the slice is not there, so that nothing would bound all lanes together.

    """
    if not slice_name.endswith(".slice") or "/" in slice_name:
        raise ValueError(f"{slice_name!r} is no slice of systemd, such as factory-lanes.slice")
    if not control_group.endswith(f"/{slice_name}"):
        raise ValueError(f"{slice_name} is not active; converge the role lanes")
    return slice_name if driver == "systemd" else control_group


def creation(project: LaneProject, place: Place) -> dict[str, Any]:
    """Return the whole container: no network, no right, no writable file but in memory."""
    limits, agent = project.limits, project.agent
    own = f"rw,exec,nosuid,nodev,uid={UID},gid={UID}"
    memory_bytes = limits.memory_mib * MIB
    return {
        "Image": project.image,
        "Cmd": agent.argv(project.model, project.effort, place.session),
        "User": f"{UID}:{UID}",
        "Env": [f"{key}={value}" for key, value in _environment(project, place)],
        "Labels": dict(_labels(project, place)),
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "OpenStdin": True,
        "StdinOnce": True,
        "StopTimeout": STOP_SECONDS,
        "HostConfig": {
            "AutoRemove": True,
            "Init": True,
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "NetworkMode": "none",
            "IpcMode": "private",
            "LogConfig": {"Type": "none"},
            "CgroupParent": place.cgroup_parent,
            "NanoCpus": int(limits.cpus * 1e9),
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,
            "PidsLimit": limits.pids_count,
            "Ulimits": [
                {"Name": "nofile", "Soft": 4096, "Hard": 8192},
                {"Name": "core", "Soft": 0, "Hard": 0},
            ],
            "Tmpfs": {
                HOME: f"{own},size={limits.home_mib}m,mode=0700",
                WORK: f"{own},size={limits.work_mib}m,mode=0755",
                "/tmp": f"rw,exec,nosuid,nodev,size={limits.temporary_mib}m,mode=1777",  # noqa: S108 - the container's
            },
            "Mounts": [
                {"Type": "bind", "ReadOnly": True, "Source": source, "Target": target}
                for source, target in _mounts(place)
            ],
        },
    }


def _labels(project: LaneProject, place: Place) -> Sequence[tuple[str, str]]:
    return (
        ("lane", place.lane),
        ("lane.project", project.name),
        ("lane.issue", str(place.issue)),
        ("lane.deadline", f"{place.deadline:.0f}"),
        ("lane.supervisor", place.supervisor),
        ("aina-factory.role", "lane"),
        ("aina-factory.instance", place.lane),
    )


def _mounts(place: Place) -> list[tuple[str, str]]:
    wanted = [
        (place.socket_dir, GATEWAY),
        (place.mirror, MIRROR),
        (place.store, STORE),
        (place.seed, SEED),
    ]
    return [(source, target) for source, target in wanted if source]


def _environment(project: LaneProject, place: Place) -> Sequence[tuple[str, str]]:
    limits, agent = project.limits, project.agent
    return (
        ("HOME", HOME),
        ("LANE_ID", place.lane),
        ("LANE_ISSUE", str(place.issue)),
        ("LANE_HOME", agent.home),
        ("LANE_INSTRUCTIONS", agent.instructions),
        ("LANE_SESSIONS", agent.sessions),
        ("LANE_HANDOVER_MAX_BYTES", str(limits.bundle_max_mib * MIB)),
        ("LANE_TIMEOUT_SECONDS", f"{limits.timeout_seconds + UNWATCHED_SECONDS:.0f}"),
        ("HTTPS_PROXY", "http://127.0.0.1:3128"),
        ("https_proxy", "http://127.0.0.1:3128"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
        *sorted(agent.variables(project.model, project.effort).items()),
    )
