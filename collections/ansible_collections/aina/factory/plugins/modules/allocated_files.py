#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of a fixed size."""

from __future__ import annotations

DOCUMENTATION = r"""
module: allocated_files
short_description: Keep files of a fixed size, such as a reserve against a full disk or a swap file
version_added: 0.1.0
description:
  - Allocates each file with real blocks, beside its place, and gives it its name when it is complete.
  - A file that would leave too little free space is not made; the module says so and goes on.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      size_mib:
        description: Its size. With V(0) there is no such file afterwards.
        type: int
        required: true
      min_free_mib:
        description: Space that must stay free on its filesystem.
        type: int
        default: 1024
      swap:
        description: Whether it is formatted to swap to. It is switched off before it is replaced or removed.
          Switching it on is the business of a swap unit.
        type: bool
        default: false
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the files that are or would be made and removed.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Keep a reserve that can be given up when the disk is full
  aina.factory.allocated_files:
    files:
      - path: /var/lib/aina-factory/reserve
        size_mib: 64
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [allocate /var/lib/aina-factory/reserve (64 MiB)]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import allocated_files


def main() -> None:
    steps.alone(AnsibleModule(allocated_files.ARGUMENTS, supports_check_mode=True), allocated_files)


if __name__ == "__main__":
    main()
