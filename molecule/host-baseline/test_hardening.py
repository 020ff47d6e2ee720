"""What the role hardening leaves on a host, and what of it once it is taken back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from behaviour import converge

SCENARIO = Path(__file__).parent
SETTING = "net.ipv4.conf.all.send_redirects"
FILES = (
    "ls /etc/sysctl.d/60-aina-factory-hardening.conf /etc/modprobe.d/60-aina* /etc/profile.d/60-aina* "
    "/etc/security/*/60-aina* /etc/systemd/coredump.conf.d/60-aina* /etc/audit/rules.d/60-aina* "
    "/etc/systemd/system/audit*.d/60-aina* /etc/systemd/system/aina-factory-audit.service"
)


def value(host: Any) -> str:
    return str(host.check_output(f"sysctl --values {SETTING}"))


def test_a_hardened_host_works_and_is_harder(host: Any) -> None:
    assert value(host) == "0"
    assert "install dccp /bin/false" in host.check_output("modprobe --showconfig")
    assert host.check_output("su - agent -c umask") == "0027"
    assert host.check_output("su - agent -c 'ulimit -H -c'") == "0"
    assert "pam_pwquality" in host.check_output("cat /etc/pam.d/common-password")
    # The audit's own units know that a container has none.
    assert host.check_output("systemctl list-units --failed --no-legend --plain 'audit*'") == ""


@pytest.mark.deep
def test_absence_gives_the_host_back(host: Any) -> None:
    run = converge(SCENARIO, hardening="absent")

    assert run.returncode == 0, run.output
    assert value(host) == "1"
    assert host.run(FILES).stdout == ""
    assert not host.package("auditd").is_installed
    # As PAM has it for whoever is alone in his group, or not.
    assert host.check_output("su - agent -c umask") in ("0002", "0022")
    assert converge(SCENARIO, hardening="absent").changed == []
    assert converge(SCENARIO).returncode == 0
