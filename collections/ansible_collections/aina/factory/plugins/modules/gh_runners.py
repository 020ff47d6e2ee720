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
  - Where the login is not on the host yet, nothing is done and nothing fails; RV(waiting) names the file. So it is with
    what GitHub does not say because it does not answer.
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
  - aina.factory.github
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
waiting:
  description: The login that is not on the host yet, as M(aina.factory.units) returns it; until it is there, nothing is
    done. Or GitHub, which does not answer.
  returned: always
  type: list
  elements: dict
requests:
  description: Requests sent to GitHub.
  returned: always
  type: int
"""

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.aina.factory.plugins.module_utils.base import (
    ansible_effects,
    outage,
    text,
)
from ansible_collections.aina.factory.plugins.module_utils.base.configuration import Section
from ansible_collections.aina.factory.plugins.module_utils.base.errors import FactoryError
from ansible_collections.aina.factory.plugins.module_utils.base.github import settings as github
from ansible_collections.aina.factory.plugins.module_utils.base.github.release import (
    platform_of,
)
from ansible_collections.aina.factory.plugins.module_utils.base.locks import exclusive
from ansible_collections.aina.factory.plugins.module_utils.base.ports import Effects
from ansible_collections.aina.factory.plugins.module_utils.base.settings import argument_spec, read
from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.runners import github_client, layout
from ansible_collections.aina.factory.plugins.module_utils.runners.converge import (
    Converge,
    ConvergeOptions,
)
from ansible_collections.aina.factory.plugins.module_utils.runners.settings import RunnersSettings

LOCK_SECONDS = 300.0


def _settings(module: AnsibleModule) -> RunnersSettings:
    given = dict(module.params["settings"])
    if module.params["state"] == "absent":
        # Their targets are where something may be left of them.
        given["instances"] = [{**item, "state": "absent"} for item in given.get("instances") or []]
    return read(
        RunnersSettings,
        Section(given, "runners"),
        github=github.of(Section(module.params, "gh_runners")),
    )


def _missing_login(settings: RunnersSettings) -> str:
    """Return the file of the login when it is not there yet, or holds nothing."""
    login = settings.login
    there = (Path(path) for path in login.files)
    return next((str(path) for path in there if not path.is_file() or not path.stat().st_size), "")


def _patience() -> Callable[[], bool]:
    limit = time.monotonic() + LOCK_SECONDS

    def again() -> bool:
        time.sleep(1)
        return time.monotonic() < limit

    return again


def _run(module: AnsibleModule, settings: RunnersSettings) -> Converge:
    effects = Effects(
        ansible_effects.runner(module),
        ansible_effects.fetcher(open_url, settings.github.ca_file),
        time.time,
        time.sleep,
    )
    github = github_client.GitHubClient(
        settings,
        effects,
        layout.Places(),
        platform_of(platform.machine()),
        remembers=not module.check_mode,
    )
    options = ConvergeOptions(
        drain_seconds=settings.timing.drain_max_seconds,
        play_runner_name=module.params["play_runner_name"],
        believed_seconds=github_client.GUARD_BELIEVED_SECONDS,
        leaves=module.params["state"] == "absent",
    )
    return Converge(github, time.time() - time.monotonic(), options)


def _waiting(module: AnsibleModule, settings: RunnersSettings) -> list[dict[str, str]]:
    """Return what the runners wait for. Those that go need to tell GitHub, and wait for nothing."""
    missing = _missing_login(settings)
    if not missing or module.params["state"] == "absent" or not settings.instances:
        return []
    return [steps.lacks_file("the runners' registration", missing)]


def _carry_out(module: AnsibleModule, run: Converge, *, waits: bool) -> list[str]:
    """Return what was done or would be."""
    if module.check_mode and (missing := _missing_login(run.settings)):
        module.warn(f"runners were not compared: {missing} is not on this host yet")
        return run.preview()
    if module.check_mode:
        return run.plan().phrases
    if waits:
        return []
    with exclusive(layout.LOCK_PATH, _patience()):
        run.carry_out(run.plan())
    return run.report.actions


def _away(module: AnsibleModule, failures: Sequence[str]) -> list[dict[str, str]]:
    """Return who did not answer, where nothing else failed.

    What goes must be ended at GitHub: that nobody answers there is a failure then.
    """
    found = [outage.waiting("the runners", words) for words in failures]
    if module.params["state"] == "absent" or not all(found):
        return []
    items = list({item["for"]: item for item in found}.values())
    for item in items:
        module.warn(text.waits(item))
    return items


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "github": {"type": "dict", "default": {}, "options": argument_spec(github.GitHub)},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "play_runner_name": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    run, waiting = None, []
    try:
        settings = _settings(module)
        waiting = _waiting(module, settings)
        run = _run(module, settings)
        actions = _carry_out(module, run, waits=bool(waiting))
    except (FactoryError, OSError) as error:
        actions = run.report.actions if run else []
        away = _away(module, [str(error)])
        if not away:
            module.fail_json(msg=str(error), waiting=waiting, **_result(run, actions))
        module.exit_json(waiting=[*waiting, *away], **_result(run, actions))
    for warning in run.report.warnings + run.report.deferred:
        module.warn(warning)
    for item in waiting if not module.check_mode else ():
        module.warn(text.waits(item))
    result = _result(run, actions)
    failures = run.report.failures
    away = _away(module, failures)
    if failures and not away:
        module.fail_json(msg="\n".join(failures), waiting=waiting, **result)
    module.exit_json(waiting=[*waiting, *away], **result)


def _result(run: Converge | None, actions: list[str]) -> dict[str, Any]:
    after = "".join(f"{action}\n" for action in actions)
    return {
        "changed": bool(actions),
        "actions": actions,
        "deferred": run.report.deferred if run else [],
        "requests": run.github.meter.requests_count if run else 0,
        "diff": [{"before": "", "after": after}] if actions else [],
    }


if __name__ == "__main__":
    main()
