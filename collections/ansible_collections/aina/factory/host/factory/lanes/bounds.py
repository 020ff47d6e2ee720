"""What handles a lane's bytes on this side, in a unit with limits: the supervisor and all that it starts."""

from __future__ import annotations

import logging
import os

from factory import effects
from factory.core.lanes.settings import MIB, LaneProject

# Beside a frame, which is held some times over: as read, unpacked, and as git takes it.
_MEMORY_MIB, _FRAMES_COUNT = 448, 4
_TASKS_MAX_COUNT = 256
# Beside a lane's own time: to ask GitHub before, to hand over and to deliver after.
_AROUND_SECONDS = 7200.0
_MANAGER = (
    *("org.freedesktop.systemd1", "/org/freedesktop/systemd1"),
    *("org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))"),
)
_log = logging.getLogger(__name__)


def unit(lane: str) -> str:
    """Return the name of the unit of a lane's supervisor."""
    return f"factory-lane-{lane}.scope"


def memory_max_bytes(project: LaneProject) -> int:
    """Return what the supervisor of a lane and its programs may have together."""
    return (_MEMORY_MIB + _FRAMES_COUNT * project.limits.bundle_max_mib) * MIB


def bound(lane: str, project: LaneProject) -> bool:
    """Put this process into a unit of its own; return whether that was done.

    Whatever a lane hands over, others are not what pays: the kernel ends what is over the limit,
    and the reaper has the lane watched again.
    """
    life_microseconds = int((project.limits.timeout_seconds + _AROUND_SECONDS) * 1e6)
    properties = (
        ("PIDs", "au", "1", str(os.getpid())),
        ("MemoryMax", "t", str(memory_max_bytes(project))),
        ("MemorySwapMax", "t", "0"),
        ("TasksMax", "t", str(_TASKS_MAX_COUNT)),
        ("RuntimeMaxUSec", "t", str(life_microseconds)),
        ("CollectMode", "s", "inactive-or-failed"),
    )
    words = [word for each in properties for word in each]
    argv = [
        "busctl",
        "call",
        "--quiet",
        *_MANAGER,
        unit(lane),
        "fail",
        str(len(properties)),
        *words,
        "0",
    ]
    try:
        done = effects.run(argv, timeout_seconds=10)
    except OSError as error:
        _log.warning("lane %s: its supervisor has no limits: %s", lane, error)
        return False
    if not done.ok:
        _log.warning("lane %s: its supervisor has no limits: %s", lane, done.said)
    return done.ok
