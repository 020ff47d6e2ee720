"""Fill the packages' store: the one trusted job that writes what all lanes read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from factory import effects
from factory.core.base import docker
from factory.core.lanes.settings import LaneProject, LanesSettings
from factory.lanes import delivery

SECONDS = 3600.0
_LOCK_FILE, _MANIFEST = "pnpm-lock.yaml", "package.json"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def fill(settings: LanesSettings, project: LaneProject) -> str:
    """Fetch what the default branch's lock file names, and run none of it.

    Raises:
        DockerError: the packages cannot be had.

    """
    mirror = delivery.repository(settings, project, "")
    found = {name: mirror.show(project.default_branch, name) for name in (_LOCK_FILE, _MANIFEST)}
    if not found[_LOCK_FILE]:
        return f"no {_LOCK_FILE}"
    with tempfile.TemporaryDirectory(prefix="factory-store-") as work:
        Path(work).chmod(0o755)
        for name, text in found.items():
            Path(work, name).write_text(text or "{}", encoding="utf-8")
        # As root: nobody who works in a lane may write what it reads.
        argv = [
            *("run", "--rm", "--user=0:0", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
            *("--label=aina-factory.role=store", f"--network={settings.store_network}"),
            f"--mount=type=bind,source={settings.store_dir},target=/store",
            f"--mount=type=bind,readonly,source={work},target=/project",
            *("--tmpfs=/tmp:rw,exec", "--env=HOME=/tmp", "--entrypoint=/bin/sh"),
        ]
        if _CERTIFICATES.exists():
            argv += [
                f"--mount=type=bind,readonly,source={_CERTIFICATES},target=/run/ca.pem",
                "--env=NODE_EXTRA_CA_CERTS=/run/ca.pem",
            ]
        script = (
            "umask 022 && cp -R /project /tmp/project && cd /tmp/project"
            " && PATH=/opt/project-toolchain/bin:/opt/toolchain/bin:$PATH"
            " pnpm fetch --ignore-scripts --store-dir /store --reporter=append-only"
        )
        docker.Client(effects.run).ask(
            *argv, project.image, "-euc", script, timeout_seconds=SECONDS
        )
    return "fetched"
