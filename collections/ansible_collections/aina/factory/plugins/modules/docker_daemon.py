#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The container engine's settings, in the file and in the running engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
short_description: Bring the container engine's settings into force
version_added: 0.1.0
description:
  - Merges settings into C(/etc/docker/daemon.json). Keys of others stay, and are reported. Keys that were declared
    before and no longer are get removed, or get back the value that they had before.
  - C(dockerd --validate) judges the new file before it replaces the old one, from version 23 on. When the engine does
    not start with the new file all the same, the old one is restored.
  - The engine is started, now and with the host. Whether it is reloaded or restarted is decided by what it runs with,
    so that a run that was killed between writing and restarting is completed by the next one.
  - Networks by which somebody has come to the host, himself or by a gateway, are refused. See M(aina.factory.sequence)
    for the way back.
  - A restart waits until nothing runs, see O(restart_policy). Until then RV(restart_pending) and
    C(/var/lib/aina-factory/docker-restart-pending.json) say why.
options:
  settings:
    description: Settings in the form of daemon.json. Objects are merged key by key, except C(log-opts).
    type: dict
    default: {}
  build_cache:
    description: Limits of the build cache. Engines before version 28 know O(build_cache.max_used_bytes) alone.
    type: dict
    suboptions:
      reserved_bytes:
        description: What the cache may always keep.
        type: int
        required: true
      max_used_bytes:
        description: What the cache never exceeds for long.
        type: int
        required: true
      min_free_bytes:
        description: The free disk space that the cache is shrunk for.
        type: int
        required: true
  published_address:
    description: Address that a published port is bound to where nobody names one. Engines before version 24 know it for
      the default network alone.
    type: str
  defaults:
    description: Which of O(settings), by their names, and of O(build_cache) and O(published_address) hold only where
      nobody else has set anything. What somebody has set stays, and RV(consequences) names it.
    type: list
    elements: str
    default: []
  restart_policy:
    description:
      - When a restart that is owed may happen.
      - With V(drained) when no image is being built and no container runs, except those that are labelled
        C(aina.factory.survives-restart=true) while live-restore is in force.
      - With V(survivable) also when other containers run, as long as live-restore keeps them alive. Whoever is attached
        to one loses the connection.
      - With V(never) it is only reported.
    type: str
    choices: [drained, survivable, never]
    default: drained
  image_store_switch_allowed:
    description: Whether settings may switch the image store although images exist, which hides them.
    type: bool
    default: false
  state:
    description: With V(absent) everything that was declared is given back. Running containers forbid that.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the file. It is left out when it holds an address with credentials.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Bound logs and build cache
  aina.factory.docker_daemon:
    settings:
      log-driver: local
      log-opts: {max-size: 20m, max-file: "3"}
      live-restore: true
    build_cache:
      reserved_bytes: 5368709120
      max_used_bytes: 21474836480
      min_free_bytes: 53687091200
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [write /etc/docker/daemon.json, "restart the engine (log-driver)"]
foreign:
  description: Keys in the file that were not declared here.
  returned: always
  type: list
  elements: str
  sample: [default-runtime]
overridden:
  description: Keys that held another value before they were declared here.
  returned: always
  type: list
  elements: str
  sample: [log-driver]
consequences:
  description: What is replaced of what others have set, and what of it stays in the place of a default.
  returned: always
  type: list
  elements: dict
  sample: [{kind: replaced, what: "the engine's log-driver", why: '"json-file" -> "local"'}]
restart_pending:
  description: Keys that wait for a restart, and why it waits. Both are empty when none is owed.
  returned: always
  type: dict
  sample: {keys: [log-driver], why: lane-17 still running}
waiting:
  description: The restart that is owed, for the operator, as M(aina.factory.units) returns it.
  returned: always
  type: list
  elements: dict
image_store:
  description: V(containerd), or the name of the graph driver. Empty while the engine does not run.
  returned: always
  type: str
  sample: overlay2
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import docker_daemon


def main() -> None:
    steps.alone(AnsibleModule(docker_daemon.ARGUMENTS, supports_check_mode=True), docker_daemon)


if __name__ == "__main__":
    main()
