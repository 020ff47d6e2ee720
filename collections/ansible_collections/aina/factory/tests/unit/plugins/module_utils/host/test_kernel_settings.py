"""Strict kernel settings: what is tightened, what stays, and what is given back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import kernel_settings, managed_files, steps
from factory.core.host.steps import kernel_settings as step

POINTERS = {"name": "kernel.kptr_restrict", "at_least": 2, "why": "Addresses help an attacker."}
REDIRECTS = {"name": "net.ipv4.send_redirects", "at_most": 0, "why": "Bends nobody's way."}


@dataclass
class Host:
    """A kernel below a directory, and the administrator's files."""

    root: Path
    contained: bool = False
    packaged: Sequence[Path] = ()
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, value in (("kernel.kptr_restrict", 1), ("net.ipv4.send_redirects", 1)):
            self.write(name, value)
        (self.root / "sysctl.d").mkdir()

    def path(self, name: str) -> Path:
        return self.root / "proc" / name.replace(".", "/")

    def write(self, name: str, value: int) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(f"{value}\n", encoding="ascii")

    def value(self, name: str) -> int:
        return int(self.path(name).read_text(encoding="ascii"))

    @property
    def boot(self) -> Path:
        return self.root / "sysctl.d/60-own.conf"

    def run(self, argv: Sequence[str | bytes], **_options: Any) -> Completed:
        if argv[0] == "systemd-detect-virt":
            return Completed(0 if self.contained else 1, b"", b"")
        assert argv[:2] == ["dpkg-query", "--search"]
        found = [f"procps: {path}\n" for path in self.packaged if str(path) in argv]
        return Completed(1, "".join(found).encode(), b"no path found matching pattern")

    def converge(self, *settings: dict[str, Any], check_mode: bool = False) -> dict[str, Any]:
        bare = {"at_least": None, "at_most": None}
        parameters = {
            "settings": [{**bare, **item} for item in settings],
            "path": str(self.boot),
            "record_path": str(self.root / "record.json"),
        }
        return step.execute(parameters, steps.Context(self.run, check_mode, self.warnings.append))


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    # Where it runs under somebody who is not root.
    monkeypatch.setattr(kernel_settings, "_ATTRIBUTES", managed_files.Attributes(None, None, 0o644))
    monkeypatch.setattr(kernel_settings, "DIRECTORY", tmp_path / "sysctl.d")
    monkeypatch.setattr(kernel_settings, "MAIN", tmp_path / "sysctl.conf")
    current, write = kernel_settings.read_current, kernel_settings.apply
    monkeypatch.setattr(
        kernel_settings, "read_current", lambda names: current(names, tmp_path / "proc")
    )
    monkeypatch.setattr(
        kernel_settings, "apply", lambda writes, names: write(writes, names, tmp_path / "proc")
    )
    return made


def test_what_is_laxer_is_tightened_now_and_for_the_next_boot(host: Host) -> None:
    done = host.converge(POINTERS, REDIRECTS)

    assert (host.value("kernel.kptr_restrict"), host.value("net.ipv4.send_redirects")) == (2, 0)
    assert "kernel.kptr_restrict: 1 -> 2" in done["actions"]
    text = host.boot.read_text(encoding="utf-8")
    assert "# Addresses help an attacker.\nkernel.kptr_restrict = 2\n" in text
    assert host.converge(POINTERS, REDIRECTS)["changed"] is False


def test_what_is_stricter_already_is_left_to_whoever_made_it_so(host: Host) -> None:
    host.write("kernel.kptr_restrict", 4)

    assert host.converge(POINTERS)["changed"] is False
    # Neither now nor at the next boot.
    assert host.value("kernel.kptr_restrict") == 4
    assert not host.boot.exists()


@pytest.mark.parametrize("line", ["kernel.kptr_restrict = 1", "-kernel/kptr_restrict=1"])
def test_what_an_administrator_declares_otherwise_stays_and_is_named(host: Host, line: str) -> None:
    theirs = host.root / "sysctl.d/99-debugging.conf"
    theirs.write_text(f"# for profilers\n{line}\n", encoding="utf-8")

    done = host.converge(POINTERS)

    assert host.value("kernel.kptr_restrict") == 1
    assert done["changed"] is False
    assert done["kept"] == [f"kernel.kptr_restrict: 1 by {theirs}"]


def test_what_a_package_ships_is_nobodys_choice(host: Host) -> None:
    shipped = host.root / "sysctl.d/10-kernel-hardening.conf"
    shipped.write_text("kernel.kptr_restrict = 1\n", encoding="utf-8")
    host.packaged = [shipped]

    host.converge(POINTERS)

    assert host.value("kernel.kptr_restrict") == 2


def test_what_is_no_longer_declared_gets_its_former_value_back(host: Host) -> None:
    host.converge(POINTERS, REDIRECTS)
    host.converge(REDIRECTS)

    assert (host.value("kernel.kptr_restrict"), host.value("net.ipv4.send_redirects")) == (1, 0)
    assert "kptr" not in host.boot.read_text(encoding="utf-8")

    host.converge()

    assert host.value("net.ipv4.send_redirects") == 1
    assert not host.boot.exists()
    assert not (host.root / "record.json").exists()


def test_after_a_boot_the_record_still_knows_the_former_value(host: Host) -> None:
    host.converge(POINTERS)
    assert host.converge(POINTERS)["changed"] is False

    host.converge()

    assert host.value("kernel.kptr_restrict") == 1


def test_in_a_container_only_its_own_network_is_touched(host: Host) -> None:
    host.contained = True

    host.converge(POINTERS, REDIRECTS)

    assert (host.value("kernel.kptr_restrict"), host.value("net.ipv4.send_redirects")) == (1, 0)
    assert "kptr" not in host.boot.read_text(encoding="utf-8")


def test_a_setting_that_this_kernel_lacks_is_nobodys_fault(host: Host) -> None:
    done = host.converge({"name": "kernel.yama.ptrace_scope", "at_least": 1, "why": "-"})

    assert done["changed"] is False


def test_a_prediction_changes_nothing_and_says_the_same(host: Host) -> None:
    planned = host.converge(POINTERS, check_mode=True)

    assert host.value("kernel.kptr_restrict") == 1
    assert list((host.root / "sysctl.d").iterdir()) == []
    assert planned["actions"] == host.converge(POINTERS)["actions"]


def test_a_killed_run_has_recorded_what_it_was_about_to_change(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def killed(_writes: object, _names: object) -> list[str]:
            raise KeyboardInterrupt

        patched.setattr(kernel_settings, "apply", killed)
        with pytest.raises(KeyboardInterrupt):
            host.converge(POINTERS)
    host.write("kernel.kptr_restrict", 2)  # it died behind the write

    host.converge(POINTERS)
    host.converge()

    assert host.value("kernel.kptr_restrict") == 1


def test_a_damaged_record_is_an_error_that_says_what_to_do(host: Host) -> None:
    (host.root / "record.json").write_text("{", encoding="utf-8")

    with pytest.raises(steps.StepError, match=r"is damaged .* remove it"):
        host.converge(POINTERS)
