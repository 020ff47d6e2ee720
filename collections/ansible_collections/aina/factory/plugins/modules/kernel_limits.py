#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lower bounds of running kernel settings."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_limits
short_description: Raise running kernel settings to at least a declared value
version_added: 0.1.0
description:
  - Compares the running kernel with the declared lower bounds and raises what is too low. Values that are higher stay.
  - Where C(/proc/sys) is read-only, as in most containers, it changes nothing and warns.
options:
  minimums:
    description: Names of settings, as sysctl writes them, and their lowest acceptable whole number.
    type: dict
    required: true
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the values before and after.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Allow many file watchers
  aina.factory.kernel_limits:
    minimums:
      fs.inotify.max_user_instances: 1024
"""

RETURN = r"""
actions:
  description: What was raised, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: ["fs.inotify.max_user_instances: 128 -> 1024"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import kernel_limits


def main() -> None:
    steps.alone(AnsibleModule(kernel_limits.ARGUMENTS, supports_check_mode=True), kernel_limits)


if __name__ == "__main__":
    main()
