"""Each step that may change the way in has the way back ready first, and says so in a plan."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from factory.core.base.ports import Completed
from factory.core.host import firewall, managed_files, ssh_server, steps, units
from factory.core.host.steps import StepError
from factory.core.host.steps import firewall as firewall_step
from factory.core.host.steps import group_members as group_step
from factory.core.host.steps import login_users as users_step
from factory.core.host.steps import managed_files as files_step
from factory.core.host.steps import ssh_server as ssh_step
from factory.core.host.way_in import connection, logins, way_back

ALI = SimpleNamespace(pw_dir="/", pw_shell="/bin/sh", pw_gid=0)
USER: dict[str, Any] = {"name": "ali", "home": "", "shell": "/bin/bash", "groups": ["sudo"]}
ASKING = {"show", "status", "-S", "is-active", "is-enabled", "-T", "ss", "ps"}


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    sudo = SimpleNamespace(gr_name="sudo", gr_mem=["eve"])
    monkeypatch.setattr(pwd, "getpwnam", lambda _name: ALI)
    monkeypatch.setattr(grp, "getgrall", lambda: [sudo])
    monkeypatch.setattr(grp, "getgrnam", lambda _name: sudo)
    monkeypatch.setattr(grp, "getgrgid", lambda _number: SimpleNamespace(gr_name="ali"))
    change = managed_files.Change(managed_files.ChangeKind.REMOVE, ssh_server.DROP_IN, "", "")
    restart = units.Action("restart", "ssh.service", "because")
    monkeypatch.setattr(ssh_step, "_plan", lambda _parameters, _context: ([change], [restart], []))
    monkeypatch.setattr(logins, "PROGRAM", "/bin/sh")
    situation = firewall.Situation(True, "deny", False, False, {})
    monkeypatch.setattr(firewall, "read", lambda _run: situation)
    monkeypatch.setattr(firewall, "UFW_DIR", tmp_path)
    monkeypatch.setattr(firewall, "UFW_DEFAULTS", tmp_path / "ufw")
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/sbin/ufw")
    monkeypatch.setattr(firewall_step, "_NOTE", tmp_path / "note")
    monkeypatch.setattr(connection, "read_listeners", lambda _run: ())
    monkeypatch.setattr(connection, "read_sessions", lambda _process, _listeners: [])


CASES: list[tuple[Any, dict[str, Any]]] = [
    (users_step, {"users": [USER]}),
    (group_step, {"group": "sudo", "members": ["ali", "eve"]}),
    (
        files_step,
        {"files": [{"path": "/etc/ssh/sshd_config.d/x.conf", "content": "", "mode": "0600"}]},
    ),
    (ssh_step, {"settings": {}, "administrators": []}),
    (firewall_step, {"allowed": [{"port": "22", "protocol": "tcp"}], "guard_containers": False}),
]


def parameters(step: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Return the options as an argument spec completes them."""

    def complete(spec: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        found = {name: values.get(name, item.get("default")) for name, item in spec.items()}
        for name, item in spec.items():
            if "options" in item and isinstance(found[name], list):
                found[name] = [complete(item["options"], value) for value in found[name]]
        return found

    return complete(step.ARGUMENTS, given)


def context(check_mode: bool, protect: Callable[[way_back.Undo], None]) -> steps.Context:
    def run(argv: Any, **_options: Any) -> Completed:
        assert ASKING & {*argv}, f"{argv} changes the host without a way back"
        return Completed(0, b"", b"")

    return steps.Context(run, check_mode, print, protect=protect)


@pytest.mark.parametrize(
    ("step", "given"), CASES, ids=lambda item: getattr(item, "__name__", "")[-12:]
)
def test_nothing_is_changed_before_there_is_a_way_back(step: Any, given: dict[str, Any]) -> None:
    def refuse(undo: way_back.Undo) -> None:
        raise StepError(f"no way back for {undo.what}")

    with pytest.raises(StepError, match="no way back for"):
        step.execute(parameters(step, given), context(False, refuse))


@pytest.mark.parametrize(
    ("step", "given"), CASES, ids=lambda item: getattr(item, "__name__", "")[-12:]
)
def test_a_plan_says_what_is_at_risk(step: Any, given: dict[str, Any]) -> None:
    seen: list[way_back.Undo] = []

    step.execute(parameters(step, given), context(True, seen.append))

    assert seen
    assert all(undo.what for undo in seen)


def test_an_account_gets_its_shell_and_its_groups_back() -> None:
    seen: list[way_back.Undo] = []

    users_step.execute(parameters(users_step, {"users": [USER]}), context(True, seen.append))

    assert [undo.then for undo in seen] == [
        (("usermod", "--shell", "/bin/sh", "--", "ali"),),
        (("gpasswd", "--delete", "ali", "sudo"),),
    ]


@pytest.mark.parametrize("active", [True, False])
def test_the_firewall_gets_its_state_back(active: bool) -> None:
    policy = b"-P INPUT DROP\n-A INPUT -p tcp -j ACCEPT\n"
    seen: list[way_back.Undo] = []
    plan = firewall.FirewallPlan((), (("ufw allow 22/tcp", ("ufw", "allow", "22/tcp")),))
    situation = firewall.Situation(active, "deny", False, False, {})

    firewall.protect(plan, situation, lambda *_a, **_o: Completed(0, policy, b""), seen.append)

    (undo,) = seen
    assert undo.first == (() if active else (("ufw", "--force", "disable"),))
    again = [" ".join(argv) for argv in undo.then]
    closed = [f"{tool} -w 20 -P INPUT DROP" for tool in ("iptables", "ip6tables")]
    assert again == (["ufw --force enable"] if active else closed)


def test_rules_of_containers_alone_are_no_matter_of_the_way_in() -> None:
    plan = firewall.FirewallPlan((), (("restart guard", ("systemctl", "restart", "guard")),))

    firewall.protect(
        plan,
        firewall.Situation(True, "deny", True, True, {}),
        lambda *_a, **_o: pytest.fail("nothing is to be asked"),
        lambda undo: pytest.fail(undo.what),
    )
