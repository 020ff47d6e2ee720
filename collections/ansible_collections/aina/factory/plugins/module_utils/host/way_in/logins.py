"""What the SSH server, asked itself, would let an account do that comes from somewhere."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Iterator, Sequence

from ...base.ports import Completed, Run
from .accounts import Account, Effective, WayInError, one
from .connection import Address, Session

PROGRAM = "/usr/sbin/sshd"
JUDGE_SECONDS = 30.0
_KEYLESS = ("none", "")


def effective_for(
    name: str, session: Session | None, run: Run, options: Sequence[str] = ()
) -> Effective:
    """Return what holds for this account, coming from where the session came from.

    Raises:
        WayInError: the server refuses to say.

    """
    words = f"user={name},host=localhost,addr=127.0.0.1"
    if session is not None and session.peer is not None:
        words = (
            f"user={name},host={session.peer},addr={session.peer},"
            f"laddr={session.address},lport={session.port}"
        )
    return effective(words, run, options)


def effective(words: str, run: Run, options: Sequence[str] = ()) -> Effective:
    """Return what holds for whoever ``sshd -C`` calls by these words; ``options`` name another file.

    Raises:
        WayInError: the server refuses to say.

    """
    done = ask([PROGRAM, "-T", "-C", words, *options], run)
    if not done.ok:
        raise WayInError(f"sshd -T for {words}: {done.said}")
    return parse(done.stdout.decode(errors="replace"))


def parse(text: str) -> dict[str, tuple[str, ...]]:
    """Return ``sshd -T``'s answer; a keyword that is repeated has several values."""
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        name, _space, value = line.partition(" ")
        found[name.lower()] = (*found.get(name.lower(), ()), value.strip())
    return found


def shut_out(account: Account, effective: Effective, peer: Address | None = None) -> Iterator[str]:
    """Yield the settings that name this account and let it in by no method whatever."""
    name = account.name
    allowed, denied = effective.get("allowusers", ()), effective.get("denyusers", ())
    if _is_meant(name, peer, denied, unknown=True) or (
        allowed and not _is_meant(name, peer, allowed, unknown=False)
    ):
        yield f"AllowUsers or DenyUsers shut {name} out"
    allowed, denied = effective.get("allowgroups", ()), effective.get("denygroups", ())
    if _matches(account.groups, denied) or (allowed and not _matches(account.groups, allowed)):
        yield f"AllowGroups or DenyGroups shut {name} out"
    root = one(effective, "permitrootlogin")
    if name == "root" and root in {"no", "forced-commands-only"}:
        yield f"PermitRootLogin is {root}, and root is one of the administrators"


def lock_out(account: Account, effective: Effective, peer: Address | None = None) -> Iterator[str]:
    """Yield why this administrator, coming from ``peer``, could not log in any more."""
    name = account.name
    if account.ended:
        yield f"{name} {account.ended}"
    yield from shut_out(account, effective, peer)
    root = one(effective, "permitrootlogin")
    if account.locked and one(effective, "usepam") == "no":
        yield f"{name}'s password is locked, with which sshd lets nobody in where UsePAM is no"
    by_key = one(effective, "pubkeyauthentication") == "yes" and (
        account.keys > 0
        or one(effective, "authorizedkeyscommand") not in _KEYLESS
        or one(effective, "trustedusercakeys") not in _KEYLESS
    )
    by_password = account.password and (name != "root" or root == "yes")
    methods = {
        "publickey": by_key,
        "password": by_password and one(effective, "passwordauthentication") == "yes",
        "keyboard-interactive": by_password
        and one(effective, "kbdinteractiveauthentication") == "yes",
    }
    if not any(methods.values()):
        files = " ".join(effective.get("authorizedkeysfile", ()))
        yield f"{name} has no public key that would be taken ({account.refusal or files}); add one"
        return
    demands = " ".join(effective.get("authenticationmethods", ())).split()
    # Each demand names methods that are all needed; what is not judged here may work.
    if demands not in ([], ["any"]) and not any(
        all(methods.get(method.partition(":")[0], True) for method in demand.split(","))
        for demand in demands
    ):
        yield f"{name} cannot satisfy AuthenticationMethods {' '.join(demands)}"


def problems(account: Account, effective: Effective, peer: Address | None = None) -> list[str]:
    """Return why this account, coming from ``peer``, could not administer the host."""
    return [*lock_out(account, effective, peer), *useless(effective)]


def useless(effective: Effective) -> Iterator[str]:
    """Yield why a login would be worth nothing to whoever administers a host by it."""
    command = one(effective, "forcecommand")
    if command not in _KEYLESS:
        yield f"ForceCommand lets everybody run {command} alone"
    if one(effective, "maxsessions") == "0":
        yield "MaxSessions 0 allows no session"
    if one(effective, "chrootdirectory") not in _KEYLESS:
        yield f"ChrootDirectory keeps everybody in {one(effective, 'chrootdirectory')}"


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    words = [word for line in patterns for word in line.split()]
    return any(fnmatch.fnmatchcase(name, word) for name in names for word in words)


def _is_meant(name: str, peer: Address | None, patterns: Sequence[str], *, unknown: bool) -> bool:
    """Whether a pattern USER or USER@HOST is of this account; a host's name may be anybody's."""
    for word in (word for line in patterns for word in line.split()):
        user, at, host = word.rpartition("@") if "@" in word else (word, "", "")
        if not fnmatch.fnmatchcase(name, user):
            continue
        if not at or peer is None or fnmatch.fnmatchcase(str(peer), host):
            return True
        try:
            if peer in ipaddress.ip_network(host, strict=False):
                return True
        except ValueError:
            if unknown and any(character.isalpha() for character in host):
                return True
    return False


def ask(argv: list[str], run: Run) -> Completed:
    """Ask the server's program, whose answers are in English then."""
    return run(argv, environment={"LC_ALL": "C"}, timeout_seconds=JUDGE_SECONDS)
