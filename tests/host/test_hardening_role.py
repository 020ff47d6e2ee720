"""What the role hardening makes of its switches."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "collections/ansible_collections/aina/factory/roles/hardening"
# What the engine, lanes, builds or a host with two ways out need as they are.
NEEDED = ("forward", "userns", "max_user_namespaces", "rp_filter", "bridge-nf")


def resolve(expression: str, **given: Any) -> Any:
    """Return what an expression over the role's variables comes to."""
    argv = [str(Path(sys.executable).with_name("ansible")), "localhost", "--one-line"]
    argv += ["--module-name=ansible.builtin.debug", "--extra-vars", f"@{ROLE}/defaults/main.yml"]
    argv += ["--extra-vars", f"@{ROLE}/vars/main.yml", "--extra-vars", json.dumps(given)]
    argv += ["--extra-vars", json.dumps({"role_path": str(ROLE)})]
    argv += ["--playbook-dir", str(ROLE)]
    argv += ["--args", f"msg={{{{ ({expression}) | to_json | b64encode }}}}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(base64.b64decode(done.stdout.partition('"msg": "')[2].partition('"')[0]))


def paths(which: str, **given: Any) -> set[str]:
    return set(
        resolve(f"{which} | map(attribute='files') | flatten | map(attribute='path')", **given)
    )


def test_every_kernel_setting_has_its_reason_and_none_breaks_what_runs() -> None:
    settings = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    for item in settings["__hardening_kernel_all"]:
        assert item["why"].endswith("."), item
        assert not any(word in item["name"] for word in NEEDED), item


def test_what_is_excluded_is_left_alone_and_what_is_added_comes_along() -> None:
    names, modules = resolve(
        "[__hardening_kernel | map(attribute='name'), __hardening_modules]",
        hardening_kernel_excluded=["kernel.yama.ptrace_scope"],
        hardening_modules_excluded=["sctp"],
        hardening_modules_added=["usb-storage"],
    )

    assert "kernel.yama.ptrace_scope" not in names
    assert "kernel.kptr_restrict" in names
    assert "sctp" not in modules
    assert {"dccp", "usb-storage"} <= set(modules)


def test_what_is_switched_off_or_absent_is_taken_back() -> None:
    audit = "/etc/audit/rules.d/60-aina-factory.rules"
    shells = "/etc/profile.d/60-aina-factory.sh"

    assert audit in paths("__hardening_on")
    assert shells in paths("__hardening_off")
    off = {"hardening_audit_enabled": False, "hardening_login_umask": "027"}
    assert audit in paths("__hardening_off", **off)
    assert shells in paths("__hardening_on", **off)
    assert {audit, shells} <= paths("__hardening_off", hardening_state="absent")
    assert paths("__hardening_on", hardening_state="absent") == set()
