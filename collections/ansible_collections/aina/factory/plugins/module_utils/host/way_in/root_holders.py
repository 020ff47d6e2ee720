"""Who can become root on this host, and how."""

from __future__ import annotations

import grp
import json
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...base.ports import Run
from .root_equivalents import GROUPS

ASK_SECONDS = 30.0
_KEYS = Path("/root/.ssh/authorized_keys")


def holder(who: str, how: str) -> dict[str, str]:
    """Return a holder as results list ``consequences``."""
    return {"kind": "root", "what": who, "why": how}


def read(run: Run, keys: Path = _KEYS) -> list[dict[str, str]]:
    """Return who can become root; what cannot be read is said, too."""
    found = [
        holder(account.pw_name, "has the number 0")
        for account in pwd.getpwall()
        if account.pw_uid == 0 and account.pw_name != "root"
    ]
    found += [holder(name, f"group {group}") for group in GROUPS for name in members(group)]
    count = _keys_count(keys)
    if count:
        found.append(holder("root", f"{count} SSH keys" if count > 1 else "1 SSH key"))
    return [*found, *_by_sudo(run)]


def members(group: str) -> list[str]:
    """Return the members of a group, those whose own group it is included."""
    try:
        entry = grp.getgrnam(group)
    except KeyError:
        return []
    own = [account.pw_name for account in pwd.getpwall() if account.pw_gid == entry.gr_gid]
    return list(dict.fromkeys([*entry.gr_mem, *own]))


def _keys_count(path: Path) -> int:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)


def _by_sudo(run: Run) -> list[dict[str, str]]:
    argv = ["cvtsudoers", "--expand-aliases", "--output-format", "json", "/etc/sudoers"]
    try:
        done = run(argv, environment={"LC_ALL": "C"}, timeout_seconds=ASK_SECONDS)
    except FileNotFoundError:
        return [] if not Path("/etc/sudoers").exists() else [_unread("cvtsudoers is missing")]
    except TimeoutError:
        return [_unread(f"no answer within {ASK_SECONDS:.0f} s")]
    try:
        document = json.loads(done.stdout) if done.ok else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return [_unread(done.said or "its rules are not understood")]
    return list(parse_sudoers(document))


def _unread(why: str) -> dict[str, str]:
    return holder("whoever sudo lets", f"its rules were not read: {why}")


def parse_sudoers(document: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield whom the rules, as ``cvtsudoers`` writes them, let do something as root.

    Members of a group are named; ``root`` itself is left out.
    """
    for spec in document.get("User_Specs") or ():
        names = [name for user in spec.get("User_List") or () for name in _names(user)]
        for part in spec.get("Cmnd_Specs") or ():
            how = _how(part)
            for name in dict.fromkeys(names) if how else ():
                if name != "root":
                    yield holder(name, how)


def _names(user: Mapping[str, Any]) -> list[str]:
    if user.get("negated"):
        return []
    if "usergroup" in user:
        return members(str(user["usergroup"])) or []
    return [str(next(iter(user.values()), "?"))]


def _how(part: Mapping[str, Any]) -> str:
    """Return what a rule lets do as root; ``""`` for one that is about other accounts."""
    accounts = part.get("runasusers")
    named = [str(next(iter(item.values()), "")) for item in accounts or ()]
    if accounts and not {"ALL", "root", "#0"} & {*named}:
        return ""
    commands = [
        str(item.get("command", "?"))
        for item in part.get("Commands") or ()
        if not item.get("negated")
    ]
    if not commands:
        return ""
    options = [option for option in part.get("Options") or () if isinstance(option, dict)]
    free = any(option.get("authenticate") is False for option in options)
    which = "sudo" if "ALL" in commands else f"sudo, only {', '.join(commands)}"
    return f"{which}, without a password" if free else which
