#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's firewall, which published container ports cannot bypass."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall
short_description: Deny incoming connections that nobody allowed, those to published container ports included
version_added: 0.1.0
description:
  - Brings C(ufw) to the declared openings. Rules of others stay.
  - Guards the ports that containers publish, which never come by C(ufw), by a chain of its own in C(DOCKER-USER). It is
    put in force before and after each start of the engine.
  - What the kernel has is compared, not what files say, so that rules which somebody flushed come back.
  - Refuses, before anything is changed, what would close the SSH session by which the run came or a port on which an
    SSH server listens. Rules that others have made count, in their order.
  - Records the rules that it adds in V(/var/lib/aina-factory/firewall.json). An opening that somebody has made already
    is not added. Without a record, and where nobody would get in any more, a rule is kept.
options:
  state:
    description: Whether the rules are there.
    type: str
    choices: [present, absent]
    default: present
  allowed:
    description: Ports of the host that are open.
    type: list
    elements: dict
    default: []
    suboptions: &opening
      port:
        description: A port, or a range such as V(6000:6010).
        type: str
        required: true
      protocol:
        description: The protocol.
        type: str
        choices: [tcp, udp]
        default: tcp
      sources:
        description: Addresses and networks that may connect; everybody where none is given, or V(any).
        type: list
        elements: str
        default: []
  published:
    description: Ports of the host that containers publish and that are open.
    type: list
    elements: dict
    default: []
    suboptions: *opening
  trusted_interfaces:
    description: Interfaces, such as a VPN's, from which everything is allowed.
    type: list
    elements: str
    default: []
  guard_containers:
    description: Whether published container ports are guarded.
    type: bool
    default: true
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the rules and files that have changed or would change.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Let SSH in, and web traffic to the container that serves it
  aina.factory.firewall:
    allowed:
      - port: "22"
    published:
      - port: "443"
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [ufw enable]
kept:
  description: Rules that carry this module's comment and stay though they were to go.
  returned: always
  type: list
  elements: str
  sample: [ufw allow 22/tcp]
consequences:
  description: What a person must know first, as M(aina.factory.sequence) returns it.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import firewall


def main() -> None:
    steps.alone(AnsibleModule(firewall.ARGUMENTS, supports_check_mode=True), firewall)


if __name__ == "__main__":
    main()
