"""What people come in by returns unless a new connection confirms it: the real watch, in a directory."""

from __future__ import annotations

import ipaddress
import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory.core.base import processes
from factory.core.base.ports import Completed
from factory.core.host.way_in import way_back
from factory.core.host.way_in.connection import Session
from factory.core.host.way_in.way_back import Armed, Undo, WayBackError

GONE = "999999999:1"
SYSTEMCTL = '#!/bin/sh\necho "systemctl $*" >>"$TOLD"\n'


def nobody(_others: object) -> list[tuple[Session, str]]:
    """Say that nobody else is shut out."""
    return []


@dataclass
class Host:
    """A directory in place of a host; the watch runs when it is started, as a unit would."""

    root: Path
    calls: list[list[str]] = field(default_factory=list)
    failing: str = ""
    watch: subprocess.Popen[bytes] | None = None

    @property
    def here(self) -> Path:
        return self.root / "way-back"

    def run(self, argv: Sequence[str | bytes], **_options: Any) -> Completed:
        words = [str(word) for word in argv]
        self.calls.append(words)
        if self.failing and self.failing in words:
            return Completed(1, b"", b"Failed to connect to bus")
        if words[1] == "start" and self.watch is None:
            self.boot()
        return Completed(0, b"", b"")

    def boot(self) -> None:
        """Start the watch, as the unit does."""
        environment = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "TOLD": str(self.told)}
        self.watch = subprocess.Popen(["/bin/sh", str(self.here / "watch")], env=environment)

    @property
    def told(self) -> Path:
        return self.root / "told"

    def arm(self, *undos: Undo, holder: str = GONE, connection: str = "1:1") -> Armed:
        armed = Armed("token", connection, undos)
        way_back.arm(armed, holder, 1, self.run, self.here)
        return armed

    def end_run(self) -> None:
        """Let the run that has made the change end; from then on the watch counts."""
        (self.here / "holder").write_text(GONE.replace(":", " ") + "\n")

    def ends(self, seconds: float = 10) -> bool:
        assert self.watch is not None
        try:
            self.watch.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def left(self) -> list[str]:
        """What is there of the watch beside what it says."""
        return [
            str(path.relative_to(self.root))
            for path in (self.here, *self.root.glob("units/**/*way-back*"))
            if os.path.lexists(path)
        ]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setattr(way_back, "UNIT_DIR", tmp_path / "units")
    for name in ("units", "bin"):
        (tmp_path / name).mkdir()
    program = tmp_path / "bin/systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    made = Host(tmp_path)
    yield made
    if made.watch is not None:
        made.watch.kill()
        made.watch.wait()


def test_what_nobody_confirms_is_taken_back_as_it_was(host: Host) -> None:
    kept, new, link = (host.root / name for name in ("it's kept", "new", "link"))
    kept.write_text("before\n")
    kept.chmod(0o640)
    link.symlink_to("somewhere")
    paths = (str(kept), str(new), str(link))
    host.arm(Undo("the rules", paths, then=(("echo", "done"),)), holder=processes.identity())
    kept.write_text("after\n")
    kept.chmod(0o600)
    new.write_text("after\n")
    link.unlink()
    host.end_run()

    assert host.ends()

    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("before\n", 0o640)
    assert link.readlink() == Path("somewhere")
    assert not new.exists()
    assert host.told.read_text() == "systemctl daemon-reload\n"
    assert way_back.pending(host.here) is None
    assert way_back.taken_back(host.here) == ["the rules"]
    assert way_back.taken_back(host.here) == []
    assert host.left == []


def test_what_a_new_connection_confirms_stays(host: Host) -> None:
    file = host.root / "file"
    host.arm(Undo("the file", (str(file),)), holder=processes.identity())
    file.write_text("after\n")

    assert way_back.confirm("token", "2:2", nobody, host.here)
    way_back.forget(host.run, host.here)

    assert host.ends()
    assert file.read_text() == "after\n"
    assert host.left == []
    assert not way_back.confirm("token", "2:2", nobody, host.here)


def test_neither_the_same_connection_nor_another_run_confirms(host: Host) -> None:
    host.arm(Undo("the file"), holder=processes.identity())

    with pytest.raises(WayBackError, match="the connection in which the change was made"):
        way_back.confirm("token", "1:1", nobody, host.here)
    with pytest.raises(WayBackError, match="another run"):
        way_back.confirm("other", "2:2", nobody, host.here)

    assert way_back.pending(host.here) is not None


