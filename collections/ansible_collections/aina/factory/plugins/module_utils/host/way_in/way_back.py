"""The way back: what people come in by is saved before it is changed, and returns unless confirmed.

A watch on the host waits for a new connection to confirm the change. It outlives the run, its
connection and a boot: where no confirmation comes, it puts back what was there.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...base import files
from ...base.errors import FactoryError
from ...base.ports import Run
from ...base.run import checked
from .. import managed_files
from . import connection
from .connection import Session

DIRECTORY = Path("/var/lib/aina-factory/way-back")
UNIT = "aina-factory-way-back.service"
UNIT_DIR = Path("/etc/systemd/system")
SECONDS = 90
ASK_SECONDS = 60.0
# Whatever holds the run up: so long may people be kept out at most.
LONGEST_SECONDS = 1800
Command = tuple[str, ...]
_BUSY = f"an earlier change is being taken back; converge again when {UNIT} has ended"

_WATCH = """\
#!/bin/sh
# Written by Ansible (aina.factory): takes back what has changed the way in, unless it is confirmed.
here=@HERE@
alone=0 whole=0
while [ ! -e "$here/restoring" ]; do
  [ -e "$here/armed" ] || exit 0
  read -r pid started <"$here/holder"
  # While the run works, only the longest time counts; then that in which it may confirm.
  case $(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null) in
    "$started") alone=0 ;;
    *) alone=$((alone + 1)) ;;
  esac
  whole=$((whole + 1))
  if [ "$alone" -ge @SECONDS@ ] || [ "$whole" -ge @LONGEST@ ]; then
    # Whoever moves this file first decides.
    mv "$here/armed" "$here/restoring" 2>/dev/null || exit 0
  else
    sleep 1
  fi
done
echo "nobody has confirmed the change of the way in: what was there comes back"
sh "$here/undo"
rm -f @WANTED@ @UNIT@
systemctl daemon-reload
rm -rf "$here/files"
mv "$here/restoring" "$here/restored"
"""

# An exchange by name, so that at every moment the one or the other is there.
_UNDO = """\
put() {
  mkdir -p "${1%/*}"
  cp -a --no-target-directory "$here/files$1" "$1.aina-way-back" &&
    mv -f --no-target-directory "$1.aina-way-back" "$1" || echo "could not put $1 back"
}
gone() { rm -f "$1"; }
try() { "$@" || echo "failed: $*"; }
"""

_UNIT_TEXT = """\
# Written by Ansible (aina.factory); goes when the change is confirmed or taken back.
[Unit]
Description=Take back what has changed the way in unless a new connection confirms it
After=ufw.service ssh.service

