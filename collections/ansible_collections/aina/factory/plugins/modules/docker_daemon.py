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
  - C(dockerd --validate) judges the new file before it replaces the old one. When the engine does not start with the
    new file all the same, the old one is restored.
  - The engine is started, now and with the host. Whether it is reloaded or restarted is decided by what it runs with,
    so that a run that was killed between writing and restarting is completed by the next one.
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
attributes:
  check_mode:
    description: Can predict what it would change without changing it.
    support: full
  diff_mode:
    description: Shows the file. It is left out when it holds an address with credentials.
    support: full
  idempotent:
    description: A second run changes nothing.
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
restart_pending:
  description: Keys that wait for a restart, and why it waits. Both are empty when none is owed.
  returned: always
  type: dict
  sample: {keys: [log-driver], why: lane-17 still running}
image_store:
  description: V(containerd), or the name of the graph driver. Empty while the engine does not run.
  returned: always
  type: str
  sample: overlay2
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils import (
    ansible_effects,
    docker_daemon,
    docker_engine,
    managed_files,
)
from ansible_collections.aina.factory.plugins.module_utils.ports import Run

# In check mode the engine may be what this very run would install.
_ASSUMED_MAJOR = 28


def _wish(parameters: dict[str, Any], run: Run) -> docker_engine.Wish:
    settings = dict(parameters["settings"])
    cache = parameters["build_cache"]
    if parameters["state"] == "absent":
        settings = {}
    elif cache:
        major = docker_engine.dockerd_major(run) or _ASSUMED_MAJOR
        builder = dict(settings.get("builder") or {})
        settings["builder"] = {**builder, "gc": docker_daemon.build_cache_limits(major, **cache)}
    return docker_engine.Wish(
        settings,
        docker_daemon.RestartPolicy(parameters["restart_policy"]),
        parameters["image_store_switch_allowed"],
    )


def _refuse_removal_under_load(engine: docker_daemon.Engine | None) -> None:
    if engine is not None and engine.containers:
        names = ", ".join(container.name for container in engine.containers)
        raise docker_daemon.DockerDaemonError(
            f"the engine's settings are not given back while containers run: {names}; stop them"
        )


def _exit(
    module: AnsibleModule, plan: docker_engine.Plan, decision: docker_daemon.Decision
) -> None:
    pending = {
        "keys": list(decision.restart) if decision.deferred else [],
        "why": decision.deferred,
    }
    if decision.deferred:
        module.warn(
            f"the container engine still runs without its new settings "
            f"({', '.join(decision.restart)}): {decision.deferred}. Converge again when it is drained"
        )
    module.exit_json(
        changed=bool(plan.actions),
        actions=plan.actions,
        foreign=list(plan.merged.foreign),
        overridden=list(plan.merged.overridden),
        restart_pending=pending,
        image_store=plan.engine.image_store if plan.engine else "",
        diff=[
            {
                "before_header": change.path,
                "after_header": change.path,
                "before": change.before,
                "after": change.after,
            }
            for change in plan.changes
        ],
    )


def main() -> None:
    """Run the module."""
    limit = {"type": "int", "required": True}
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "build_cache": {
                "type": "dict",
                "options": {
                    "reserved_bytes": limit,
                    "max_used_bytes": limit,
                    "min_free_bytes": limit,
                },
            },
            "restart_policy": {
                "type": "str",
                "choices": ["drained", "survivable", "never"],
                "default": "drained",
            },
            "image_store_switch_allowed": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    run = ansible_effects.runner(module)
    boot_time = time.time() - time.monotonic()
    try:
        plan = docker_engine.plan(_wish(module.params, run), run, boot_time)
        if module.params["state"] == "absent":
            _refuse_removal_under_load(plan.engine)
        decision = plan.decision
        if not module.check_mode:
            decision = docker_engine.apply(plan, run, boot_time)
    except (
        docker_daemon.DockerDaemonError,
        managed_files.ManagedFilesError,
        OSError,
    ) as error:
        module.fail_json(msg=str(error))
    _exit(module, plan, decision)


if __name__ == "__main__":
    main()
