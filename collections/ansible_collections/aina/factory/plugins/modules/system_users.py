#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users that own a service."""

from __future__ import annotations

DOCUMENTATION = r"""
module: system_users
short_description: Make users that own a service and never log in
version_added: 0.1.0
description:
  - Makes system users, each with a group of its own name, without a home and without a shell. Those that exist stay
    as they are.
options:
  present:
    description: Names of users that are there afterwards.
    type: list
    elements: str
    default: []
  absent:
    description: Names of users that are not there afterwards. Their files stay.
    type: list
    elements: str
    default: []
  owns:
    description: Directories, and the user to whom each belongs afterwards with everything in it.
    type: dict
    default: {}
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the steps.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Give each service a user of its own
  aina.factory.system_users:
    present: [example-web, example-worker]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [make user example-web]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import system_users


def main() -> None:
    steps.alone(AnsibleModule(system_users.ARGUMENTS, supports_check_mode=True), system_users)


if __name__ == "__main__":
    main()