[Service]
ExecStart=/bin/sh @HERE@/watch
"""


# Files, and units, without which people may not come in any more, or not become root.
_FILES = re.compile(
    r"/etc/(ssh|ufw|sudoers\.d|pam\.d|security|netplan|network|iptables|nftables\.d|systemd/network)/"
    r"|/etc/(sudoers|hosts\.(allow|deny)|nftables\.conf|nsswitch\.conf|default/(ssh|ufw))$"
    r"|/etc/systemd/system/([^/]*\.wants/)?(ssh|sshd|dropbear|ufw|nftables)[@.]"
)
_UNITS = re.compile(
    r"(ssh|sshd|dropbear|ufw|nftables|netfilter-persistent|networking|NetworkManager"
    r"|systemd-networkd|systemd-logind)(@.*)?\.(service|socket)"
)


class WayBackError(FactoryError):
    """The way back could not be prepared; the message says why and that nothing was changed."""


@dataclass(frozen=True)
class Undo:
    """What takes one change back.

    ``what`` names the change for people. ``first`` runs before the files are put back as they
    were (those that were not there go), ``then`` after that.
    """

    what: str
    files: tuple[str, ...] = ()
    first: tuple[Command, ...] = ()
    then: tuple[Command, ...] = ()


@dataclass(frozen=True)
class Armed:
    """A change that waits to be confirmed.

    ``connection`` names the session in which it was made, ``""`` for none of SSH's. ``others``
    could come in again before it, and are to afterwards.
    """

    token: str
    connection: str
    undos: tuple[Undo, ...]
    others: tuple[Session, ...] = ()


def of_files(paths: Collection[str]) -> Undo | None:
    """Return what takes changes of these files back, if people come in by one of them."""
    concerned = tuple(path for path in paths if _FILES.match(path))
    if not concerned:
        return None
    return Undo(f"write or remove {', '.join(concerned)}", concerned)


def of_units(names: Collection[str]) -> Undo | None:
    """Return what has these running units as they were, if people come in by one of them."""
    concerned = [name for name in dict.fromkeys(names) if _UNITS.fullmatch(name)]
    if not concerned:
        return None
    then = (("systemctl", "start", *concerned),)
    return Undo(f"restart or stop {', '.join(concerned)}", then=then)


def pending(directory: Path | None = None) -> Armed | None:
    """Return the change that waits to be confirmed.

    Raises:
        WayBackError: its record cannot be read.

    """
    record = (directory or DIRECTORY) / "armed"
    if not record.exists():
        return None
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        undos = tuple(_undo(item) for item in found["undos"])
        others = tuple(_session(item) for item in found.get("others", ()))
        return Armed(found["token"], found["connection"], undos, others)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WayBackError(
            f"{record} is damaged ({error!r}); wait until {UNIT} has taken the last change back"
        ) from error


def _undo(item: dict[str, Any]) -> Undo:
    first, then = (tuple(tuple(argv) for argv in item[key]) for key in ("first", "then"))
    return Undo(item["what"], tuple(item["files"]), first, then)


def _session(item: dict[str, Any]) -> Session:
    peer, address = (connection.address_of(str(item[key])) for key in ("peer", "address"))
    return Session(item["account"], peer, address, int(item["port"]))


def _record(armed: Armed) -> bytes:
    others = [
        {**asdict(other), "peer": str(other.peer), "address": str(other.address)}
        for other in armed.others
    ]
    return (json.dumps({**asdict(replace(armed, others=())), "others": others}) + "\n").encode()


def taken_back(directory: Path | None = None) -> list[str]:
    """Return what was taken back since somebody last asked, and forget that it was."""
    note = (directory or DIRECTORY) / "restored"
    if not note.exists():
        return []
    try:
        found = [item["what"] for item in json.loads(note.read_text(encoding="utf-8"))["undos"]]
    except (ValueError, KeyError, TypeError):
        found = ["an earlier change"]
    shutil.rmtree(note.parent)
    return found


def arm(wanted: Armed, holder: str, seconds: int, run: Run, directory: Path | None = None) -> None:
    """Save what the newest of the changes touches, and let the host watch over all of them.

    ``holder`` is the identity of the process that makes them; the watch counts from its end.

    Raises:
        WayBackError: there would be no way back. Nothing was changed.

    """
    here = directory or DIRECTORY
    try:
        if (here / "restoring").exists():
            raise WayBackError(_BUSY)
        if pending(here) is None:
            shutil.rmtree(here, ignore_errors=True)
        here.mkdir(parents=True, exist_ok=True)
        here.parent.chmod(0o755)
        here.chmod(0o700)
        for path in wanted.undos[-1].files:
            _save(Path(path), here)
        values = {
            "@HERE@": str(here),
            "@SECONDS@": str(seconds),
            "@LONGEST@": str(LONGEST_SECONDS),
            "@UNIT@": str(UNIT_DIR / UNIT),
            "@WANTED@": str(_wanted()),
        }
        files.write(here / "undo", _script(wanted.undos, here).encode())
        files.write(here / "watch", _filled(_WATCH, values).encode())
        files.write(here / "holder", f"{holder.replace(':', ' ')}\n".encode())
        files.write(UNIT_DIR / UNIT, _filled(_UNIT_TEXT, values).encode())
        if not _wanted().is_symlink():
            _wanted().parent.mkdir(exist_ok=True)
            _wanted().symlink_to(f"../{UNIT}")
        files.write(here / "armed", _record(wanted))
        for argv in (["daemon-reload"], ["start", UNIT]):
            checked(run, ["systemctl", *argv], error=WayBackError, timeout_seconds=ASK_SECONDS)
    except (OSError, TimeoutError, WayBackError) as error:
        if len(wanted.undos) == 1:
            forget(run, here)
        raise WayBackError(
            f"no way back could be prepared for what changes the way in ({error}); "
            f"'{wanted.undos[-1].what}' was not done"
        ) from error


def _filled(text: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def hold(found: Armed, session: str, holder: str, directory: Path | None = None) -> Armed:
    """Let the change of an earlier run wait for this one, which comes to its end after it.

    Raises:
        WayBackError: it is being taken back at this moment.

    """
    here = directory or DIRECTORY
    held = replace(found, token=holder, connection=session or found.connection)
    files.write(here / "holder", f"{holder.replace(':', ' ')}\n".encode())
    files.write(here / "armed", _record(held))
    if any((here / name).exists() for name in ("restoring", "restored")):
        (here / "armed").unlink()
        raise WayBackError(_BUSY)
    return held


def confirm(
    token: str,
    session: str,
    shut: Callable[[Sequence[Session]], Iterable[tuple[Session, str]]],
    directory: Path | None = None,
) -> bool:
    """Let the change stay, when it is this one and ``session`` is a new one.

    ``session`` is ``""`` where the control node has none that could be new; ``shut`` says who of
    the others could not come in any more. Returns whether the change stays; from then on nothing
    takes it back.

    Raises:
        WayBackError: it is another change, no new connection, or shuts somebody else out.

    """
    here = directory or DIRECTORY
    found = pending(here)
    if found is None:
        return False
    if found.token != token:
        raise WayBackError("another run has changed the way in meanwhile, and is to confirm that")
    if session and session == found.connection:
        raise WayBackError("this is the connection in which the change was made, and no new one")
    out = [f"{other.account} from {other.peer}: {why}" for other, why in shut(found.others)]
    if out:
        raise WayBackError(f"others who were logged in could not log in again: {'; '.join(out)}")
    try:
        (here / "armed").rename(here / "confirmed")
    except FileNotFoundError:
        return False  # the watch was first
    return True


def forget(run: Run, directory: Path | None = None) -> None:
    """Remove the watch and what was saved for it."""
    here = directory or DIRECTORY
    (here / "armed").unlink(missing_ok=True)
    _wanted().unlink(missing_ok=True)
    (UNIT_DIR / UNIT).unlink(missing_ok=True)
    for argv in (["stop", UNIT], ["daemon-reload"]):
        run(["systemctl", *argv], timeout_seconds=ASK_SECONDS)
    shutil.rmtree(here, ignore_errors=True)


def _wanted() -> Path:
    """Return the link by which a boot starts the watch."""
    return UNIT_DIR / "multi-user.target.wants" / UNIT


def _save(path: Path, here: Path) -> None:
    """Keep a file as it is now, unless an earlier change of the same run has kept it."""
    copy = here / "files" / str(path).lstrip("/")
    if not os.path.lexists(copy) and os.path.lexists(path):
        managed_files.save(path, copy)


def _script(undos: Sequence[Undo], here: Path) -> str:
    """Return what takes the changes back, the newest first."""
    lines = ["#!/bin/sh", f"here={shlex.quote(str(here))}", _UNDO]
    for undo in reversed(undos):
        lines += [f"try {shlex.join(argv)}" for argv in undo.first]
        for path in undo.files:
            verb = "put" if os.path.lexists(here / "files" / path.lstrip("/")) else "gone"
            lines.append(f"{verb} {shlex.quote(path)}")
        lines += [f"try {shlex.join(argv)}" for argv in undo.then]
    return "\n".join([*lines, "sync", ""])
