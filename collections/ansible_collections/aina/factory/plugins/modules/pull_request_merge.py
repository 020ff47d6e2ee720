#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run one merge cycle of a repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pull_request_merge
short_description: Land the green pull requests of a repository, oldest first
version_added: 0.1.0
description:
  - Runs one cycle of the release marshal. Every open pull request gets exactly one decision with one typed reason.
  - A pull request lands only when every required check is green on the very head that is merged. What could not be
    read counts as not ready. Branch rules are never bypassed.
  - Needs git on the host, and openssl for a GitHub App.
options:
  project:
    description: Name under which the state and the audit log are kept.
    type: str
    required: true
  repository:
    description: Owner and name of the repository at GitHub.
    type: str
    required: true
  default_branch:
    description: The branch that pull requests land on.
    type: str
    default: main
  guarded_paths:
    description: Names beside the standard ones whose changes a person approves before they land.
    type: list
    elements: str
    default: []
  guarded_label:
    description: The label by which another person approves them.
    type: str
    default: approved-by-human
  agents:
    description: Accounts that are agents, whose word is no person's.
    type: list
    elements: str
    default: []
  state_dir:
    description: Directory of the state, the audit log and the copy of the repository.
    type: path
    default: /var/lib/aina-factory/marshal
extends_documentation_fragment:
  - aina.factory.attributes
  - aina.factory.github
  - aina.factory.merge
attributes:
  diff_mode:
    description: Shows which pull requests land, are updated or are closed.
    support: full
  idempotent:
    description: A second run right after the first changes nothing.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Land what is green
  aina.factory.pull_request_merge:
    project: demo
    repository: example/demo
    policy:
      mode: fast
      required_checks: [ci]
    github:
      login:
        method: token_file
        token_file: /etc/aina-factory/marshal.token
"""

RETURN = r"""
pull_requests:
  description: Every open pull request with its decision and reason.
  returned: always
  type: list
  elements: dict
  contains:
    number:
      description: Its number.
      type: int
    title:
      description: Its title.
      type: str
    author:
      description: Who opened it.
      type: str
    head:
      description: The commit that was judged.
      type: str
    decision:
      description: V(merge), V(wait), V(update), V(skip) or V(close_duplicate).
      type: str
    reason:
      description: Stable code, words, who must act, and since when.
      type: dict
    result:
      description: What came of the decision; empty when nothing was tried.
      type: str
requests:
  description: Requests sent to GitHub.
  returned: always
  type: int
points:
  description: GraphQL points spent.
  returned: always
  type: int
"""

import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.aina.factory.plugins.module_utils.base import ansible_effects
from ansible_collections.aina.factory.plugins.module_utils.base.configuration import (
    ConfigurationError,
    Section,
)
from ansible_collections.aina.factory.plugins.module_utils.base.github import settings as github
from ansible_collections.aina.factory.plugins.module_utils.base.locks import (
    LockedError,
    LockFileError,
    exclusive,
)
from ansible_collections.aina.factory.plugins.module_utils.base.ports import Effects
from ansible_collections.aina.factory.plugins.module_utils.base.settings import argument_spec, read
from ansible_collections.aina.factory.plugins.module_utils.marshal import assembly
from ansible_collections.aina.factory.plugins.module_utils.marshal.settings import (
    MarshalSettings,
    MergePolicy,
)

ACTING = {
    "merge": "merged",
    "update": "updated",
    "retest": "tested again",
    "close_duplicate": "closed",
}


def _settings(parameters: dict[str, Any]) -> MarshalSettings:
    project = {
        "name": parameters["project"],
        "repository": parameters["repository"],
        "default_branch": parameters["default_branch"],
        "guarded_paths": parameters["guarded_paths"],
        "guarded_label": parameters["guarded_label"],
        "merge": parameters["policy"],
    }
    section = {"state_dir": parameters["state_dir"], "projects": [project]}
    whole = Section({"github": parameters["github"]}, "pull_request_merge")
    return read(
        MarshalSettings,
        Section(section, whole.path),
        github=github.of(whole),
        agents=tuple(parameters["agents"]),
    )


def _cycle(module: AnsibleModule) -> dict[str, Any]:
    chosen = _settings(module.params)
    ports = Effects(
        ansible_effects.runner(module),
        ansible_effects.fetcher(open_url, chosen.github.ca_file),
        time.time,
        time.sleep,
    )
    project = chosen.projects[0]
    with exclusive(Path(chosen.state_dir) / project.name / "lock"):
        return assembly.cycle(chosen, project, ports, dry_run=module.check_mode)


def _difference(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    acting = [item for item in document["pull_requests"] if item["decision"] in ACTING]
    return {
        "before": {f"#{item['number']}": "open" for item in acting},
        "after": {f"#{item['number']}": ACTING[item["decision"]] for item in acting},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "default_branch": {"type": "str", "default": "main"},
            "policy": {"type": "dict", "default": {}, "options": argument_spec(MergePolicy)},
            "guarded_paths": {"type": "list", "elements": "str", "default": []},
            "guarded_label": {"type": "str", "default": "approved-by-human"},
            "agents": {"type": "list", "elements": "str", "default": []},
            "state_dir": {"type": "path", "default": "/var/lib/aina-factory/marshal"},
            "github": {"type": "dict", "default": {}, "options": argument_spec(github.GitHub)},
        },
        supports_check_mode=True,
    )
    try:
        document = _cycle(module)
    except (ConfigurationError, LockedError, LockFileError) as error:
        module.fail_json(msg=str(error))
    if document["failed"]:
        module.fail_json(msg=document["stopped"], pull_requests=document["pull_requests"])
    module.exit_json(
        changed=document["changed"],
        diff=_difference(document),
        stopped=document["stopped"],
        pull_requests=document["pull_requests"],
        requests=document["requests"],
        points=document["points"],
    )


if __name__ == "__main__":
    main()
