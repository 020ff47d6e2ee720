#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a converge means for others on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bystanders
short_description: Tell who can become root, and whose scheduled jobs a new time zone moves
version_added: 0.1.0
description:
  - Changes nothing. Tells who can become root - accounts with the number 0, members of groups that command the host,
    keys of root, and the rules of C(sudo) -, and, in M(aina.factory.sequence) after a step that changes the time zone,
    the lines of crontabs that will run at another time.
  - What cannot be read is said, too.
options: {}
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: There is no difference to show.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Tell who can become root
  aina.factory.bystanders:
"""

RETURN = r"""
consequences:
  description: What a person must know, each with C(kind) (V(root) or V(moved)), C(what) and C(why).
  returned: always
  type: list
  elements: dict
  sample:
    - {kind: root, what: ali, why: group docker}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.jobs import bystanders


def main() -> None:
    steps.alone(AnsibleModule(bystanders.ARGUMENTS, supports_check_mode=True), bystanders)


if __name__ == "__main__":
    main()
