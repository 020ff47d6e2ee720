"""The step of :mod:`aina.factory.firewall`: who may connect."""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...base.ports import Run
from .. import firewall, managed_files, reach, ssh_server
from .. import guard as guard_
from ..way_in import connection, logins
from . import Context, StepError

_OPENINGS: dict[str, Any] = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "port": {"type": "str", "required": True},
        "protocol": {"type": "str", "choices": ["tcp", "udp"], "default": "tcp"},
        "sources": {"type": "list", "elements": "str", "default": []},
    },
}
ARGUMENTS: dict[str, Any] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "allowed": _OPENINGS,
    "published": _OPENINGS,
    "trusted_interfaces": {"type": "list", "elements": "str", "default": []},
    "guard_containers": {"type": "bool", "default": True},
}
_NOTE = Path("/var/lib/aina-factory/firewall.json")
_EVERYWHERE = ipaddress.ip_address("::")
_NOTHING = firewall.Situation(False, "", False, False, {})
_REFUSALS = (
    firewall.FirewallError,
    managed_files.ManagedFilesError,
    ValueError,
    OSError,
    TimeoutError,
)


def _policy(parameters: dict[str, Any]) -> firewall.Policy:
    openings = {
        key: tuple(
            firewall.Opening(
                item["port"],
                item["protocol"],
                () if "any" in item["sources"] else tuple(item["sources"]),
            )
            for item in parameters[key]
        )
        for key in ("allowed", "published")
    }
    return firewall.Policy(
        openings["allowed"],
        openings["published"],
        tuple(parameters["trusted_interfaces"]),
        parameters["guard_containers"],
    )


def _ways_in(run: Run) -> list[firewall.WayIn]:
    """Return how the run came; several where it may have been one of them, the likeliest first."""
    listeners = connection.read_listeners(run)
    if not listeners and Path(logins.PROGRAM).exists():
        # None runs now; one may be started.
        listeners = tuple(connection.Listener(_EVERYWHERE, port) for port in ssh_server.ports(run))
    own, others = connection.read_all(listeners)
    found = [guard_.way_in(session, listeners, run, own=True) for session in own]
    return (found or [firewall.WayIn(listeners=listeners)]) + [
        guard_.way_in(session, listeners, run, own=False)
        for session in others
        if session.address is not None
    ]


