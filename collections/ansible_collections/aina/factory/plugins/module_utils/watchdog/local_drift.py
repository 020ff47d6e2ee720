"""What of this host is no longer as the last converge left it; without a repository.

A converge records the host when it ends; each hour it is looked at again. Files are compared by
a digest of content, owner and mode, packages by whether somebody chose them, rules by their count.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from ..jobs import layout

# By kind and name: a mark that is another one when it has changed.
Record: TypeAlias = Mapping[str, Mapping[str, str]]

BASELINE = "local-baseline.json"
PLACES = (
    "/etc/aina-factory/**/*",
    "/etc/apt/apt.conf.d/*",
    "/etc/apt/preferences.d/*",
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d/*",
    "/etc/cron.d/*",
    "/etc/cron.daily/*",
    "/etc/cron.hourly/*",
    "/etc/cron.monthly/*",
    "/etc/cron.weekly/*",
    "/etc/crontab",
    "/etc/default/ufw",
    "/etc/docker/*",
    "/etc/fstab",
    "/etc/localtime",
    "/etc/ssh/sshd_config",
    "/etc/ssh/sshd_config.d/*",
    "/etc/sudoers",
    "/etc/sudoers.d/*",
    "/etc/sysctl.d/*",
    "/etc/systemd/*.conf",
    "/etc/systemd/*.conf.d/*",
    "/etc/systemd/system/**/*",
    "/etc/timezone",
    "/etc/ufw/*.rules",
    "/home/*/.ssh/authorized_keys",
    "/root/.ssh/authorized_keys",
    "/usr/local/bin/*",
    "/usr/local/lib/aina-factory*/**/*",
    "/usr/local/sbin/*",
    "/var/spool/cron/crontabs/*",
)
_LARGEST_BYTES = 16 << 20
_MOST_FILES = 20_000
_NO_LOGIN = ("/nologin", "/false", "/sync")
_ROOT_GROUPS = ("root", "sudo", "wheel", "admin", "docker", "lxd", "libvirt", "disk", "adm")
_RULE = re.compile(r"^-A (\S+) (?:.*-j (\S+))?", re.MULTILINE)
# Chains that the engine and whoever bans guests fill and empty as they go.
_LIVELY = re.compile(r"DOCKER|f2b-|BR-|KUBE-|CNI-")
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def record(
    places: Iterable[str], root: Path, tables: Mapping[str, str | None]
) -> dict[str, dict[str, str]]:
    """Return how the host is now; ``tables`` are the kernel's rules by the tool that told them.

    Raises:
        OSError: the database of packages or of users cannot be read.

    """
    status = (root / "var/lib/dpkg/status").read_text(errors="replace")
    shipped = dict(_shipped(status))
    return {
        "file": dict(_files(places, root, shipped)),
        "package": _packages(status, root),
        "user": _users((root / "etc/passwd").read_text(errors="replace")),
        "group": _groups((root / "etc/group").read_text(errors="replace")),
        **{
            f"{tool} chain": {chain: f"of {count} rules" for chain, count in _rules(table).items()}
            for tool, table in tables.items()
            if table is not None
        },
    }


def differences(before: Record, now: Record) -> list[str]:
    """Return what is new, gone or another one, as sentences; a kind not recorded is passed over.

    Raises:
        ValueError: a kind that was recorded cannot be read now.

    """
    found = []
    for kind, known in before.items():
        if kind not in now:
            raise ValueError(f"no {kind} can be read now")
        current = now[kind]
        found += [f"{kind} {name} is new" for name in sorted(current.keys() - known.keys())]
        found += [f"{kind} {name} is gone" for name in sorted(known.keys() - current.keys())]
        for name in sorted(known.keys() & current.keys()):
            if known[name] != current[name]:
                found.append(f"{kind} {name} {_change(kind, known[name], current[name])}")
    return found


def _change(kind: str, before: str, now: str) -> str:
    if kind == "file":
        if now == "masked" or before == "masked":
            return "is masked" if now == "masked" else "is masked no longer"
        return "has changed"
    return f"is {now}, and was {before}"


def _files(
    places: Iterable[str], root: Path, shipped: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    seen = 0
    for pattern in places:
        for found in sorted(root.glob(pattern.lstrip("/"))):
            path = f"/{found.relative_to(root)}"
            # Jobs have a look of their own; what is half written or an editor's nobody declares.
            if f"/{layout.PREFIX}" in path or "/__pycache__" in path:
                continue
            if found.name.startswith(".") or found.name.endswith("~"):
                continue
            mark = _mark(found, shipped.get(path, ""))
            if mark:
                seen += 1
                yield path, mark
            if seen >= _MOST_FILES:
                return


def _mark(path: Path, shipped: str) -> str:
    """Return a digest of a file; of a link where it leads; "" for what is none of both."""
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            target = path.readlink()
            return "masked" if target == Path("/dev/null") else f"-> {target}"
        if not stat.S_ISREG(found.st_mode):
            return ""
        owned = f"{found.st_uid}:{found.st_gid}:{found.st_mode & 0o7777:o}"
        if found.st_size > _LARGEST_BYTES:
            return f"{owned} {found.st_size} {found.st_mtime_ns}"
        with os.fdopen(os.open(path, _FLAGS), "rb") as file:
            content = file.read(_LARGEST_BYTES)
    except OSError:
        return ""
    # What its package brought stays the same to us when the package is upgraded.
    if shipped and hashlib.md5(content, usedforsecurity=False).hexdigest() == shipped:
        return f"{owned} as shipped"
    return f"{owned} {hashlib.sha256(content).hexdigest()[:32]}"


def _shipped(status: str) -> Iterator[tuple[str, str]]:
    """Yield the configuration files that packages have brought, with their digests."""
    for line in status.splitlines():
        # " /etc/cron.d/x 0123456789abcdef0123456789abcdef", and perhaps a word more.
        if line.startswith(" /etc/"):
            words = line.split()
            if len(words) > 1 and len(words[1]) == 32:
                yield words[0], words[1]


def _packages(status: str, root: Path) -> dict[str, str]:
    """Return the packages that somebody chose, and those that are held.

    What came along with another one goes and comes with every upgrade, new kernels too.
    """
    automatic = set()
    kept = root / "var/lib/apt/extended_states"
    if kept.exists():
        for block in kept.read_text(errors="replace").split("\n\n"):
            if "Auto-Installed: 1" in block:
                automatic.add(_field(block, "Package"))
    found = {}
    for block in status.split("\n\n"):
        name, words = _field(block, "Package"), _field(block, "Status").split()
        if words[2:] == ["installed"] and (words[0] == "hold" or name not in automatic):
            state = "held" if words[0] == "hold" else "installed"
            found[re.sub(r"\d[\d.+~-]*", "#", name)] = state
    return found


def _field(block: str, name: str) -> str:
    head = f"{name}: "
    for line in block.splitlines():
        if line.startswith(head):
            return line[len(head) :]
    return ""


def _users(text: str) -> dict[str, str]:
    """Return the accounts by which somebody can come in, or be root."""
    found = {}
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 7 and (words[2] == "0" or not words[6].endswith(_NO_LOGIN)):
            found[words[0]] = f"number {words[2]}, {words[5]}, {words[6]}"
    return found


def _groups(text: str) -> dict[str, str]:
    """Return who is in a group that is as good as root."""
    found = {}
    for line in text.splitlines():
        words = line.split(":")
        if len(words) == 4 and words[0] in _ROOT_GROUPS:
            found[words[0]] = ", ".join(sorted(filter(None, words[3].split(",")))) or "empty"
    return found


def _rules(table: str) -> Mapping[str, int]:
    """Return how many rules each chain has, but for those that come and go by themselves."""
    return Counter(
        chain
        for chain, target in _RULE.findall(table)
        if not _LIVELY.search(f"{chain} {target}") or chain == "DOCKER-USER"
    )


def sentences(found: Sequence[str], known: Mapping[str, str], now: str) -> list[dict[str, str]]:
    """Return differences with since when each is there: ``known`` are those of the last look."""
    return [{"what": what, "since": known.get(what, now)} for what in found]
