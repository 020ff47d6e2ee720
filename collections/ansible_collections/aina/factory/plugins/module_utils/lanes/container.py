"""The one way in which a lane's container is started: every flag stands here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.aina.factory.plugins.module_utils.lanes.settings import LaneProject

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


@dataclass(frozen=True)
class Place:
    """Where this lane's parts lie on the host; an empty one is not there."""

    lane: str
    issue: int
    base: str
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


def argv(project: LaneProject, place: Place) -> list[str]:
    """Return the whole ``docker run``: no network, no right, no writable file but in memory."""
    limits, engine = project.limits, project.engine
    own = f"rw,exec,nosuid,nodev,uid={UID},gid={UID}"
    flags = [
        *("run", "--rm", "--interactive", "--init", f"--name={name(place.lane)}"),
        f"--user={UID}:{UID}",
        *("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        *("--network=none", "--ipc=private", "--log-driver=none", "--pull=never"),
        f"--cgroup-parent={place.cgroup_parent}",
        f"--cpus={limits.cpus:g}",
        f"--memory={limits.memory_mib}m",
        f"--memory-swap={limits.memory_mib}m",
        f"--pids-limit={limits.pids_count}",
        *("--ulimit=nofile=4096:8192", "--ulimit=core=0"),
        f"--stop-timeout={STOP_SECONDS}",
        f"--tmpfs={HOME}:{own},size={limits.home_mib}m,mode=0700",
        f"--tmpfs={WORK}:{own},size={limits.work_mib}m,mode=0755",
        f"--tmpfs=/tmp:rw,exec,nosuid,nodev,size={limits.temporary_mib}m,mode=1777",
    ]
    for key, value in _labels(project, place):
        flags.append(f"--label={key}={value}")
    for source, target in _mounts(place):
        flags.append(f"--mount=type=bind,readonly,source={source},target={target}")
    for key, value in _environment(project, place):
        flags.append(f"--env={key}={value}")
    agent = engine.argv(project.model, project.effort, place.session)
    return [*flags, project.image, *agent]


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
    limits, engine = project.limits, project.engine
    return (
        ("HOME", HOME),
        ("LANE_BASE", place.base),
        ("LANE_ID", place.lane),
        ("LANE_ISSUE", str(place.issue)),
        ("LANE_HOME", engine.home),
        ("LANE_INSTRUCTIONS", engine.instructions),
        ("LANE_SESSIONS", engine.sessions),
        ("LANE_TIMEOUT_SECONDS", f"{limits.timeout_seconds:.0f}"),
        ("HTTPS_PROXY", "http://127.0.0.1:3128"),
        ("https_proxy", "http://127.0.0.1:3128"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
        *sorted(engine.environment.items()),
    )