def _read_note() -> dict[str, Any]:
    """Return what was there before, and which rules runs have made."""
    if not _NOTE.exists():
        return {}
    try:
        found = json.loads(_NOTE.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise firewall.FirewallError(f"{_NOTE} is damaged; remove it")
    return found


def _write_note(note: dict[str, Any], rules: Collection[str], run: Run) -> None:
    text = json.dumps({"schema": 1, **note, "rules": sorted(rules)}) + "\n"
    attributes = managed_files.Attributes("root", "root", 0o644)
    file = managed_files.FileSpec(str(_NOTE), text.encode(), attributes)
    managed_files.apply(managed_files.plan((), [file], ()), run)


def _rules(
    parameters: dict[str, Any], run: Run, ports: Collection[int] = ()
) -> tuple[firewall.Policy, firewall.Ufw, firewall.RulesPlan]:
    """Return what becomes of the rules; the SSH server will listen on ``ports`` as well.

    Raises:
        FirewallError: what is declared is misspelt, or closes the way in.

    """
    policy = _policy(parameters)
    firewall.check(policy)
    recorded = _read_note().get("rules", ())
    ufw = firewall.read_ufw(recorded, firewall.UFW_DIR, firewall.UFW_DEFAULTS)
    rules = firewall.plan_rules(policy, ufw)
    planned = tuple(connection.Listener(_EVERYWHERE, port) for port in ports)
    problems = dict.fromkeys(
        problem
        for way_in in _ways_in(run)
        for problem in firewall.closed(
            rules.after,
            replace(way_in, listeners=(*way_in.listeners, *planned)),
            ufw.families,
        )
    )
    if problems:
        raise firewall.FirewallError(f"{'; '.join(problems)}. The firewall was not changed")
    return policy, ufw, rules


def _telling(
    plan: firewall.FirewallPlan,
    ufw: firewall.Ufw,
    situation: firewall.Situation,
    after: reach.Guards,
    run: Run,
) -> firewall.FirewallPlan:
    """Return the plan with what others do not reach any more once it is carried out."""
    if not plan.actions:
        return plan
    before = reach.found(None if situation.lets_all_in else ufw.rules, situation.guarded)
    return replace(plan, consequences=tuple(reach.cut_off(reach.read(run), before, after)))


def _leave(context: Context) -> tuple[firewall.FirewallPlan, tuple[str, ...]]:
    run, check_mode = context.run, context.check_mode
    changes = firewall.files(None)
    if not shutil.which("ufw"):
        plan = firewall.plan_absence(None, None, changes, enabled_by_us=False)
        if not check_mode:
            firewall.apply(plan, run, files_first=False)
            _NOTE.unlink(missing_ok=True)
        return plan, ()
    situation, note = firewall.read(run), _read_note()
    enabled_by_us = bool(note.get("enabled"))
    incoming = note.get("incoming") or situation.incoming
    ufw = firewall.read_ufw(note.get("rules", ()), firewall.UFW_DIR, firewall.UFW_DEFAULTS)
    rules = firewall.plan_rules_absence(
        ufw,
        _ways_in(run),
        stays_active=situation.active and not enabled_by_us and incoming != "allow",
    )
    plan = firewall.plan_absence(
        situation,
        rules,
        changes,
        enabled_by_us=enabled_by_us,
        incoming=incoming,
        policies=[tuple(argv) for argv in note.get("policies", ())],
    )
    stays_closed = situation.active and not enabled_by_us and incoming != "allow"
    after = reach.Guards(rules.after if stays_closed else None, None)
    plan = _telling(plan, ufw, situation, after, run)
    firewall.protect(plan, situation, run, context.protect, (str(_NOTE),))
    if not check_mode:
        firewall.apply(plan, run, files_first=False)
        if rules.recorded:
            _write_note({"enabled": False, "incoming": incoming}, rules.recorded, run)
        else:
            _NOTE.unlink(missing_ok=True)
    return plan, rules.kept


def _converge(
    parameters: dict[str, Any], context: Context
) -> tuple[firewall.FirewallPlan, tuple[str, ...]]:
    if parameters["state"] == "absent":
        return _leave(context)
    run, check_mode = context.run, context.check_mode
    installed = bool(shutil.which("ufw"))
    if not installed and not check_mode:
        raise firewall.FirewallError("ufw is not installed; install it first")
    policy, ufw, rules = _rules(parameters, run)
    situation = firewall.read(run) if installed else _NOTHING
    plan = firewall.plan(policy, situation, rules, firewall.files(policy))
    plan = _telling(plan, ufw, situation, reach.guarded(policy, rules.after), run)
    firewall.protect(plan, situation, run, context.protect, (str(_NOTE),))
    if not check_mode and plan.actions:
        # Before anything is done: a killed run must not forget what was there and what it makes.
        before = {
            "enabled": not situation.active,
            "incoming": situation.incoming,
            "policies": []
            if situation.active
            else [argv for _name, argv in firewall.policies(run)],
            **_read_note(),
        }
        _write_note(before, ufw.recorded | rules.recorded, run)
        firewall.apply(plan, run)
        _write_note(before, rules.recorded, run)
    return plan, rules.kept


def guard(parameters: dict[str, Any], context: Context) -> None:
    """Refuse, before anything else is done, what would close the way in."""
    try:
        if parameters["state"] == "present":
            ports = [
                port
                for name, other in context.declared
                if name == "ssh_server"
                for port in ssh_server.declared_ports(ssh_server.spelt(other["settings"]))
            ]
            _rules(parameters, context.run, ports)
    except _REFUSALS as error:
        raise StepError(str(error)) from error


def execute(parameters: dict[str, Any], context: Context) -> dict[str, Any]:
    """Compare with what ufw and the kernel have, and act."""
    try:
        plan, kept = _converge(parameters, context)
    except _REFUSALS as error:
        raise StepError(str(error)) from error
    if kept:
        context.warn(
            f"ufw's rules {', '.join(map(repr, kept))} stay, though they carry the comment "
            f"{firewall.COMMENT!r}: somebody would be shut out without them, or nothing records "
            "that an earlier run has made them. If nobody needs them: 'ufw delete RULE'"
        )
    diff = [
        {
            "before_header": item.path,
            "after_header": f"{item.path} ({item.kind})",
            "before": item.before,
            "after": item.after,
        }
        for item in plan.files
    ]
    if plan.commands:
        commands = "".join(f"{phrase}\n" for phrase, _argv in plan.commands)
        diff.append({"before": "", "after": commands})
    return {
        "changed": bool(plan.actions),
        "actions": plan.actions,
        "changed_paths": [item.path for item in plan.files],
        "kept": [f"ufw {rule}" for rule in kept],
        "consequences": list(plan.consequences),
        "diff": diff,
    }
