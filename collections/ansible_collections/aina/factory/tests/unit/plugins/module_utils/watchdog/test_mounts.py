"""The kernel's table of mounts, and which filesystem was where before."""

from __future__ import annotations

from factory.core.watchdog import mounts
from factory.core.watchdog.facts import Known, Unknown
from factory.core.watchdog.mounts import Mount

TABLE = rb"""22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw
31 22 8:17 / /mnt/two\040words rw - xfs /dev/sdb1 rw,noquota
32 22 8:18 / /mnt/two\040words rw - ext4 /dev/sdb2 ro
33 22 0:40 /share /srv rw master:1 - nfs4 server:/share rw
"""


def test_the_uppermost_mount_of_a_place_counts_whatever_its_name_holds() -> None:
    table = mounts.parse(TABLE)

    assert table["/mnt/two words"] == mounts.MountEntry("8:18", "ext4", "/dev/sdb2")
    assert table["/srv"] == mounts.MountEntry("0:40", "nfs4", "server:/share")
    assert mounts.holder("/srv/repos/a", table) == "/srv"
    assert mounts.holder("/srvice", table) == "/"


def test_another_filesystem_is_remembered_with_the_one_before_and_since_when() -> None:
    def seen(identity: str) -> dict[str, Known[Mount] | Unknown]:
        return {"/d": Known(Mount("/d", True, identity))}

    first = mounts.remember(seen("ext4 a"), {}, 1.0)
    gone = mounts.remember({"/d": Known(Mount("/", mounted=False))}, first, 2.0)
    hidden = mounts.remember({"/d": Unknown("late")}, gone, 3.0)
    other = mounts.remember(seen("ext4 b"), hidden, 4.0)

    assert first == gone == hidden == {"/d": mounts.LastSeenMount("/d", "ext4 a")}
    assert other == {"/d": mounts.LastSeenMount("/d", "ext4 b", "ext4 a", 4.0)}
    assert mounts.remember({}, other, 5.0) == {}, "it is declared no longer"
