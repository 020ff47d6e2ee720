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
  - Adds the declared users to a group. Members that are neither declared nor added by it, as O(record_path) says, stay
    and are reported with a warning.
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
  record_path:
    description: File that remembers whom earlier runs have added. These are taken out again once they are not declared
      any more; without it nobody is taken out.
    type: path
  kept_reported:
    description: Whether RV(kept) names the members that stay.
    type: bool
    default: false
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the members before and after.
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
kept:
  description: Members that stay though all were to go, with O(kept_reported).
  returned: always
  type: list
  elements: str
  sample: [bob in group docker]
consequences:
  description: What a person must know first, as M(aina.factory.sequence) returns it.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import group_members


def main() -> None:
    steps.alone(AnsibleModule(group_members.ARGUMENTS, supports_check_mode=True), group_members)


if __name__ == "__main__":
    main()
