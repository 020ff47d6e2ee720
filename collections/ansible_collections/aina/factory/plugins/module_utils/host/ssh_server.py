"""Harden the SSH server without locking its administrators out.

The server itself judges the whole configuration as it would be, before any of it is in
force: whether it can be read, and what it would mean for each administrator. When the
server does not answer with the new settings, the former ones come back.
"""

from __future__ import annotations

import fnmatch
import grp
import ipaddress
import os
import pwd
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Completed, Run
from . import connection, managed_files, units, way_back
from .connection import Address, Listener, Session

CONFIGURATION_DIR = Path("/etc/ssh")
DROP_IN = "/etc/ssh/sshd_config.d/10-aina-factory.conf"
SERVICE = "ssh.service"
PROGRAM = "/usr/sbin/sshd"
RUNTIME_DIR = Path("/run/sshd")
SHADOW = Path("/etc/shadow")
JUDGE_SECONDS = 30.0
_HEADER = "# Managed by Ansible (aina.factory.ssh_server); edits are lost.\n"
_ATTRIBUTES = managed_files.Attributes("root", "root", 0o644)
_KEYLESS = ("none", "")


class SshServerError(FactoryError):
    """The settings are refused or did not work; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """What the server looks at when one administrator knocks.

    ``keys`` is the number of usable public keys; ``refusal`` says why keys that are there
    would not be taken. ``password`` says whether one could be typed, as far as the host knows;
    ``locked``, that its field begins with an exclamation mark.
    """

    name: str
    groups: tuple[str, ...]
    keys: int
    refusal: str = ""
    password: bool = True
    locked: bool = False


Effective = Mapping[str, tuple[str, ...]]


def spelt(settings: Mapping[str, object]) -> dict[str, str]:
    """Return the settings in the server's words; YAML reads "no" as a boolean."""
    words = {True: "yes", False: "no"}
    return {
        str(name): words[value] if isinstance(value, bool) else str(value)
        for name, value in settings.items()
    }


def content(settings: Mapping[str, str]) -> str:
    """Return the text of the drop-in.

    Raises:
        SshServerError: a name or a value is not one line of its own.

    """
    for name, value in settings.items():
        if not name.isalnum() or not value.strip() or "\n" in value:
            raise SshServerError(
                f"setting {name!r} with value {value!r} must be one keyword and one line of text"
            )
    return _HEADER + "".join(f"{name} {value}\n" for name, value in settings.items())


def change(settings: Mapping[str, str]) -> list[managed_files.Change]:
    """Return the change of files; without settings the drop-in goes."""
    if not settings:
        return managed_files.plan((), (), [DROP_IN])
    file = managed_files.FileSpec(DROP_IN, content(settings).encode(), _ATTRIBUTES)
    return managed_files.plan((), [file], ())


@contextmanager
def runtime_dir(*, stays: bool) -> Iterator[None]:
    """Have the directory without which the server judges nothing."""
    missing = not RUNTIME_DIR.is_dir()
    if missing:
        RUNTIME_DIR.mkdir(mode=0o755)
    try:
        yield
    finally:
        if missing and not stays:
            RUNTIME_DIR.rmdir()


def judge(
    settings: Mapping[str, str],
    administrators: Sequence[str],
    run: Run,
    account: Callable[[str, Effective], Account],
    session: Session | None = None,
    listeners: Sequence[Listener] = (),
    *,
    others: Sequence[Session] = (),
    restarts: bool = False,
) -> None:
    """Let the server read the whole configuration as it would be, for each administrator.

    Whoever the run came as, and the ``others`` who are logged in, are among them as far as the
    settings would newly shut them out.
    ``restarts`` says that the running server would read the configuration.

    Raises:
        SshServerError: it cannot be read, a setting would not be in force, or somebody
            would be locked out. Nothing has been changed.

    """
    with tempfile.TemporaryDirectory(prefix="ssh-server-") as directory:
        main = _candidate(Path(directory), settings)
        done = _ask([PROGRAM, "-t", "-f", str(main)], run)
        if not done.ok:
            raise SshServerError(
                f"sshd refuses the settings, nothing was changed: {_words(done, directory)}"
            )
        peer = session.peer if session else None
        problems: list[str] = []
        for name in administrators if settings else ():
            now = _effective(name, session, [], run, directory)
            then = _effective(name, session, ["-f", str(main)], run, directory)
            problems += lock_out(account(name, then), then, peer)
            problems += [problem for problem in useless(then) if problem not in [*useless(now)]]
        for who, somebody in [
            ("this run came as", session),
            *(("logged in is", other) for other in others),
        ]:
            if somebody is None or (somebody.account in administrators and who != "logged in is"):
                continue
            name = somebody.account
            now = _effective(name, somebody, [], run, directory)
            then = _effective(name, somebody, ["-f", str(main)], run, directory)
            before = [*lock_out(account(name, now), now, somebody.peer), *useless(now)]
            # Of what the server has not read yet, what is certain counts as well: he is in.
            certain = list(shut_out(account(name, then), then, somebody.peer)) if restarts else []
            found = [*lock_out(account(name, then), then, somebody.peer), *useless(then)]
            problems += [
                f"{who} {name}: {item}" for item in found if item not in before or item in certain
            ]
        moves = {"port", "listenaddress", "addressfamily"} & {name.lower() for name in settings}
        whole = _ask([PROGRAM, "-T", "-f", str(main)], run)
        effective = parse(whole.stdout.decode(errors="replace"))
        if session is not None and (restarts or moves):
            problems += moved_away(session, listeners, effective, declared=bool(moves))
        if problems:
            raise SshServerError(
                "these settings would lock administrators out, nothing was changed: "
                + "; ".join(problems)
            )
        if moves:
            check_sockets(listeners, effective)
        _check_in_force(settings, main, run, directory)


