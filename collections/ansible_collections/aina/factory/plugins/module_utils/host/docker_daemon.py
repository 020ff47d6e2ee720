"""Decide what the container engine's configuration file holds and how it takes effect.

Pure: no file is read and no program runs here. Two questions are kept apart: what the
file is to hold (:func:`merge`), and what the running engine lacks of it
(:func:`effective_settings`, :func:`decide`). The second never trusts that an earlier run
got as far as restarting the engine.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ..base.errors import FactoryError

Settings = Mapping[str, Any]
KeyPath = tuple[str, ...]

SURVIVES_LABEL = "aina.factory.survives-restart"

# Parts that only make sense as a whole: options of another log driver keep the engine
# from starting, and a foreign policy beside our limits makes the engine ignore them.
_ATOMIC: frozenset[KeyPath] = frozenset({("log-opts",), ("builder", "gc")})

# Keys that a running engine takes over on SIGHUP. "features" is left out on purpose: the
# choice of the image store is among them and needs a restart.
_RELOADABLE = frozenset(
    {
        "debug",
        "insecure-registries",
        "labels",
        "live-restore",
        "max-concurrent-downloads",
        "max-concurrent-uploads",
        "max-download-attempts",
        "registry-mirrors",
        "shutdown-timeout",
    }
)
_BOUND_TO = "com.docker.network.bridge.host_binding_ipv4"
# An engine that starts while containers run, which live-restore has kept, leaves its networks as they are.
OF_NETWORK = frozenset({"bip", "ip", "mtu"})
OPTION_OF = {"ip": _BOUND_TO, "mtu": "com.docker.network.driver.mtu"}
_FIRST_ENGINE_WITH_THREE_LIMITS = 28
_FIRST_ENGINE_WITH_NETWORK_DEFAULTS = 24
FIRST_ENGINE_THAT_VALIDATES = 23


# What only makes sense together: where one of these is somebody's, no default touches the others.
_TOGETHER: tuple[frozenset[KeyPath], ...] = (
    frozenset({("log-driver",), ("log-opts",)}),
    frozenset({("ip",), ("default-network-opts", "bridge", _BOUND_TO)}),
)


class DockerDaemonError(FactoryError):
    """The engine cannot be brought to the declared settings; the message says why."""


@dataclass(frozen=True)
class RunningContainer:
    """A running container; ``survives`` when its label allows the engine to be restarted."""

    name: str
    survives: bool


@dataclass(frozen=True)
class RunningEngine:
    """The running engine; ``started_at`` in seconds since the epoch.

    ``default_network`` is what its default network has of the settings of :data:`OF_NETWORK`.
    ``instance`` differs from one start of the engine to the next. ``image_store`` is
    ``containerd`` or the name of the graph driver.
    """

    instance: str
    started_at: float
    containers: tuple[RunningContainer, ...]
    builds: int
    live_restore: bool
    log_driver: str
    image_store: str
    images: int
    swarm: bool
    default_network: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What earlier runs wrote down.

    ``owned`` are the keys that are ours; ``replaced`` what stood there before us;
    ``settings`` what the engine ``instance`` ran with; ``original`` the file's text before us.
    """

    owned: tuple[KeyPath, ...] = ()
    replaced: tuple[tuple[KeyPath, Any], ...] = ()
    instance: str = ""
    settings: Settings | None = None
    original: str = ""


@dataclass(frozen=True)
class MergedFile:
    """The file's new content; keys in dotted notation in ``foreign`` and ``overridden``."""

    settings: dict[str, Any]
    owned: tuple[KeyPath, ...]
    replaced: tuple[tuple[KeyPath, Any], ...]
    foreign: tuple[str, ...]
    overridden: tuple[str, ...]


class RestartPolicy(StrEnum):
    """When the engine may be restarted.

    DRAINED: nothing runs, or only containers whose label says that they survive it.
    SURVIVABLE: containers survive (live-restore is in force), though whoever is attached
    to one loses the connection. NEVER: only report.
    """

    DRAINED = "drained"
    SURVIVABLE = "survivable"
    NEVER = "never"


@dataclass(frozen=True)
class RestartDecision:
    """How settings take effect; ``deferred`` says why a restart that is owed has to wait."""

    reload: tuple[str, ...]
    restart: tuple[str, ...]
    deferred: str


