#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Strict kernel settings that are given back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kernel_settings
short_description: Make kernel settings at least as strict as declared, and give them back
version_added: 0.1.0
description:
  - Compares the running kernel with the declared bounds, and tightens what is laxer. What is as strict already stays
    as it is, and so does what a file of an administrator's below C(/etc/sysctl.d) or C(/etc/sysctl.conf) declares.
  - The former value is recorded. A setting that is no longer declared gets it back.
  - In a container only what is the container's own (C(net.)) is touched.
options:
  settings:
    description: The settings.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name, as sysctl writes it.
        type: str
        required: true
      at_least:
        description: The lowest acceptable whole number.
        type: int
      at_most:
        description: The highest acceptable whole number.
        type: int
      why:
        description: The reason, which stands beside it in the file.
        type: str
        required: true
  path:
    description: The file below C(/etc/sysctl.d) for the next boot; it holds what this module has changed.
    type: path
    required: true
  record_path:
    description: Where the former values are kept.
    type: path
    required: true
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the file, and the values before and after.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Keep addresses of the kernel from those who look for a way in
  aina.factory.kernel_settings:
    settings:
      - name: kernel.kptr_restrict
        at_least: 2
        why: Addresses of the kernel help only whoever attacks it.
    path: /etc/sysctl.d/60-example.conf
    record_path: /var/lib/example/kernel-settings.json
"""

RETURN = r"""
actions:
  description: What was changed, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: ["kernel.kptr_restrict: 0 -> 2"]
kept:
  description: Settings that stay laxer than declared, since an administrator's file says so.
  returned: always
  type: list
  elements: str
  sample: ["kernel.kptr_restrict: 1 by /etc/sysctl.d/99-debugging.conf"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import kernel_settings


def main() -> None:
    steps.alone(AnsibleModule(kernel_settings.ARGUMENTS, supports_check_mode=True), kernel_settings)


if __name__ == "__main__":
    main()