def _effective(
    name: str, session: Session | None, options: list[str], run: Run, directory: str
) -> Effective:
    """Return what would hold for this account, coming from where the run came from."""
    words = f"user={name},host=localhost,addr=127.0.0.1"
    if session is not None and session.peer is not None:
        words = (
            f"user={name},host={session.peer},addr={session.peer},"
            f"laddr={session.address},lport={session.port}"
        )
    done = _ask([PROGRAM, "-T", "-C", words, *options], run)
    if not done.ok:
        raise SshServerError(f"sshd -T for {name}: {_words(done, directory)}")
    return parse(done.stdout.decode(errors="replace"))


def moved_away(
    session: Session, listeners: Sequence[Listener], effective: Effective, *, declared: bool
) -> Iterator[str]:
    """Yield why the restarted server would no longer be where the run found it.

    Another server is not restarted. A socket of systemd's stays, unless an address or a port is
    ``declared``: where a generator makes the socket from them, it moves at the next boot.
    """
    if session.address is None:
        return
    units_there = {item.unit for item in listeners if item.takes(session.address, session.port)}
    by_socket = any(unit.endswith(".socket") for unit in units_there)
    if units_there != {SERVICE} and not (declared and by_socket):
        return
    configured = list(endpoints(effective))
    for address, port in configured:
        everywhere = address.is_unspecified and address.version == session.address.version
        if port == session.port and (everywhere or address == session.address):
            return
    where = ", ".join(str(Listener(*item)) for item in configured)
    yield (
        f"this run came to {Listener(session.address, session.port)}, and sshd would listen on "
        f"{where or 'nothing'}; let it listen on both, come by the new one, then give the old one up"
    )


def check_sockets(listeners: Sequence[Listener], effective: Effective) -> None:
    """See to it that systemd, where it listens for the server, does so where that is declared.

    Raises:
        SshServerError: it listens elsewhere, whatever the settings say.

    """
    sockets = [item for item in listeners if item.unit.endswith(".socket")]
    for address, port in endpoints(effective) if sockets else ():
        everywhere = address.is_unspecified
        if not any(
            item.port == port
            and (item.address.is_unspecified if everywhere else item.address == address)
            for item in sockets
        ):
            raise SshServerError(
                f"the settings let sshd listen on {Listener(address, port)}, but {sockets[0].unit} "
                f"listens for it on {', '.join(map(str, sockets))}; give it that ListenStream, "
                "or disable it. Nothing was changed"
            )


def endpoints(effective: Effective) -> Iterator[tuple[Address, int]]:
    """Yield where the configuration makes the server listen."""
    for line in effective.get("listenaddress", ()):
        host, _colon, port = line.split()[0].rpartition(":")
        address = connection.address_of(host)
        if address is not None and port.isdigit():
            yield address, int(port)


def declared_ports(settings: Mapping[str, str]) -> list[int]:
    """Return the ports that the settings name themselves, for connections from elsewhere."""
    found = []
    for name, value in settings.items():
        if name.lower() == "port" and value.isdigit():
            found.append(int(value))
        if name.lower() == "listenaddress":
            found += [
                port
                for address, port in endpoints({"listenaddress": (value,)})
                if not address.is_loopback
            ]
    return found


