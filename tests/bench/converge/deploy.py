"""The operations of the site run, for pyinfra."""

import json
import os
from pathlib import Path

from pyinfra.operations import apt, files, server, systemd

FILES = Path(os.environ["BENCH_FILES"])

apt.packages(
    name="Packages",
    packages=["git", "python3", "ca-certificates", "docker.io", "docker-cli"],
    update=False,
)
server.user(name="User", user="ali")
for directory in (
    "/etc/aina-factory",
    "/etc/aina-factory/conf.d",
    "/var/lib/aina-factory",
    "/srv/repos",
):
    files.directory(name=directory, path=directory)
for name in json.loads((FILES / "names.json").read_text()):
    files.put(name=name, src=str(FILES / name[1:]), dest=name)
for unit in ("docker.service", "systemd-journald.service", "factory-job-janitor.timer"):
    systemd.service(name=unit, service=unit, running=True)
