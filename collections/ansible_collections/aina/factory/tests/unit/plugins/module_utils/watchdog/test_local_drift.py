"""What has changed on a host since a converge left it, and what only lives."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.core.watchdog import local_drift

CRON = "MAILTO=root\n17 * * * * root run-parts\n"
STATUS = """Package: openssh-server
Status: install ok installed
Conffiles:
 /etc/cron.d/shipped {digest}

Package: linux-image-6.1.0-13-amd64
Status: install ok installed

Package: libssl3
Status: install ok installed
"""
TABLE = """*filter
:INPUT DROP [0:0]
:DOCKER - [0:0]
-A INPUT -j ufw-before-input
-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A ufw-user-input -p tcp --dport 22 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 -j ACCEPT
-A f2b-sshd -s 192.0.2.7/32 -j REJECT
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a small host as a converge has left it."""
    digest = hashlib.md5(CRON.encode(), usedforsecurity=False).hexdigest()
    files = {
        "etc/cron.d/shipped": CRON,
        "etc/cron.d/ours": "5 * * * * root true\n",
        "etc/sudoers.d/ali": "ali ALL=(ALL) ALL\n",
        "etc/systemd/system/docker.service.d/60-factory.conf": "[Service]\n",
        "etc/systemd/system/factory-job-x.timer": "[Timer]\n",
        "etc/aina-factory/factory.json": "{}",
        "etc/passwd": "root:x:0:0::/root:/bin/bash\nali:x:1000:1000::/home/ali:/bin/bash\n",
        "etc/group": "sudo:x:27:ali\nusers:x:100:ali\n",
        "var/lib/dpkg/status": STATUS.format(digest=digest),
        "var/lib/apt/extended_states": "Package: libssl3\nAuto-Installed: 1\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    return tmp_path


def seen(root: Path, table: str | None = TABLE) -> dict[str, dict[str, str]]:
    return local_drift.record(local_drift.PLACES, root, {"iptables-save": table})


def put(name: str, content: str, mode: int = 0o644) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
        (root / name).chmod(mode)

    return change


def link(name: str, target: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return change


def append(name: str, content: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        with (root / name).open("a") as file:
            file.write(content)

    return change


HELD = STATUS.format(digest="0" * 32).replace("install ok", "hold ok")
CHANGES: list[tuple[Callable[[Path], None], str]] = [
    (put("etc/cron.d/foreign", "* * * * * root x\n"), "file /etc/cron.d/foreign is new"),
    (put("etc/cron.d/shipped", "edited\n"), "file /etc/cron.d/shipped has changed"),
    (put("var/spool/cron/crontabs/ali", "x"), "file /var/spool/cron/crontabs/ali is new"),
    (put("etc/sudoers.d/eve", "eve ALL=(ALL) NOPASSWD: ALL"), "file /etc/sudoers.d/eve is new"),
    (
        put("etc/aina-factory/factory.json", "{ }"),
        "file /etc/aina-factory/factory.json has changed",
    ),
    (put("etc/sudoers.d/ali", "ali ALL=(ALL) ALL\n", 0o666), "/etc/sudoers.d/ali has changed"),
    (lambda root: (root / "etc/cron.d/ours").unlink(), "file /etc/cron.d/ours is gone"),
    (
        put("etc/systemd/system/docker.service.d/99-x.conf", "[Service]"),
        "file /etc/systemd/system/docker.service.d/99-x.conf is new",
    ),
    (
        link("etc/systemd/system/cron.service", "/dev/null"),
        "file /etc/systemd/system/cron.service is new",
    ),
    (link("etc/localtime", "/usr/share/zoneinfo/Asia/Tokyo"), "file /etc/localtime has changed"),
    (append("etc/passwd", "eve:x:0:0::/:/bin/sh\n"), "user eve is new"),
    (put("etc/group", "sudo:x:27:ali,eve\n"), "group sudo is ali, eve, and was ali"),
    (
        append("var/lib/dpkg/status", "\nPackage: nmap\nStatus: install ok installed\n"),
        "package nmap is new",
    ),
    (put("var/lib/dpkg/status", HELD), "package openssh-server is held, and was installed"),
    (put("var/lib/dpkg/status", "Package: x\n"), "package openssh-server is gone"),
    (put("root/.ssh/authorized_keys", "ssh-ed25519 x"), "file /root/.ssh/authorized_keys is new"),
]


@pytest.mark.parametrize(
    ("change", "words"), CHANGES, ids=[f"change {number}" for number in range(len(CHANGES))]
)
def test_what_somebody_changed_is_named(
    root: Path, change: Callable[[Path], None], words: str
) -> None:
    before = seen(root)

    change(root)

    assert words in "; ".join(local_drift.differences(before, seen(root)))


def test_rules_that_were_flushed_are_counted(root: Path) -> None:
    found = local_drift.differences(seen(root), seen(root, "*filter\n:INPUT ACCEPT [0:0]\n"))

    assert found == [
        "iptables-save chain INPUT is gone",
        "iptables-save chain ufw-user-input is gone",
    ]


def test_upgrades_jobs_bans_and_containers_are_no_drift(root: Path) -> None:
    before = seen(root)
    fresh = "MAILTO=root\n17 * * * * root run-parts --new\n"
    digest = hashlib.md5(fresh.encode(), usedforsecurity=False).hexdigest()
    upgraded = STATUS.format(digest=digest).replace("6.1.0-13", "6.1.0-18")
    put("var/lib/dpkg/status", upgraded.replace("libssl3", "libssl3t64"))(root)
    append("var/lib/apt/extended_states", "\nPackage: libssl3t64\nAuto-Installed: 1\n")(root)
    put("etc/cron.d/shipped", fresh)(root)
    put("etc/systemd/system/factory-job-y.timer", "[Timer]\n")(root)
    append("etc/passwd", "_chrony:x:110:110::/nonexistent:/usr/sbin/nologin\n")(root)
    lively = TABLE + "-A DOCKER -d 172.17.0.3/32 -j ACCEPT\n-A f2b-sshd -s 192.0.2.8/32 -j REJECT\n"

    assert local_drift.differences(before, seen(root, lively)) == []


def test_what_a_look_cannot_see_is_never_taken_for_unchanged(root: Path) -> None:
    assert local_drift.differences(seen(root, None), seen(root)) == [], "it was not recorded"

    with pytest.raises(ValueError, match="no iptables-save chain can be read now"):
        local_drift.differences(seen(root), seen(root, None))


def test_a_file_that_is_no_file_is_not_opened(root: Path) -> None:
    import os

    os.mkfifo(root / "etc/cron.d/pipe")

    assert "/etc/cron.d/pipe" not in seen(root)["file"]
