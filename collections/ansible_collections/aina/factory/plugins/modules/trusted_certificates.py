#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Additional certificate authorities for the whole host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trusted_certificates
short_description: Make additional certificate authorities trusted by the whole host
version_added: 0.1.0
description:
  - Owns the directory C(/usr/local/share/ca-certificates/aina-factory) and rebuilds the host's bundle when that lacks a
    declared certificate or holds one that is no longer declared. Certificates from elsewhere stay.
options:
  certificates:
    description: The certificates. An empty list removes all that were declared before.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Unique name of lower-case letters, digits, dots and dashes.
        type: str
        required: true
      content:
        description: One certificate in PEM form.
        type: str
        required: true
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
- name: Trust the company's own authority
  aina.factory.trusted_certificates:
    certificates:
      - name: example-root
        content: "{{ lookup('ansible.builtin.file', 'example-root.pem') }}"
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, and why.
  returned: always
  type: list
  elements: str
  sample: ["rebuild /etc/ssl/certs/ca-certificates.crt (it lacks example-root)"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import trusted_certificates


def main() -> None:
    steps.alone(
        AnsibleModule(trusted_certificates.ARGUMENTS, supports_check_mode=True),
        trusted_certificates,
    )


if __name__ == "__main__":
    main()
