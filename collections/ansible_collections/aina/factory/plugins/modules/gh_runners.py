#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All self-hosted runners of a host in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gh_runners
short_description: Bring the GitHub Actions runners of a host to their declared state
version_added: 0.1.0
description:
  - Installs the runner application by GitHub's own digest, registers native runners, sets their labels, upgrades and
    removes them, and starts the supervisors of ephemeral ones. What is not declared any more goes.
  - A registration counts when the host's record and GitHub agree on it. What GitHub does not say is never acted on.
  - Before anything that would end a job the runner is closed at GitHub, which refuses while there is a job. Such a step
    is waited for, and then left to the healer on the host.
  - Nothing is registered for a repository that is public, or whose forks start workflows unasked, or of which GitHub
    does not say that it is neither.
  - Needs the command C(factory) on the host, and C(openssl) for a GitHub App.
options:
  settings:
    description:
      - The section C(runners) of the command's configuration. Each instance has C(name), C(mode) (V(native) or
        V(ephemeral)), C(target) (owner/name or an organization), C(labels), C(slots) and limits; the README of the
        role C(gh_actions_runner) lists all keys.
      - Runners that were set up by hand and are named in its C(predecessors) are closed and ended once a declared one
        is online and their job is over.
      - Holds paths of secrets, never secrets.
    type: dict
    required: true
  state:
    description: V(absent) removes every runner of this host, and all that was made for them.
    type: str
    choices: [present, absent]
    default: present
  play_runner_name:
    description: Name of the runner whose job runs this play, usually its environment's E(RUNNER_NAME). That runner is
      neither restarted nor removed.
    type: str
    default: ""
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  check_mode:
    description: Can predict what it would change without changing it. Then GitHub is only asked questions; where the
      login is not on the host yet, not even these.
    support: full
  diff_mode:
    description: Shows what has been done or would be, step by step.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Run jobs of a private repository, two at a time, each in a fresh container
  aina.factory.gh_runners:
    settings:
      prefix: vds
      login:
        method: token_file
        token_file: /etc/aina-factory/secrets/github-token
      instances:
        - name: demo
          mode: ephemeral
          target: example/demo
          labels: [vds, linux]
          slots: 2
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, in order.
  returned: always
  type: list
  elements: str
  sample: ["demo: register (it is not registered)"]
deferred:
  description: What has to wait for the end of a job; the healer on the host does it then.
  returned: always
  type: list
  elements: str
requests:
  description: Requests sent to GitHub.
  returned: always
  type: int
"""

import platform
import time
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.aina.factory.plugins.module_utils import ansible_effects, units
from ansible_collections.aina.factory.plugins.module_utils.configuration import (
    ConfigurationError,
    Section,
)
from ansible_collections.aina.factory.plugins.module_utils.locks import LockedError, exclusive
from ansible_collections.aina.factory.plugins.module_utils.runners import hub, layout, model
from ansible_collections.aina.factory.plugins.module_utils.runners.converge import Converge, Wishes
from ansible_collections.aina.factory.plugins.module_utils.runners.release import (
    ReleaseError,
    platform_of,
)

LOCK_SECONDS = 300.0


def _settings(module: AnsibleModule) -> model.Settings:
    given = dict(module.params["settings"])
    if module.params["state"] == "absent":
        # Their targets are where something may be left of them.
        given["instances"] = [{**item, "state": "absent"} for item in given.get("instances") or []]
    return model.from_section(Section(given, "settings"))


def _missing_login(settings: model.Settings) -> str:
    """Return the file of the login when it is not there yet."""
    path = settings.login.token_file or settings.login.app_key_file
    return path if path and not Path(path).exists() else ""


def _patience() -> Callable[[], bool]:
    limit = time.monotonic() + LOCK_SECONDS

    def again() -> bool:
        time.sleep(1)
        return time.monotonic() < limit

    return again


def _run(module: AnsibleModule, settings: model.Settings) -> Converge:
    effects = hub.Effects(
        ansible_effects.runner(module),
        ansible_effects.fetcher(open_url, settings.ca_file),
        time.time,
        time.sleep,
    )
    github = hub.Hub(
        settings,
        effects,
        layout.Places(),
        platform_of(platform.machine()),
        remembers=not module.check_mode,
    )
    wishes = Wishes(
        drain_seconds=settings.timing.drain_max_seconds,
        play_runner_name=module.params["play_runner_name"],
        believed_seconds=hub.GUARD_BELIEVED_SECONDS,
        leaves=module.params["state"] == "absent",
    )
    return Converge(github, time.time() - time.monotonic(), wishes)


def _converge(module: AnsibleModule, settings: model.Settings) -> tuple[Converge, list[str]]:
    run = _run(module, settings)
    if module.check_mode and (missing := _missing_login(settings)):
        module.warn(f"runners were not compared: {missing} is not on this host yet")
        return run, run.foretell()
    if module.check_mode:
        return run, run.plan().phrases
    with exclusive(layout.LOCK_PATH, _patience()):
        run.carry_out(run.plan())
    return run, run.report.actions


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "play_runner_name": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        settings = _settings(module)
        run, actions = _converge(module, settings)
    except (ConfigurationError, LockedError, ReleaseError, units.UnitsError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in run.report.warnings + run.report.deferred:
        module.warn(warning)
    requests = run.hub.meter.requests_count
    if run.report.failures:
        message = "\n".join(run.report.failures)
        module.fail_json(
            msg=message, actions=actions, deferred=run.report.deferred, requests=requests
        )
    _exit(module, actions, run.report.deferred, requests)


def _exit(module: AnsibleModule, actions: list[str], deferred: list[str], requests: int) -> None:
    diff = (
        [{"before": "", "after": "".join(f"{action}\n" for action in actions)}] if actions else []
    )
    module.exit_json(
        changed=bool(actions), actions=actions, deferred=deferred, requests=requests, diff=diff
    )


if __name__ == "__main__":
    main()
