"""The operations of the site run, for pyinfra."""

import os
from pathlib import Path

from pyinfra.operations import apt, files, server, systemd

STATE = Path(os.environ["BENCH_STATE"])

apt.packages(name="Packages", packages=(STATE / "packages").read_text().split(), update=False)
for user in (STATE / "users").read_text().split():
    server.user(name=user, user=user)
for path in sorted((STATE / "files").iterdir()):
    files.sync(name=path.name, src=str(path), dest=f"/{path.name}")
for unit in (STATE / "units").read_text().split():
    systemd.service(name=unit, service=unit, running=True, enabled=True)