def test_what_shuts_somebody_else_out_is_not_confirmed(host: Host) -> None:
    peer, address = map(ipaddress.ip_address, ("203.0.113.9", "2001:db8::1"))
    bob = Session("bob", peer, address, 22)
    armed = Armed("token", "1:1", (Undo("the file"),), (bob,))
    way_back.arm(armed, processes.identity(), 1, host.run, host.here)

    def out(others: Sequence[Session]) -> list[tuple[Session, str]]:
        return [(other, "AllowGroups shut bob out") for other in others]

    assert way_back.pending(host.here) == armed
    with pytest.raises(WayBackError, match=r"bob from 203\.0\.113\.9: AllowGroups shut bob out"):
        way_back.confirm("token", "2:2", out, host.here)
    assert way_back.confirm("token", "2:2", nobody, host.here)


def test_the_watch_waits_for_the_end_of_the_run_and_not_for_ever(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(way_back, "LONGEST_SECONDS", 4)
    host.arm(Undo("the file"), holder=processes.identity())

    assert not host.ends(2.5)

    assert host.ends()


def test_a_boot_in_the_midst_of_it_makes_up_for_the_rest(host: Host) -> None:
    file = host.root / "file"
    file.write_text("before\n")
    host.failing = "start"
    with pytest.raises(WayBackError):
        host.arm(Undo("the file", (str(file),)))
    host.failing = ""
    host.watch = subprocess.Popen(["true"])  # the host is off
    host.arm(Undo("the file", (str(file),)))
    file.write_text("after\n")
    wanted = host.root / "units/multi-user.target.wants" / way_back.UNIT
    assert wanted.resolve() == (host.root / "units" / way_back.UNIT)
    (host.here / "armed").rename(host.here / "restoring")

    host.boot()

    assert host.ends()
    assert file.read_text() == "before\n"


def test_without_a_watch_nothing_is_changed(host: Host) -> None:
    host.failing = "daemon-reload"

    with pytest.raises(WayBackError, match=r"Failed to connect to bus.*'the file' was not done"):
        host.arm(Undo("the file"))

    assert host.left == []


def test_several_changes_lead_back_to_what_was_there_before_the_first(host: Host) -> None:
    file = host.root / "file"
    file.write_text("first\n")
    say = [("sh", "-c", f"echo {word} >>{host.told}") for word in ("one", "two", "three")]
    one = Undo("one", (str(file),), first=(say[0],))
    host.arm(one, holder=processes.identity())
    file.write_text("second\n")
    # A run that was killed left this; the next one goes on, and changes more.
    found = way_back.pending(host.here)
    assert found is not None
    held = way_back.hold(found, "3:3", processes.identity(), host.here)
    assert held.undos == (one,)
    with pytest.raises(WayBackError, match="another run"):
        way_back.confirm("token", "4:4", nobody, host.here)
    two = Undo("two", (str(file),), first=(say[1],), then=(say[2],))
    host.arm(*held.undos, two)

    assert host.ends()
    assert file.read_text() == "first\n"
    assert host.told.read_text().split()[:3] == ["two", "three", "one"]
    assert way_back.taken_back(host.here) == ["one", "two"]


def test_whoever_comes_while_it_is_taken_back_waits(host: Host) -> None:
    host.watch = subprocess.Popen(["true"])  # it takes its time
    host.arm(Undo("the file"), holder=processes.identity())
    found = way_back.pending(host.here)
    assert found is not None
    (host.here / "armed").rename(host.here / "restoring")

    with pytest.raises(WayBackError, match="is being taken back"):
        way_back.hold(found, "2:2", GONE, host.here)
    with pytest.raises(WayBackError, match="is being taken back"):
        host.arm(Undo("more"))


@pytest.mark.parametrize(
    ("path", "concerned"),
    [
        ("/etc/ssh/sshd_config.d/99-x.conf", True),
        ("/etc/sudoers.d/90-ali", True),
        ("/etc/systemd/system/ssh.socket.d/port.conf", True),
        ("/etc/systemd/system/sockets.target.wants/ssh.socket", True),
        ("/etc/hosts.deny", True),
        ("/etc/hosts", False),
        ("/etc/systemd/system/docker.service.d/x.conf", False),
        ("/home/ali/etc/ssh/x", False),
    ],
)
def test_files_by_which_people_come_in_are_known(path: str, concerned: bool) -> None:
    undo = way_back.of_files(["/etc/motd", path])

    assert (undo is not None and undo.files == (path,)) == concerned


def test_units_by_which_people_come_in_are_known() -> None:
    undo = way_back.of_units(["docker.service", "ssh.socket", "ssh.socket", "ufw.service"])

    assert undo is not None
    assert undo.then == (("systemctl", "start", "ssh.socket", "ufw.service"),)
    assert way_back.of_units(["openssh-like.service", "ssh.timer"]) is None