def _candidate(directory: Path, settings: Mapping[str, str]) -> Path:
    """Lay the configuration out in ``directory`` as it would be, its own files included."""
    parts = directory / "sshd_config.d"
    live = CONFIGURATION_DIR / "sshd_config.d"
    if live.is_dir():
        shutil.copytree(live, parts)
    parts.mkdir(exist_ok=True)
    name = Path(DROP_IN).name
    (parts / name).unlink(missing_ok=True)
    if settings:
        (parts / name).write_text(content(settings), encoding="utf-8")
    text = (CONFIGURATION_DIR / "sshd_config").read_text(encoding="utf-8", errors="surrogateescape")
    main = directory / "sshd_config"
    main.write_text(
        text.replace(f"{live}/", f"{parts}/"), encoding="utf-8", errors="surrogateescape"
    )
    return main


def _check_in_force(settings: Mapping[str, str], main: Path, run: Run, directory: str) -> None:
    """A setting that an earlier file has already made is silently without effect."""
    done = _ask([PROGRAM, "-T", "-f", str(main)], run)
    alone = main.with_name("alone")
    alone.write_text(content(settings) if settings else "", encoding="utf-8")
    wanted = _ask([PROGRAM, "-T", "-f", str(alone)], run)
    if not done.ok or not wanted.ok:
        raise SshServerError(f"sshd -T: {_words(wanted if done.ok else done, directory)}")
    actual, declared = (parse(item.stdout.decode(errors="replace")) for item in (done, wanted))
    without = [
        name
        for name in settings
        if declared.get(name.lower()) != actual.get(name.lower()) and name.lower() in declared
    ]
    if without:
        raise SshServerError(
            f"{', '.join(without)}: not in force, since a file that sshd reads before {DROP_IN} sets "
            "it too, or sshd_config does not include sshd_config.d; see 'sshd -T'. Nothing was changed"
        )


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
    root = _one(effective, "permitrootlogin")
    if name == "root" and root in {"no", "forced-commands-only"}:
        yield f"PermitRootLogin is {root}, and root is one of the administrators"


