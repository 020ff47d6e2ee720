#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The SSH server's settings, with a guard against locking oneself out."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_server
short_description: Harden the SSH server without locking its administrators out
version_added: 0.1.0
description:
  - Owns V(/etc/ssh/sshd_config.d/10-aina-factory.conf). C(sshd) judges the whole configuration as it would be, for each
    administrator, before anything is put in force.
  - Refuses settings with which an administrator, or whoever the run came as, could not log in any more, be it for an
    account that has ended, a password that must be changed first or a shell that is none, and settings that another
    file keeps from taking effect. When the server does not answer after its restart where it listens, the former
    settings come back.
  - For whom settings do not hold, since a Match block of somebody else's says otherwise, is told in RV(consequences).
  - Whether a restart is owed is read off the running server. Open sessions outlive it.
options:
  settings:
    description: Keywords of C(sshd_config) and their values. Without any, the file goes.
    type: dict
    default: {}
  administrators:
    description: Accounts that must be able to log in afterwards.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  check_mode:
    description: Can predict what it would change without changing it. Settings are judged where a server is installed.
    support: full
  diff_mode:
    description: Shows the settings that have changed or would change.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Let keys in only
  aina.factory.ssh_server:
    settings:
      PasswordAuthentication: "no"
      KbdInteractiveAuthentication: "no"
    administrators: [ali]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, and why.
  returned: always
  type: list
  elements: str
  sample: [write /etc/ssh/sshd_config.d/10-aina-factory.conf]
consequences:
  description: For whom the settings do not hold, such as by a Match block of somebody else's, as
    M(aina.factory.sequence) returns it.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import ssh_server


def main() -> None:
    steps.alone(AnsibleModule(ssh_server.ARGUMENTS, supports_check_mode=True), ssh_server)


if __name__ == "__main__":
    main()
