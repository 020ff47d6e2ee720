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

    entry = mounts.MountEntry("8:18", "ext4", "/dev/sdb2", options=("rw",))
    assert table["/mnt/two words"] == entry
    assert table["/srv"] == mounts.MountEntry("0:40", "nfs4", "server:/share", "/share", ("rw",))
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


HOST_TABLE = rb"""22 1 8:2 / / rw,relatime - ext4 /dev/sda2 rw
23 22 8:1 / /boot/efi rw - vfat /dev/sda1 rw
24 22 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
25 22 0:40 / /run rw - tmpfs tmpfs rw
26 22 8:2 /srv/data /mnt/bound rw - ext4 /dev/sda2 rw
27 22 8:33 / /mnt/backup rw - xfs /dev/sdc1 rw
28 22 8:33 / /var/backup rw - xfs /dev/sdc1 rw
29 22 0:50 / /mnt/share rw - nfs4 server:/share rw
30 22 0:60 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
31 22 8:49 / /media/archive ro - ext4 /dev/sdd1 ro
"""
FSTAB = """# a comment
UUID=11-AA /           ext4 errors=remount-ro 0 1
/dev/sdb1  /mnt/big    xfs  defaults          0 2
LABEL=usb  /media/usb  ext4 noauto            0 0
/swapfile  none        swap sw                0 0
/srv/data  /mnt/bound  none bind              0 0
/dev/sdd1  /media/archive ext4 ro             0 0
half a line
"""


def test_every_real_mount_is_found_by_itself_once_and_what_is_declared_as_well() -> None:
    found = mounts.watched(("/",), mounts.parse(HOST_TABLE), mounts.declared(FSTAB))

    assert found == ("/", "/mnt/big", "/boot/efi", "/mnt/share", "/mnt/backup")


def test_what_fstab_declares_is_read_with_its_device() -> None:
    found = mounts.declared(FSTAB)

    assert {path: entry.source for path, entry in found.items()} == {
        "/": "UUID=11-AA",
        "/mnt/big": "/dev/sdb1",
        "/media/archive": "/dev/sdd1",
    }