def lock_out(account: Account, effective: Effective, peer: Address | None = None) -> Iterator[str]:
    """Yield why this administrator, coming from ``peer``, could not log in any more."""
    name = account.name
    yield from shut_out(account, effective, peer)
    root = _one(effective, "permitrootlogin")
    if account.locked and _one(effective, "usepam") == "no":
        yield f"{name}'s password is locked, with which sshd lets nobody in where UsePAM is no"
    by_key = _one(effective, "pubkeyauthentication") == "yes" and (
        account.keys > 0
        or _one(effective, "authorizedkeyscommand") not in _KEYLESS
        or _one(effective, "trustedusercakeys") not in _KEYLESS
    )
    by_password = account.password and (name != "root" or root == "yes")
    methods = {
        "publickey": by_key,
        "password": by_password and _one(effective, "passwordauthentication") == "yes",
        "keyboard-interactive": by_password
        and _one(effective, "kbdinteractiveauthentication") == "yes",
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


def useless(effective: Effective) -> Iterator[str]:
    """Yield why a login would be worth nothing to whoever administers a host by it."""
    command = _one(effective, "forcecommand")
    if command not in _KEYLESS:
        yield f"ForceCommand lets everybody run {command} alone"
    if _one(effective, "maxsessions") == "0":
        yield "MaxSessions 0 allows no session"
    if _one(effective, "chrootdirectory") not in _KEYLESS:
        yield f"ChrootDirectory keeps everybody in {_one(effective, 'chrootdirectory')}"


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


def _one(effective: Effective, name: str) -> str:
    return effective.get(name, ("",))[0]


def read_account(name: str, effective: Effective) -> Account:
    """Look at an account as the server would.

    Raises:
        SshServerError: there is no such account.

    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise SshServerError(
            f"administrator {name} is no account of this host; create it first, with its key"
        ) from None
    groups = [_group(number) for number in os.getgrouplist(name, entry.pw_gid)]
    strict = _one(effective, "strictmodes") == "yes"
    accepted = set(_one(effective, "pubkeyacceptedalgorithms").split(",")) - {""}
    keys, refusals = 0, []
    for word in " ".join(effective.get("authorizedkeysfile", ())).split():
        path = keys_path(word, name, entry.pw_uid, entry.pw_dir)
        count = _count_keys(path, accepted)
        refusal = _loose(path, entry) if strict and count else ""
        if refusal:
            refusals.append(refusal)
        else:
            keys += count
    password = _password_field(name)
    return Account(
        name,
        tuple(groups),
        keys,
        "; ".join(refusals),
        _is_password(password, effective),
        locked=(password or "").startswith("!"),
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


def _password_field(name: str) -> str | None:
    """Return what the host keeps as the account's password; ``None`` where it keeps nothing."""
    try:
        lines = SHADOW.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        fields = line.split(":")
        if fields[0] == name and len(fields) > 1:
            return fields[1]
    return None


def _is_password(field: str | None, effective: Effective) -> bool:
    """Whether this is a password that one could type; PAM may know one that the host does not."""
    if field is None:
        return _one(effective, "usepam") == "yes"
    if not field:
        return _one(effective, "permitemptypasswords") == "yes"
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


def restart(run: Run, boot_time: float, changed: bool) -> list[units.Action]:
    """Return the restart that the running server owes its configuration.

    Where a socket starts the server per need, none runs and none is owed. A restart keeps
    the sessions that are open.
    """
    (status,) = units.read([SERVICE], run, boot_time).values()
    if not status.active:
        return []
    spec = units.UnitSpec(
        SERVICE, None, units.Running.STARTED, (DROP_IN, str(Path(DROP_IN).parent))
    )
    return units.plan([spec], {SERVICE: status}, [DROP_IN] if changed else [], units.changed_at)


def undo(changes: Sequence[managed_files.Change], actions: Sequence[units.Action]) -> way_back.Undo:
    """Return what brings the former settings back."""
    what = [*(f"{item.kind} {item.path}" for item in changes), *(item.verb for item in actions)]
    then = (("systemctl", "try-restart", SERVICE),)
    return way_back.Undo(f"SSH server: {', '.join(what)}", (DROP_IN,), then=then)


def apply(
    changes: Sequence[managed_files.Change],
    actions: Sequence[units.Action],
    run: Run,
    answers: Callable[[], str],
) -> None:
    """Put the settings in force, and the former ones back when the server then fails to answer.

    ``answers`` says what is wrong with the server's greeting, ``""`` when it greets.

    Raises:
        SshServerError: the server did not come back with the new settings.

    """
    former = Path(DROP_IN).read_bytes() if Path(DROP_IN).exists() else None
    managed_files.apply(changes, run)
    try:
        units.apply(actions, run)
        problem = answers() if actions else ""
    except units.UnitsError as error:
        problem = str(error)
    if not problem:
        return
    if former is None:
        Path(DROP_IN).unlink(missing_ok=True)
    else:
        file = managed_files.FileSpec(DROP_IN, former, _ATTRIBUTES)
        managed_files.apply(managed_files.plan((), [file], ()), run)
    units.apply([units.Action("restart", SERVICE, "the former settings")], run)
    raise SshServerError(
        f"the server did not answer with the new settings ({problem}); the former ones are restored"
    )


def answer_problem(run: Run) -> str:
    """Return what is wrong with the restarted server: where it listens, it greets."""
    listeners = [
        item
        for item in connection.read_listeners(run)
        if item.unit == SERVICE or item.unit.endswith(".socket")
    ]
    if not listeners:
        return "it listens nowhere"
    return next(filter(None, (_greeting_problem(item, run) for item in listeners)), "")


def _greeting_problem(listener: Listener, run: Run) -> str:
    # A socket of IPv6 takes IPv4 too, also where the host has no address of IPv6.
    loopbacks = {4: ("127.0.0.1",), 6: ("::1", "127.0.0.1")}
    own = (str(listener.address),)
    problem = ""
    for host in loopbacks[listener.address.version] if listener.address.is_unspecified else own:
        problem = _greets(host, listener.port, run)
        if not problem:
            return ""
    return f"{listener}: {problem}"


def _greets(host: str, port: int, run: Run) -> str:
    script = 'exec 3<>"/dev/tcp/$0/$1" && head --bytes=4 <&3'
    try:
        done = run(["bash", "-c", script, host, str(port)], timeout_seconds=5.0)
    except TimeoutError:
        return "does not greet"
    if done.stdout == b"SSH-":
        return ""
    return done.stderr.decode(errors="replace").strip() or "another server"


def ports(run: Run) -> list[int]:
    """Return the ports that the configuration makes the server listen on."""
    done = _ask([PROGRAM, "-T"], run)
    if not done.ok:
        return []
    found = parse(done.stdout.decode(errors="replace"))
    return [int(value) for value in found.get("port", ()) if value.isdigit()]


def _ask(argv: list[str], run: Run) -> Completed:
    return run(argv, environment={"LC_ALL": "C"}, timeout_seconds=JUDGE_SECONDS)


def _words(done: Completed, directory: str) -> str:
    return done.said.replace(f"{directory}/", f"{CONFIGURATION_DIR}/")
