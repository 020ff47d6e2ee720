#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users that people and agents log in as."""

from __future__ import annotations

DOCUMENTATION = r"""
module: login_users
short_description: Make users that somebody logs in as, and leave existing ones as they are
version_added: 0.1.0
description:
  - Makes missing users, each with a group of its own name and a home. They get no password.
  - Of a user that exists, wherever the host keeps it, the home is never moved. Where another is declared, the run is
    refused before anything changes. The shell changes only where one is declared.
options:
  users:
    description: Users that are there afterwards.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name.
        type: str
        required: true
      home:
        description: The home; V(/home/NAME) for a new user, and the one that is there for another, where empty.
        type: str
        default: ""
      shell:
        description: The login shell; V(/bin/bash) for a new user, and the one that is there for another, where empty.
        type: str
        default: ""
      groups:
        description: Groups that the user joins besides its own; they must exist.
        type: list
        elements: str
        default: []
  record_path:
    description: File that records shells and groups that an account got which was there before. What is declared no
      longer is taken back. Without it everything stays.
    type: path
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows home, shell and the declared groups before and after.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Make the user whom the projects belong to
  aina.factory.login_users:
    users:
      - name: ali
        groups: [users]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [make user ali]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import login_users


def main() -> None:
    steps.alone(AnsibleModule(login_users.ARGUMENTS, supports_check_mode=True), login_users)


if __name__ == "__main__":
    main()
