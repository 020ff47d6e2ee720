"""Names and places of everything that the runners consist of on a host."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..base import locks
from ..jobs import drain

CONFIGURATION_PATH = "/etc/aina-factory/conf.d/runners.json"
LOCK_PATH = locks.DIRECTORY / "factory-runners.lock"

NATIVE_PREFIX = "factory-runner-native-"
LOOP_PREFIX = "factory-runner@"
SLICE = "factory-runners.slice"
HEAL_SERVICE = "factory-runner-heal.service"
HEAL_TIMER = "factory-runner-heal.timer"
HEAL_PATH = "factory-runner-heal.path"
NETWORK_SERVICE = "factory-runner-network.service"

# Where the CI image has the runner application, and who runs it.
CONTAINER_TREE = "/home/runner/actions-runner"
CONTAINER_USER_ID = 1001
# Where an engine in a job's container listens and keeps what it has.
ENGINE_SOCKET = "/home/runner/.engine/docker.sock"
ENGINE_STORE = "/home/runner/.local/share/containers"
# What such a job must not ask the kernel for, though it may make user namespaces.
ENGINE_SECCOMP = "/etc/aina-factory/runner-engine-seccomp.json"
COMMON_IMAGE = "aina-factory/ci:current"
# Where the builder of the images writes a record of each, once it is in force.
IMAGE_RECORDS = Path("/var/lib/aina-factory/images")

ROLE_LABEL = "aina-factory.role"
INSTANCE_LABEL = "aina-factory.instance"
RUNNER_LABEL = "aina-factory.runner"
TARGET_LABEL = "aina-factory.target"
# What a container was made of: it is compared with what would be made today.
DECLARED_LABEL = "aina-factory.declared"


@dataclass(frozen=True)
class Places:
    """Directories on the host.

    ``root`` holds the application: tarballs, unpacked versions and a tree per native
    instance; ``homes`` what its jobs write; ``state`` what is told and remembered.
    """

    root: Path = Path("/opt/gha-runner")
    homes: Path = Path("/var/lib/gha-runner")
    state: Path = Path("/var/lib/aina-factory/runners")
    units: Path = Path("/etc/systemd/system")
    proc: Path = Path("/proc")
    # Exists while the whole server is to begin nothing new.
    server_drained: Path = Path(drain.MARK)

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    @property
    def instances(self) -> Path:
        """The trees of the native instances."""
        return self.root / "instances"

    def tree(self, instance: str) -> Path:
        """Return the tree of a native instance."""
        return self.instances / instance

    def home(self, instance: str) -> Path:
        """Return the home directory of a native instance."""
        return self.homes / instance

    def unit(self, instance: str) -> Path:
        """Return the unit file of a native instance."""
        return self.units / native_unit(instance)

    @property
    def registrations(self) -> Path:
        """What each native instance is registered as: root's alone, so that no job can change it."""
        return self.state / "registrations"

    def registration(self, instance: str) -> Path:
        """Return the file of one registration."""
        return self.registrations / f"{instance}.json"

    def drained(self, name: str) -> Path:
        """Return the mark that keeps an instance or a slot from taking jobs."""
        return self.state / "drained" / name

    def shared(self, name: str) -> Path:
        """Return a file that concerns all runners."""
        return self.state / "shared" / f"{name}.json"


def native_unit(instance: str) -> str:
    """Return the service of a native instance."""
    return f"{NATIVE_PREFIX}{instance}.service"


def loop_unit(slot: str) -> str:
    """Return the service of an ephemeral slot."""
    return f"{LOOP_PREFIX}{slot}.service"


def user(instance: str) -> str:
    """Return the account that a native instance runs as."""
    return f"gha-{instance}"


def slot(instance: str, number: int) -> str:
    """Return the name of an ephemeral instance's slot."""
    return f"{instance}-{number}"
