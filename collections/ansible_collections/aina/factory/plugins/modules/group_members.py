#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Members of a Unix group, and the ones that nobody declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: group_members
short_description: Add users to a group and report its other members
version_added: 0.1.0
description:
  - Adds the declared users to a group. Members that are not declared stay, and are reported with a warning.
  - Meant for groups whose membership is worth as much as root's password.
options:
  group:
    description: Name of the group. When it does not exist and nobody is to join it, nothing happens.
    type: str
    required: true
  members:
    description: Users that are members afterwards.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Can predict what it would change without changing it.
    support: full
  diff_mode:
    description: Shows the members before and after.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Let one user command the container engine
  aina.factory.group_members:
    group: docker
    members: [ali]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [add ali to docker]
others:
  description: Members that were not declared.
  returned: always
  type: list
  elements: str
  sample: [bob]
"""

import grp

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils import ansible_effects, group_members


def _members(group: str) -> list[str]:
    try:
        return list(grp.getgrnam(group).gr_mem)
    except KeyError:
        return []


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "group": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    group, before = module.params["group"], _members(module.params["group"])
    plan = group_members.plan(group, module.params["members"], before)
    try:
        if not module.check_mode:
            group_members.apply(plan, ansible_effects.runner(module))
    except (group_members.GroupMembersError, OSError) as error:
        module.fail_json(msg=str(error))
    if plan.others:
        module.warn(
            f"{', '.join(plan.others)}: member of group {group}, which nobody declared; "
            f"declare it, or take it back by 'gpasswd --delete USER {group}'"
        )
    after = sorted({*before, *plan.add})
    module.exit_json(
        changed=bool(plan.add),
        actions=[f"add {name} to {group}" for name in plan.add],
        others=list(plan.others),
        diff=[
            {
                "before": "".join(f"{name}\n" for name in sorted(before)),
                "after": "".join(f"{name}\n" for name in after),
            }
        ]
        if plan.add
        else [],
    )


if __name__ == "__main__":
    main()
