"""The container of one job, as an argument list of ``docker create``; pure. No secret is in it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from . import layout
from .settings import Instance

DOCKER = ("docker", "--host", "unix:///run/docker.sock")
CERTIFICATES = "/etc/aina-factory/ca-certificates.crt"
DIAGNOSTICS_MIB = 64
_INODES_PER_MIB = 256
_NO_NEW_PRIVILEGES = "--security-opt=no-new-privileges"
# The configuration arrives on standard input, where neither ps nor inspect shows it. The
# application takes it from its environment and removes it there before a job begins.
ENTRY = (
    "umask 022; IFS= read -r ACTIONS_RUNNER_INPUT_JITCONFIG && export ACTIONS_RUNNER_INPUT_JITCONFIG"
    f" && exec {layout.CONTAINER_TREE}/bin/Runner.Listener run"
)
# Beside the application, and before it: the engine inherits nothing of its configuration.
ENGINE_ENTRY = (
    "command -v podman >/dev/null || echo 'the image has no podman: set images_engine';"
    f" mkdir -p {layout.ENGINE_SOCKET.rpartition('/')[0]};"
    f" podman system service --time=0 unix://{layout.ENGINE_SOCKET} </dev/null >/dev/null 2>&1 & {ENTRY}"
)


@dataclass(frozen=True)
class ContainerRun:
    """One container of a slot."""

    slot: str
    name: str
    runner_id: int
    image: str
    cgroup_parent: str
    cpuset: str
    network: str
    ca_file: str = ""
    docker_group_id: int = 0
    has_quota: bool = False


def cpuset(instances: tuple[Instance, ...], slot: str, cpus_count: int) -> str:
    """Return the processors of a slot: its neighbours get others while there are enough.

    Only a set of processors (and no share of all) makes ``nproc`` tell a job the truth.
    """
    at = 0
    for instance in instances:
        for name in instance.slot_names:
            wanted = min(instance.cpus, cpus_count)
            if name == slot:
                return ",".join(
                    str(cpu) for cpu in sorted((at + n) % cpus_count for n in range(wanted))
                )
            at += wanted
    raise KeyError(slot)


def has_quota(storage_driver: str, root_dir: str, mountinfo: str) -> bool:
    """Whether the engine can bound what a container writes, by where it stores that (``/proc/self/mountinfo``)."""
    if storage_driver in ("btrfs", "zfs"):
        return True
    best, options, kind = "", "", ""
    for line in mountinfo.splitlines():
        fields, _dash, rest = line.partition(" - ")
        words, tail = fields.split(), rest.split()
        if len(words) < 6 or len(tail) < 3:
            continue
        place = words[4].rstrip("/")
        if f"{root_dir}/".startswith(f"{place}/") and len(place) >= len(best):
            best, options, kind = place, tail[2], tail[0]
    return (
        storage_driver == "overlay2"
        and kind == "xfs"
        and bool({"prjquota", "pquota"} & set(options.split(",")))
    )


def declared(run: ContainerRun, instance: Instance) -> str:
    """Return what changes when a container would be made another way, its image apart."""
    same = replace(run, name="", runner_id=0, image="")
    words = [*_words(same, instance), instance.group, *sorted(instance.wanted_labels)]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def create_argv(run: ContainerRun, instance: Instance) -> list[str]:
    """Return the command that makes the container; it waits for its configuration once it is started."""
    label = f"{layout.DECLARED_LABEL}={declared(run, instance)}"
    words = [*_words(run, instance), "--label", label]
    entry = ENGINE_ENTRY if instance.has_engine else ENTRY
    return [*words, "--entrypoint=/bin/sh", run.image, "-c", entry]


def _words(run: ContainerRun, instance: Instance) -> list[str]:
    tree = layout.CONTAINER_TREE
    user = layout.CONTAINER_USER_ID
    own = f"uid={user},gid={user}"
    argv = [*DOCKER, "create", "--init", "--interactive", "--pull=never"]
    # Whatever the image says: it is how the application cancels its job in good order.
    argv += ["--stop-signal=SIGTERM"]
    argv += ["--name", run.name, "--hostname", run.slot, "--log-driver=none"]
    argv += ["--label", f"{layout.ROLE_LABEL}=runner"]
    argv += ["--label", f"{layout.INSTANCE_LABEL}={run.slot}"]
    argv += ["--label", f"{layout.RUNNER_LABEL}={run.runner_id}"]
    argv += ["--label", f"{layout.TARGET_LABEL}={instance.target}"]
    argv += ["--network", run.network, "--cgroup-parent", run.cgroup_parent]
    argv += ["--cpuset-cpus", run.cpuset, "--pids-limit", str(instance.tasks_count)]
    argv += ["--memory", f"{instance.memory_mib}m", "--memory-swap", f"{instance.memory_mib}m"]
    argv += ["--shm-size", f"{instance.shared_memory_mib}m"]
    argv += ["--ulimit=core=0", f"--ulimit=fsize={instance.disk_mib << 20}"]
    argv += ["--cap-drop=ALL", f"--user={user}:{user}"]
    argv += _of_engine(instance, own) if instance.has_engine else [_NO_NEW_PRIVILEGES]
    argv += [_tmpfs("/tmp", instance.tmp_mib, "mode=1777")]  # noqa: S108 - inside the container
    argv += [_tmpfs(f"{tree}/_diag", DIAGNOSTICS_MIB, own)]
    if instance.work_mib:
        argv += [_tmpfs(f"{tree}/_work", instance.work_mib, own)]
    if run.has_quota:
        argv += ["--storage-opt", f"size={instance.disk_mib}m"]
    if instance.runtime:
        argv += ["--runtime", instance.runtime]
    if instance.docker_socket_reason:
        argv += ["--volume", "/run/docker.sock:/run/docker.sock"]
        argv += ["--group-add", str(run.docker_group_id)]
    if run.ca_file:
        argv += ["--volume", f"{run.ca_file}:{CERTIFICATES}:ro"]
    for name, value in environment(instance, run.ca_file):
        argv += ["--env", f"{name}={value}"]
    return argv


def _of_engine(instance: Instance, own: str) -> list[str]:
    """Return what rootless Podman needs, and nothing of the host's.

    Its processes have the job's user and, in a namespace of their own, users that nobody has. The two
    capabilities are within reach of the programs alone that make such a namespace; what a job must not
    ask the kernel for is refused by the profile, and what is the host's below /proc is root's.
    """
    argv = ["--cap-add=SETUID", "--cap-add=SETGID"]
    argv += [f"--security-opt=seccomp={layout.ENGINE_SECCOMP}"]
    argv += ["--security-opt=apparmor=unconfined", "--security-opt=systempaths=unconfined"]
    argv += ["--device=/dev/net/tun"]
    return [*argv, _tmpfs(layout.ENGINE_STORE, instance.engine_mib, f"{own},mode=0700")]


def _tmpfs(path: str, size_mib: int, options: str) -> str:
    # An empty file costs kernel memory that no size bounds; a real tree has some 10 KiB for each file.
    inodes = size_mib * _INODES_PER_MIB
    return f"--tmpfs={path}:rw,exec,nosuid,nodev,size={size_mib}m,nr_inodes={inodes},{options}"


def environment(instance: Instance, ca_file: str) -> list[tuple[str, str]]:
    """Return what the application is told; jobs inherit it."""
    found = [
        ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1"),
        ("ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT", "1"),
        ("RUNNER_LOGRETENTION", "7"),
        ("WORKER_LOGRETENTION", "7"),
    ]
    if instance.has_engine:
        found.append(("DOCKER_HOST", f"unix://{layout.ENGINE_SOCKET}"))
        # Its builder understands the older client alone.
        found.append(("DOCKER_BUILDKIT", "0"))
    if instance.job_container_required:
        found.append(("ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER", "true"))
    if ca_file:
        names = ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO", "CURL_CA_BUNDLE")
        found += [(name, CERTIFICATES) for name in names]
    return found + list(instance.environment.items())
