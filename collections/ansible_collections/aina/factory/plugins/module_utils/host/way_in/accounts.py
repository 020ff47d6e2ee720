"""An account as the SSH server looks at it: its keys, its password, and whether it may come in at all."""

from __future__ import annotations

import datetime
import grp
import os
import pwd
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...base.errors import FactoryError

SHADOW = Path("/etc/shadow")
Effective = Mapping[str, tuple[str, ...]]
# They end a session at once.
_CLOSED_SHELLS = frozenset({"nologin", "false"})


class WayInError(FactoryError):
    """Who may come in cannot be told; the message says why."""


@dataclass(frozen=True)
class Account:
    """What the server looks at when one administrator knocks.

    ``keys`` is the number of usable public keys; ``refusal`` says why keys that are there
    would not be taken. ``password`` says whether one could be typed, as far as the host knows;
    ``locked``, that its field begins with an exclamation mark; ``ended``, why the account lets
    nobody in by any method.
    """

    name: str
    groups: tuple[str, ...]
    keys: int
    refusal: str = ""
    password: bool = True
    locked: bool = False
    ended: str = ""


def one(effective: Effective, name: str) -> str:
    """Return the value of a keyword that has one; ``""`` where the server does not tell it."""
    return effective.get(name, ("",))[0]


def read_account(name: str, effective: Effective, today: int) -> Account:
    """Look at an account as the server would; ``today`` in days since 1970.

    Raises:
        WayInError: there is no such account.

    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise WayInError(
            f"administrator {name} is no account of this host; create it first, with its key"
        ) from None
    groups = [_group(number) for number in os.getgrouplist(name, entry.pw_gid)]
    strict = one(effective, "strictmodes") == "yes"
    accepted = set(one(effective, "pubkeyacceptedalgorithms").split(",")) - {""}
    keys, refusals = 0, []
    for word in " ".join(effective.get("authorizedkeysfile", ())).split():
        path = keys_path(word, name, entry.pw_uid, entry.pw_dir)
        count = _count_keys(path, accepted)
        refusal = _loose(path, entry) if strict and count else ""
        if refusal:
            refusals.append(refusal)
        else:
            keys += count
    fields = _shadow(name)
    password = fields[1] if fields else None
    uses_pam = one(effective, "usepam") == "yes"
    return Account(
        name,
        tuple(groups),
        keys,
        "; ".join(refusals),
        _is_password(password, effective),
        locked=(password or "").startswith("!"),
        ended=ended(fields, today, uses_pam=uses_pam) or _closed(entry.pw_shell or "/bin/sh"),
    )


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def keys_path(word: str, name: str, number: int, home: str) -> Path:
    """Return the file that an entry of ``AuthorizedKeysFile`` means for an account."""
    tokens = {"%h": home, "%u": name, "%U": str(number), "%%": "%"}
    text = re.sub("%[huU%]", lambda match: tokens[match[0]], word)
    return Path(text if text.startswith("/") else f"{home}/{text}")


def _shadow(name: str) -> list[str]:
    """Return what the host keeps of the account's password and its end; nothing where it does not."""
    try:
        lines = SHADOW.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = (line.split(":") for line in lines)
    return next((fields for fields in found if fields[0] == name and len(fields) > 1), [])


def ended(fields: Sequence[str], today: int, *, uses_pam: bool) -> str:
    """Return why an account with this line of shadow(5) is over on a day; ``""`` when it is not.

    A password that is too old lets nobody in either, by a key neither, once PAM is asked: it
    demands a new one, for which a run without a terminal has no ear.
    """
    numbers = [int(field) if field.isdigit() else -1 for field in [*fields, *[""] * 9][2:8]]
    changed, _least, most, _warning, _spared, end = numbers
    if end >= 0 and today >= end:
        day = datetime.date(1970, 1, 1) + datetime.timedelta(days=min(end, 1_000_000))
        return f"has ended on {day}: 'chage --expiredate -1' revives it"
    if uses_pam and (changed == 0 or (changed > 0 and 0 <= most < today - changed)):
        return "has a password that must be changed first: 'chage --maxdays -1', or change it"
    return ""


def _closed(shell: str) -> str:
    """Return why a login with this shell would end at once."""
    if Path(shell).name in _CLOSED_SHELLS:
        return f"has the shell {shell}, with which nobody can log in"
    if not os.access(shell, os.X_OK):
        return f"has the shell {shell}, which is no program here"
    return ""


def _is_password(field: str | None, effective: Effective) -> bool:
    """Whether this is a password that one could type; PAM may know one that the host does not."""
    if field is None:
        return one(effective, "usepam") == "yes"
    if not field:
        return one(effective, "permitemptypasswords") == "yes"
    return not field.startswith(("!", "*"))


def _count_keys(path: Path, accepted: Collection[str]) -> int:
    """Count the keys of a type that the server takes; without ``accepted``, of any."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    found = 0
    for line in lines:
        types = [word for word in line.split() if word.startswith(("ssh-", "ecdsa-", "sk-"))]
        if not types or line.lstrip().startswith("#"):
            continue
        # A key of RSA signs by newer algorithms than its type is named after.
        signs = {types[0], "rsa-sha2-256", "rsa-sha2-512"} if types[0] == "ssh-rsa" else {types[0]}
        # A line for an authority's certificates says nothing of their own types.
        found += not accepted or "cert-authority" in line or bool(signs & {*accepted})
    return found


def _loose(path: Path, entry: pwd.struct_passwd) -> str:
    """Return which directory or file StrictModes would take offence at."""
    # sshd follows links first, and looks no higher than the home.
    path, home = path.resolve(), Path(entry.pw_dir).resolve()
    parents = list(path.parents)
    if home in parents:
        parents = parents[: parents.index(home) + 1]
    for item in (path, *parents):
        status = item.stat()
        if status.st_uid not in (0, entry.pw_uid) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"{item} belongs to another user or is writable by others"
    return ""
