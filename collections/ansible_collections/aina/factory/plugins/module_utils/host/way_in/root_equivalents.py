"""Who can become root without being asked for anything."""

from __future__ import annotations

import grp
import os
import pwd
import re

from ...base.ports import Run

# What members of these groups can do, root can: they start containers with any mount, or write disks.
GROUPS = ("docker", "incus-admin", "libvirt", "lxd", "disk", "kmem", "shadow")
_SECONDS = 30.0
_RULE = re.compile(r"\(\s*(?P<whom>[^)]*)\)\s*(?P<tags>(?:[A-Z_]+:\s*)*)ALL\s*")


def reasons(groups: list[str], rules: str) -> list[str]:
    """Return why an account with these groups, and these lines of ``sudo --list``, is root."""
    found = [f"group {name}" for name in GROUPS if name in groups]
    for line in rules.splitlines():
        match = _RULE.fullmatch(line.strip())
        whom = re.split(r"[\s,:]+", match["whom"].strip()) if match else []
        if match and "NOPASSWD:" in match["tags"] and {"ALL", "root"} & set(whom):
            found.append("sudo without a password")
            break
    return found


def read(name: str, run: Run) -> list[str]:
    """Return why this account of the host is as good as root; nothing where it is not, or is root.

    An account that does not exist yet is in no group.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return []
    if entry.pw_uid == 0:
        return []
    groups = []
    for number in os.getgrouplist(name, entry.pw_gid):
        try:
            groups.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    try:
        done = run(
            ["sudo", "--non-interactive", "--list", "--other-user", name],
            environment={"LC_ALL": "C"},
            timeout_seconds=_SECONDS,
        )
        rules = done.stdout.decode(errors="replace") if done.ok else ""
    except (OSError, TimeoutError):
        rules = ""
    return reasons(groups, rules)
