#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many systemd units in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: units
short_description: Bring systemd units to a declared state in one round trip
version_added: 0.1.0
description:
  - Enables, starts, stops and restarts units, and reloads systemd when unit files changed.
  - A unit that declined to start by a condition of its own, such as a clock that a container cannot set, is left
    alone until one of its configuration files changes.
  - A unit whose files are missing waits for them and fails nothing.
  - A unit is restarted when one of its configuration files changed after it had begun to start. That is read off
    the running system, so what a killed run left undone is done by the next run.
options:
  units:
    description: The units.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name, with suffix.
        type: str
        required: true
      enabled:
        description: Whether it starts with the host. Left as it is when not given.
        type: bool
      state:
        description: Whether it runs now. Left as it is when not given; if it runs, a restart that it owes is made.
        type: str
        choices: [started, stopped]
      restarted_by:
        description: Files and directories whose change the running unit only notices by a restart.
        type: list
        elements: str
        default: []
      optional:
        description: Whether a host that does not have this unit is left alone.
        type: bool
        default: false
      needs:
        description: Files without which it can only fail. While one is missing the unit is left as it is, and
          RV(waiting) says so.
        type: list
        elements: str
        default: []
  credentials_of:
    description: Names of services, as globs. Those that run with a credential that differs from the file it was loaded
      from are restarted. One that systemd does not keep running, such as a job, is not; RV(waiting) names it.
    type: list
    elements: str
    default: []
  changed_paths:
    description: Paths that this run has changed, or in check mode would change, so that check mode announces
      the restart. Usually RV(aina.factory.managed_files#module:changed_paths).
    type: list
    elements: str
    default: []
  user:
    description:
      - The units are those of this user's own manager instead of the system's. It is made to run from boot on, without
        a login.
    type: str
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows what has changed or would change, unit by unit.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Run the journal under its limits
  aina.factory.units:
    units:
      - name: systemd-journald.service
        state: started
        restarted_by: [/etc/systemd/journald.conf.d/limits.conf]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, and why.
  returned: always
  type: list
  elements: str
  sample: ["restart systemd-journald.service (it runs since before /etc/systemd/journald.conf.d/limits.conf changed)"]
waiting:
  description: What could not be brought about yet. In check mode files are named that an earlier task may bring.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: What waits.
      type: str
      sample: factory-lane-gateway.service
    for:
      description: What it waits for, such as a file.
      type: str
      sample: /etc/aina-factory/secrets/codex-key
    remedy:
      description: What to do.
      type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import units


def main() -> None:
    steps.alone(AnsibleModule(units.ARGUMENTS, supports_check_mode=True), units)


if __name__ == "__main__":
    main()
