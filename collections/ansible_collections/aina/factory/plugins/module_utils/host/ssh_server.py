"""Harden the SSH server without locking its administrators out.

The server itself judges the whole configuration as it would be, before any of it is in
force: whether it can be read, and what it would mean for each administrator. When the
server does not answer with the new settings, the former ones come back.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..base.errors import FactoryError
from ..base.ports import Completed, Run
from . import managed_files, units
from .way_in import connection, logins, strangers, way_back
from .way_in.accounts import Account, Effective
from .way_in.connection import Address, Listener, Session

CONFIGURATION_DIR = Path("/etc/ssh")
DROP_IN = "/etc/ssh/sshd_config.d/10-aina-factory.conf"
SERVICE = "ssh.service"
RUNTIME_DIR = Path("/run/sshd")
_HEADER = "# Managed by Ansible (aina.factory.ssh_server); edits are lost.\n"
_ATTRIBUTES = managed_files.Attributes("root", "root", 0o644)


class SshServerError(FactoryError):
    """The settings are refused or did not work; the message says why and what to do."""


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
) -> list[dict[str, str]]:
    """Let the server read the whole configuration as it would be, for each administrator.

    Whoever the run came as, and the ``others`` who are logged in, are among them as far as the
    settings would newly shut them out.
    ``restarts`` says that the running server would read the configuration. Returns, as results
    list ``consequences``, for whom the settings would not hold.

    Raises:
        WayInError: the server does not tell what holds for somebody.
        SshServerError: it cannot be read, a setting would not be in force, or somebody
            would be locked out. Nothing has been changed.

    """
    with tempfile.TemporaryDirectory(prefix="ssh-server-") as directory:
        main = _candidate(Path(directory), settings)
        done = logins.ask([logins.PROGRAM, "-t", "-f", str(main)], run)
        if not done.ok:
            raise SshServerError(
                f"sshd refuses the settings, nothing was changed: {_words(done, directory)}"
            )
        would_be = ["-f", str(main)]
        peer = session.peer if session else None
        problems: list[str] = []
        for name in administrators if settings else ():
            now = logins.effective_for(name, session, run)
            then = logins.effective_for(name, session, run, would_be)
            problems += logins.lock_out(account(name, then), then, peer)
            before = [*logins.useless(now)]
            problems += [problem for problem in logins.useless(then) if problem not in before]
        for who, somebody in [
            ("this run came as", session),
            *(("logged in is", other) for other in others),
        ]:
            if somebody is None or (somebody.account in administrators and who != "logged in is"):
                continue
            name = somebody.account
            now = logins.effective_for(name, somebody, run)
            then = logins.effective_for(name, somebody, run, would_be)
            before = logins.problems(account(name, now), now, somebody.peer)
            found = logins.problems(account(name, then), then, somebody.peer)
            # Of what the server has not read yet, what is certain counts as well: he is in.
            shut_out = logins.shut_out(account(name, then), then, somebody.peer)
            certain = [*shut_out] if restarts else []
            problems += [
                f"{who} {name}: {item}" for item in found if item not in before or item in certain
            ]
        moves = {"port", "listenaddress", "addressfamily"} & {name.lower() for name in settings}
        whole = logins.ask([logins.PROGRAM, "-T", "-f", str(main)], run)
        effective = logins.parse(whole.stdout.decode(errors="replace"))
        if session is not None and (restarts or moves):
            problems += moved_away(session, listeners, effective, declared=bool(moves))
        if problems:
            raise SshServerError(
                "these settings would lock administrators out, nothing was changed: "
                + "; ".join(problems)
            )
        if moves:
            check_sockets(listeners, effective)
        _check_in_force(settings, main, whole, run, directory)
        listed = {str(CONFIGURATION_DIR): directory}
        blocks = strangers.read(main, listed)
        return strangers.exempt(
            settings, effective, blocks, lambda words: logins.effective(words, run, would_be)
        )


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


def _check_in_force(
    settings: Mapping[str, str], main: Path, whole: Completed, run: Run, directory: str
) -> None:
    """A setting that an earlier file has already made is silently without effect."""
    alone = main.with_name("alone")
    alone.write_text(content(settings) if settings else "", encoding="utf-8")
    wanted = logins.ask([logins.PROGRAM, "-T", "-f", str(alone)], run)
    if not whole.ok or not wanted.ok:
        raise SshServerError(f"sshd -T: {_words(wanted if whole.ok else whole, directory)}")
    actual, declared = (
        logins.parse(item.stdout.decode(errors="replace")) for item in (whole, wanted)
    )
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
    done = logins.ask([logins.PROGRAM, "-T"], run)
    if not done.ok:
        return []
    found = logins.parse(done.stdout.decode(errors="replace"))
    return [int(value) for value in found.get("port", ()) if value.isdigit()]


def _words(done: Completed, directory: str) -> str:
    return done.said.replace(f"{directory}/", f"{CONFIGURATION_DIR}/")