def build_cache_limits(
    engine_major: int, reserved_bytes: int, max_used_bytes: int, min_free_bytes: int
) -> dict[str, Any]:
    """Return the ``builder.gc`` settings; older engines know the upper limit alone.

    All three are given explicitly since giving one makes the engine drop the values that
    it would otherwise infer for the others.
    """
    if engine_major < _FIRST_ENGINE_WITH_THREE_LIMITS:
        return {"enabled": True, "defaultKeepStorage": str(max_used_bytes)}
    return {
        "enabled": True,
        "defaultReservedSpace": str(reserved_bytes),
        "defaultMaxUsedSpace": str(max_used_bytes),
        "defaultMinFreeSpace": str(min_free_bytes),
    }


def published_address(engine_major: int, address: str) -> dict[str, Any]:
    """Return the settings that bind a published port to ``address`` where nobody names one.

    Older engines can be told so for the default network alone.
    """
    if engine_major < _FIRST_ENGINE_WITH_NETWORK_DEFAULTS:
        return {"ip": address}
    option = {_BOUND_TO: address}
    return {"ip": address, "default-network-opts": {"bridge": option}}


def leaves(settings: Settings, prefix: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the smallest parts that are owned, compared and replaced as a whole."""
    for key, value in settings.items():
        path = (*prefix, key)
        if isinstance(value, Mapping) and value and path not in _ATOMIC:
            yield from leaves(value, path)
        else:
            yield path, value


def merge(current: Settings, wanted: Settings, record: Record) -> MergedFile:
    """Return ``current`` with ``wanted`` in it, and without what is ours no longer.

    What stood at one of our keys before us comes back when the key is no longer wanted.
    """
    settings = copy.deepcopy(dict(current))
    before, after = dict(leaves(current)), dict(leaves(wanted))
    replaced = dict(record.replaced)
    for path in record.owned:
        if path not in after:
            _delete(settings, path)
            if path in replaced:
                _put(settings, path, replaced.pop(path))
    # Also what already had our value: without us it is still to be there.
    taken = [path for path in after if path not in record.owned and path in before]
    replaced.update((path, before[path]) for path in taken)
    for path, value in after.items():
        _put(settings, path, copy.deepcopy(value))
    foreign = [path for path, _value in leaves(settings) if path not in after]
    return MergedFile(
        settings,
        tuple(sorted(after)),
        tuple(sorted(replaced.items())),
        tuple(sorted(map(".".join, foreign))),
        tuple(sorted(".".join(path) for path in replaced if replaced[path] != after.get(path))),
    )


def with_defaults(
    current: Settings, declared: Settings, defaults: Settings, record: Record
) -> tuple[dict[str, Any], dict[str, tuple[Any, Any]]]:
    """Return the declared settings and those defaults that stand in nobody's place.

    Besides, in dotted notation, what stays as somebody else has it: his value and the default's. A
    default that an earlier run has put in the place of somebody's value gives it back.
    """
    wanted = copy.deepcopy(dict(declared))
    ours, before = dict(leaves(declared)), dict(leaves(current))
    replaced = dict(record.replaced)
    theirs = {path: value for path, value in before.items() if path not in record.owned}
    theirs |= replaced
    kept: dict[str, tuple[Any, Any]] = {}
    for path, value in leaves(defaults):
        group = next((paths for paths in _TOGETHER if path in paths), frozenset({path}))
        if path in ours:
            continue
        if group & {*theirs}:
            if path in theirs and theirs[path] != value:
                kept[".".join(path)] = (theirs[path], value)
            continue
        # Options are those of the default's own driver.
        if path == ("log-opts",) and ours.get(("log-driver",), defaults.get("log-driver")) != (
            defaults.get("log-driver")
        ):
            continue
        _put(wanted, path, copy.deepcopy(value))
    return wanted, kept


def _put(settings: dict[str, Any], path: KeyPath, value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(settings.get(key), dict):
            settings[key] = {}
        settings = settings[key]
    settings[path[-1]] = value


def _delete(settings: dict[str, Any], path: KeyPath) -> None:
    parent = settings
    for key in path[:-1]:
        if not isinstance(parent.get(key), dict):
            return
        parent = parent[key]
    parent.pop(path[-1], None)
    if not parent and len(path) > 1:
        _delete(settings, path[:-1])


def check(wanted: Settings, engine: RunningEngine | None, switch_allowed: bool) -> None:
    """Refuse settings that the engine would accept and the operator would regret.

    Raises:
        DockerDaemonError: the images would vanish from sight, or the engine would not start.

    """
    if engine is None:
        return
    if engine.swarm and wanted.get("live-restore"):
        raise DockerDaemonError(
            "this engine is a member of a swarm, which excludes live-restore; "
            "set docker_host_live_restore_enabled to false"
        )
    features = wanted.get("features")
    asked = features.get("containerd-snapshotter") if isinstance(features, Mapping) else None
    switches = asked is not None and bool(asked) != (engine.image_store == "containerd")
    if switches and engine.images and not switch_allowed:
        raise DockerDaemonError(
            f"features.containerd-snapshotter {asked} would hide the {engine.images} images of the "
            f"image store in use ({engine.image_store}); save them first, then set "
            "docker_host_image_store_switch_allowed to true"
        )


def effective_settings(
    engine: RunningEngine, current: Settings, changed_at: float | None, record: Record
) -> Settings | None:
    """Return what the running engine was configured with; ``None`` when nobody can know.

    ``changed_at`` is when the file ``current`` last changed, ``None`` when it is not there.
    """
    if record.instance == engine.instance and record.settings is not None:
        return record.settings
    if changed_at is None:
        return {}
    return current if changed_at < engine.started_at else None


def decide(
    engine: RunningEngine, effective: Settings | None, settings: Settings, policy: RestartPolicy
) -> RestartDecision:
    """Return how ``settings`` come into force in the running engine."""
    differing = _differing(engine, effective, settings)
    reload = tuple(key for key in differing if key in _RELOADABLE)
    restart = tuple(key for key in differing if key not in _RELOADABLE)
    if not restart:
        return RestartDecision(reload, (), "")
    deferred = _why_not_now(engine, settings, policy)
    if not deferred and engine.containers and {*restart} <= OF_NETWORK:
        deferred = (
            f"{_names(engine.containers)} still running, with which it would keep its network"
        )
    return RestartDecision(reload, restart, deferred)


def _differing(engine: RunningEngine, effective: Settings | None, settings: Settings) -> list[str]:
    if effective is None:
        # The file changed under the running engine: each of its keys may be news to it.
        return sorted(settings) or ["(removed settings)"]
    keys = {key for key in {*effective, *settings} if effective.get(key) != settings.get(key)}
    # What the engine itself says outranks what was written down.
    if "live-restore" in settings and settings["live-restore"] != engine.live_restore:
        keys.add("live-restore")
    if "log-driver" in settings and settings["log-driver"] != engine.log_driver:
        keys.add("log-driver")
    told = engine.default_network
    keys |= {key for key in {*told} & {*settings} if str(told[key]) != str(settings[key])}
    return sorted(keys)


def _why_not_now(engine: RunningEngine, settings: Settings, policy: RestartPolicy) -> str:
    if policy is RestartPolicy.NEVER:
        return "docker_host_restart_policy is never"
    if engine.builds:
        return f"{engine.builds} image build processes are running"
    # live-restore is taken over by a reload, which precedes the restart.
    protected = bool(settings.get("live-restore")) and not engine.swarm
    if engine.containers and not protected:
        return f"{_names(engine.containers)} would be stopped, since live-restore is off"
    if policy is RestartPolicy.SURVIVABLE:
        return ""
    attached = [container for container in engine.containers if not container.survives]
    return f"{_names(attached)} still running" if attached else ""


def _names(containers: Sequence[RunningContainer]) -> str:
    shown = ", ".join(sorted(container.name for container in containers)[:5])
    more = len(containers) - 5
    return f"{shown} and {more} more" if more > 0 else shown


def after_reload(effective: Settings | None, settings: Settings, keys: Collection[str]) -> Settings:
    """Return what the engine runs with once it has taken ``keys`` over from ``settings``."""
    taken = {key: value for key, value in (effective or {}).items() if key not in keys}
    return {**taken, **{key: settings[key] for key in keys if key in settings}}
