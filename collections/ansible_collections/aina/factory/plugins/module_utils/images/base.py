"""The image that everything is built on: from a registry, or made of Debian's packages."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..base.docker import DockerError
from ..base.ports import Run
from ..base.run import checked
from .engine import ImageEngine
from .settings import ImagesSettings

PROVIDE_SECONDS = 1800.0
# As the distribution's own images are: small, and unpacked without waiting for the disk.
_OPTIONS = (
    *("--variant=minbase", "--include=ca-certificates", "--dpkgopt=force-unsafe-io"),
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "doc", "locale")),
)
# What a base that is made here consists of: made of the same on two hosts it is the same, whatever its number.
PACKAGES_LABEL = "aina-factory.packages"
_STATUS = "./var/lib/dpkg/status"
_TELLING = ("Package: ", "Version: ", "Architecture: ")
# As root it keeps mounts from spreading, and would do so to the whole host: afterwards no service
# there would get its credentials.
_BOOTSTRAP = ("unshare", "--mount", "--", "mmdebstrap")
_TARGETS = (
    *("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)"),
    "Created-By: Packages",
)


class BaseError(DockerError):
    """The base cannot be had; the former one stays."""


@dataclass
class Bases:
    """The base of the configuration at one engine."""

    settings: ImagesSettings
    engine: ImageEngine
    run: Run

    def identity(self) -> str:
        """Return the base's identity at the engine; empty when it is not there."""
        found = self.engine.find([self.settings.base.reference]).get(self.settings.base.reference)
        return (found.labels.get(PACKAGES_LABEL) or found.id) if found else ""

    def provide(self) -> None:
        """Fetch the newest base, or make it.

        Raises:
            BaseError: the former one stays.

        """
        base = self.settings.base
        if not base.bootstrap_suite:
            try:
                self.engine.tell(
                    ["pull", "--quiet", base.reference], timeout_seconds=PROVIDE_SECONDS
                )
            except DockerError as error:
                raise BaseError(
                    f"the base {base.reference} cannot be pulled: {error}\nIf no registry can be "
                    "reached, let it be made of a Debian release: base.bootstrap_suite"
                ) from error
            return
        Path(self.settings.state_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix="factory-base-", dir=self.settings.state_dir
        ) as work:
            archive = str(Path(work, "base.tar"))
            mirror = base.bootstrap_mirror or self._mirror()
            argv = [*_BOOTSTRAP, *_OPTIONS, base.bootstrap_suite, archive]
            self._do([*argv, *([mirror] if mirror else [])])
            labels = {
                "aina-factory.role": "image",
                "aina-factory.instance": "base",
                PACKAGES_LABEL: packages_in(archive),
            }
            words = " ".join(f"{name}={value}" for name, value in labels.items())
            self.engine.tell(
                ["import", "--change", f"LABEL {words}", archive, base.reference],
                timeout_seconds=PROVIDE_SECONDS,
            )

    def _mirror(self) -> str:
        """Return the archive that this host's own apt uses, if the host is a Debian."""
        done = self.run(_TARGETS, environment={"LC_ALL": "C"}, timeout_seconds=60.0)
        for line in done.stdout.decode(errors="replace").splitlines():
            origin, label, address = (*line.split("|"), "", "")[:3]
            if origin == label == "Debian":
                return address
        return ""

    def _do(self, argv: list[str]) -> None:
        checked(
            self.run,
            argv,
            name=f"mmdebstrap {self.settings.base.bootstrap_suite}",
            error=BaseError,
            environment={"LC_ALL": "C"},
            timeout_seconds=PROVIDE_SECONDS,
        )


def packages_in(archive: str) -> str:
    """Return a hash over the packages of a root file system, and over how it was made of them.

    Raises:
        BaseError: the archive holds no list of packages.

    """
    with tarfile.open(archive) as tar:
        try:
            stream = tar.extractfile(_STATUS)
        except KeyError:
            stream = None
        if stream is None:
            raise BaseError(f"{archive} has no {_STATUS}; mmdebstrap made something else")
        text = stream.read().decode(errors="replace")
    packages = sorted(
        [line for line in block.splitlines() if line.startswith(_TELLING)]
        for block in text.split("\n\n")
    )
    return hashlib.sha256(json.dumps([_OPTIONS, packages]).encode()).hexdigest()
