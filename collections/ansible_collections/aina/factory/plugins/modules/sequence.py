#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several steps in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sequence
short_description: Run several modules of this collection in one round trip
version_added: 0.1.0
description:
  - Each step is one of the modules named in O(steps), with the options, the check mode and the differences that it has
    alone. They run in the given order in one module call, so that a role costs one round trip.
  - Steps that could close the way by which the run came judge that first, before the first step changes anything.
  - A failing step ends the sequence. What the steps before it did stays, and is reported.
  - A unit of M(aina.factory.units) notices files that an earlier step has changed.
options:
  steps:
    description: The steps. Each has one key, the short name of a module (V(allocated_files), V(bystanders),
      V(docker_daemon), V(firewall), V(group_members), V(kernel_limits), V(kernel_settings), V(login_users),
      V(managed_files), V(packages), V(ssh_server), V(system_users), V(systemd_jobs), V(trusted_certificates),
      V(units)), and that module's options as the value.
    type: list
    elements: dict
    required: true
  way_back_seconds:
    description: How long after this call a new connection may confirm that one can still log in. See RV(at_risk).
    type: int
    default: 90
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows what has changed or would change, step by step.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Keep the clock right
  aina.factory.sequence:
    steps:
      - packages:
          present: [chrony]
      - managed_files:
          files:
            - path: /etc/chrony/conf.d/example.conf
              content: "makestep 1 3\n"
      - units:
          units:
            - name: chrony.service
              enabled: true
              state: started
              restarted_by: [/etc/chrony/conf.d/example.conf]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, by all steps. Changed files and directories are named by path.
  returned: always
  type: list
  elements: str
  sample: [install chrony, /etc/chrony/conf.d/example.conf, "restart chrony.service (its configuration changed)"]
changed_paths:
  description: Files and directories that were changed, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/chrony/conf.d/example.conf]
kept:
  description: What stays though it was to go, by all steps.
  returned: always
  type: list
  elements: str
  sample: [package docker.io]
at_risk:
  description:
    - What was changed, or in check mode would be, of what people come in by, such as the firewall or the SSH server.
      Before that the former state is saved, and a watch is set up on the host. It puts the former state back unless a
      new connection of the control node confirms that one can still log in; the action does so by itself.
  returned: when there is something
  type: list
  elements: str
  sample: [put the firewall in force]
confirmation:
  description: What became of RV(at_risk).
  returned: when there is something at risk, and it was done
  type: str
  sample: confirmed by a new login
waiting:
  description: What could not be brought about yet, by all steps, as M(aina.factory.units) returns it.
  returned: always
  type: list
  elements: dict
consequences:
  description: What a person must know first, by all steps. Each has C(kind) (V(unreachable), V(removed),
    V(moved), V(replaced), V(left), V(exempt) or V(root)), C(what) and C(why).
  returned: always
  type: list
  elements: dict
  sample:
    - {kind: unreachable, what: 9000/tcp of python3, why: "no entry of the firewall's allowed ports opens it"}
outcomes:
  description: What each step would have returned alone, without the differences, in order.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.aina.factory.plugins.module_utils.base import ansible_effects
from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import (
    allocated_files,
    docker_daemon,
    firewall,
    group_members,
    kernel_limits,
    kernel_settings,
    login_users,
    managed_files,
    packages,
    ssh_server,
    system_users,
    trusted_certificates,
    units,
)
from ansible_collections.aina.factory.plugins.module_utils.host.way_in import way_back
from ansible_collections.aina.factory.plugins.module_utils.jobs import bystanders
from ansible_collections.aina.factory.plugins.module_utils.jobs import step as systemd_jobs

STEPS: dict[str, steps.Step] = {
    "allocated_files": allocated_files,
    "bystanders": bystanders,
    "docker_daemon": docker_daemon,
    "firewall": firewall,
    "group_members": group_members,
    "kernel_limits": kernel_limits,
    "kernel_settings": kernel_settings,
    "login_users": login_users,
    "managed_files": managed_files,
    "packages": packages,
    "ssh_server": ssh_server,
    "system_users": system_users,
    "systemd_jobs": systemd_jobs,
    "trusted_certificates": trusted_certificates,
    "units": units,
}

# What the steps return and the whole returns.
_LISTS = ("changed_paths", "kept", "waiting", "consequences")


def _read(items: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return the steps' names and validated options; nothing has run yet when one is wrong."""
    found = []
    for number, item in enumerate(items, 1):
        if len(item) != 1 or next(iter(item)) not in STEPS:
            known = ", ".join(sorted(STEPS))
            raise steps.StepError(
                f"step {number} has the keys {sorted(item)}; it must have one of {known}"
            )
        ((name, options),) = item.items()
        checked = ArgumentSpecValidator(STEPS[name].ARGUMENTS).validate(options or {})
        if checked.error_messages:
            raise steps.StepError(f"step {number} ({name}): {'; '.join(checked.error_messages)}")
        found.append((name, checked.validated_parameters))
    return found


def _add(done: dict[str, Any], result: dict[str, Any]) -> None:
    """Add what a step has done, be it to its end or not, to what all have."""
    done["actions"] += result.get("actions", []) or result.get("changed_paths", [])
    for key in _LISTS:
        done[key] += result.get(key, [])
    done["changed"] = done["changed"] or result.get("changed", bool(result))


def main() -> None:
    arguments = {
        "steps": {"type": "list", "elements": "dict", "required": True, "no_log": True},
        "way_back_seconds": {"type": "int", "default": way_back.SECONDS},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    run = ansible_effects.runner(module)
    done: dict[str, Any] = {
        "changed": False,
        **{name: [] for name in (*_LISTS, "actions", "diff")},
    }
    outcomes = []
    try:
        declared = _read(module.params["steps"])
    except steps.StepError as error:
        module.fail_json(msg=str(error), invocation={"module_args": {}})
    files = [options for name, options in declared if name == "managed_files"]
    secrets = {secret for options in files for secret in managed_files.secrets(options)}
    shown = [
        {name: managed_files.shown(options) if name == "managed_files" else options}
        for name, options in declared
    ]
    done["invocation"] = steps.hide(module, secrets, {"steps": shown})
    protection = steps.Protection(
        run, check_mode=module.check_mode, seconds=module.params["way_back_seconds"]
    )
    context = steps.Context(run, module.check_mode, module.warn, declared=declared)
    try:
        protection.begin(module.warn)
    except steps.StepError as error:
        module.fail_json(msg=f"before anything is changed: {error}", **done)
    for number, (name, options) in enumerate(declared, 1):
        try:
            steps.guard(STEPS[name], options, context)
        except steps.StepError as error:
            module.fail_json(
                msg=f"step {number} ({name}), before anything is changed: {error}",
                **done,
                **protection.told,
            )
    for number, (name, options) in enumerate(declared, 1):
        paths = tuple(done["changed_paths"])
        context = steps.Context(run, module.check_mode, module.warn, paths, protect=protection)
        try:
            result = STEPS[name].execute(options, context)
        except steps.StepError as error:
            _add(done, error.done)
            module.fail_json(msg=f"step {number} ({name}): {error}", **done, **protection.told)
        _add(done, result)
        done["diff"] += result.pop("diff")
        outcomes.append({"step": name, **result})
    module.exit_json(**done, **protection.told, outcomes=outcomes)


if __name__ == "__main__":
    main()
