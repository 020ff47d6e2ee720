"""Everything of value on a host, one line each: run on the host, compared before and after.

Files by path, type, owner, mode and content; of repositories besides every commit that any
reference or reflog holds. So also what nobody knows of is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path

ROOTS = ("/home", "/srv", "/etc", "/var/spool/cron", "/root", "/usr/local", "/var/lib/docker/image")
# Written by programs that run while nobody converges.
VOLATILE = (
    "/srv/aina/actions-runner/_diag",
    "/srv/aina/actions-runner/_work/_temp",
    "/srv/aina/actions-runner/_work/_tool",
    "/srv/aina/actions-runner/nohup.out",
    # The old jobs are due now and then.
    *(f"/srv/aina/ops/{name}-ran" for name in ("watchdog", "release-marshal", "janitor")),
    "/srv/aina/ops/WATCHDOG-STATUS.json",
    "/etc/mtab",
    "/etc/machine-id",
    "/root/.ansible",
    "/root/.bash_history",
)


def describe(path: Path) -> str:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    what = {stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFREG: "file"}.get(
        kind, "special"
    )
    detail = ""
    if what == "link":
        detail = str(path.readlink())
    elif what == "file":
        detail = hashlib.sha256(path.read_bytes()).hexdigest()[:20]
    return f"{what} {stat.S_IMODE(status.st_mode):04o} {status.st_uid}:{status.st_gid} {detail}"


def files() -> None:
    for root in ROOTS:
        for directory, names, entries in os.walk(root):
            names[:] = sorted(name for name in names if f"{directory}/{name}" not in VOLATILE)
            for name in sorted([*names, *entries]):
                path = Path(directory, name)
                if str(path) not in VOLATILE and not name.endswith(".pyc"):
                    print(json.dumps([str(path), describe(path)]))


def commits() -> None:
    repository = "/srv/corpus/repository"
    if not Path(repository).exists():
        return
    argv = ["git", "-c", "safe.directory=*", "-C", repository, "rev-list", "--all", "--reflog"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    for line in sorted(done.stdout.split()):
        print(json.dumps([f"commit {line}", ""]))


if __name__ == "__main__":
    files()
    commits()
