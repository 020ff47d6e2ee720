"""A host that behaves as Ubuntu's servers do, one difference after the other, or all at once."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from behaviour import converge
from sampling import draw

SCENARIO = Path(__file__).parent
KEY = "-o StrictHostKeyChecking=no -o ConnectTimeout=10 -o BatchMode=yes -i /home/agent/.ssh/id_ed25519"


@dataclass(frozen=True)
class Difference:
    """One entry of ubuntu.yml: files, a package that owns files, and commands."""

    name: str
    files: dict[str, str]
    package: dict[str, str]
    lay: str
    take: str

    def put(self, host: Any) -> None:
        for path, text in self.files.items():
            host.check_output(f"test ! -e {path} || cp --no-dereference {path} {self.saved(path)}")
            host.check_output(write(path, text))
        if self.package:
            root = f"/tmp/{self.name}"
            control = f"Package: {self.name}\nVersion: 1\nArchitecture: all\n"
            control += "Maintainer: x <x@example.com>\nDescription: x\n"
            for path, text in {"/DEBIAN/control": control, **self.package}.items():
                host.check_output(write(f"{root}{path}", text))
            host.check_output(f"dpkg-deb --build {root} {root}.deb && dpkg --install {root}.deb")
        host.check_output(f"{self.lay or 'true'} 2>&1")

    def remove(self, host: Any) -> None:
        for path in self.files:
            host.check_output(
                f"rm {path}; test ! -e {self.saved(path)} || mv {self.saved(path)} {path}"
            )
        if self.package:
            host.check_output(f"dpkg --purge {self.name}")
        host.check_output(f"{self.take or 'true'} 2>&1")

    def saved(self, path: str) -> str:
        return f"/root/{self.name}-{Path(path).name}"


def write(path: str, text: str) -> str:
    """Return the command that writes a file, readable for whoever may read its like."""
    coded = base64.b64encode(text.encode()).decode()
    mode = "0440" if "sudoers" in path else "0644"
    return (
        f"mkdir --parents {shlex.quote(str(Path(path).parent))} && rm --force {path} && "
        f"echo {coded} | base64 --decode >{path} && chmod {mode} {path}"
    )


EVERY = [
    Difference(
        item["name"],
        item.get("files", {}),
        item.get("package", {}),
        item.get("lay", ""),
        item.get("take", ""),
    )
    for item in yaml.safe_load((SCENARIO / "ubuntu.yml").read_text(encoding="utf-8"))
]


@contextmanager
def behaving(host: Any, differences: Sequence[Difference]) -> Iterator[None]:
    try:
        for item in differences:
            item.put(host)
        yield
    finally:
        for item in reversed(differences):
            item.remove(host)


def is_converged(host: Any, differences: Sequence[Difference]) -> None:
    """Whether roles bring it to its state, keep what is the distribution's, and let people in."""
    run = converge(SCENARIO)

    assert run.returncode == 0, run.output
    assert converge(SCENARIO).changed == []
    for item in differences:
        for path, text in {**item.files, **item.package}.items():
            assert host.file(path).content_string == text, path
    assert host.run(f"ssh {KEY} agent@localhost true").succeeded
    names = {item.name for item in differences}
    settings = host.check_output("sshd -T -C user=agent,host=localhost,addr=127.0.0.1").splitlines()
    # Theirs is read after ours, and the first one counts.
    assert {"passwordauthentication no", "maxauthtries 3"} <= {*settings}
    assert host.check_output("sysctl --values net.ipv4.conf.all.send_redirects") == "0"
    assert host.check_output(RESTARTS) == "l"
    if "ssh-socket" in names:
        # The socket keeps the port; a server that it has started goes on, with the new settings.
        assert host.service("ssh.socket").is_running
        assert host.check_output("systemctl is-enabled ssh.service; true") != "enabled"


# What needrestart would do after an installation.
RESTARTS = "perl -e 'our %nrconf; do $_ for sort glob(\"/etc/needrestart/conf.d/*.conf\"); print $nrconf{restart}'"


@pytest.mark.parametrize("item", draw("differences of Ubuntu", EVERY), ids=lambda item: item.name)
def test_a_difference_of_ubuntu_breaks_nothing(host: Any, item: Difference) -> None:
    with behaving(host, [item]):
        is_converged(host, [item])

    assert converge(SCENARIO).returncode == 0


@pytest.mark.deep
def test_all_differences_of_ubuntu_together_break_nothing(host: Any) -> None:
    with behaving(host, EVERY):
        is_converged(host, EVERY)

    assert converge(SCENARIO).returncode == 0
