#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A repository's GitHub workflows under a declared policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: workflow_policy
short_description: Propose the changes that bring a repository's workflows under a declared policy
version_added: 0.1.0
description:
  - Judges every workflow of the default branch and opens one pull request with what the policy changes - runners,
    triggers, concurrency, time limits, permissions, pinned actions. Nothing is ever pushed to the default branch.
  - Edits by position, so that the difference holds only the intended places and comments survive. The edited text is
    read again, and must say exactly what was meant. A file that cannot be edited safely stays, and is reported.
  - Names of jobs, and so of required checks, never change.
  - All workflows are judged together. Concurrency, rights and filters of C(push) are written only where that provably
    takes nothing away, and otherwise suggested in words.
  - The branch of the pull request is left alone once somebody else has pushed to it. What somebody closed is not
    proposed again until it differs; a pull request with nothing left to propose is closed.
  - What was proposed before and is due again was taken out by a person, and stays out; O(policy.exceptions) says so
    for good.
  - Looks where the repository variable stands that moves the jobs, and whether a runner with the declared labels is
    online. Sets or deletes the variable only where O(switch) says so.
  - Fetches no history, asks once for each distinct action, and bounds the description of the pull request.
  - Refuses public repositories, since anybody's pull request would run on the declared runner.
  - Runs where PyYAML is, usually on the control node.
requirements:
  - PyYAML
  - git
options:
  repository:
    description: Owner and name of the repository at GitHub.
    type: str
    required: true
  default_branch:
    description: The branch that the pull request goes to.
    type: str
    default: main
  runner:
    description: What the project's runner is like, as C(runner) of its entry in C(factory_projects). A job moves only
      to a runner that offers what it needs; without this, to one that offers what a fresh container does.
    type: dict
  propose:
    description: Whether a pull request is opened or refreshed. Otherwise the module only reports.
    type: bool
    default: true
  switch:
    description: Whether the repository variable is set to the declared labels (V(declared)) or deleted, so that jobs
      run on hosted runners (V(hosted)). Set only while a runner with these labels is online, and no workflow of the
      default branch reads it for a job that the runner is not for.
    type: str
    choices: [keep, declared, hosted]
    default: keep
extends_documentation_fragment:
  - aina.factory.attributes
  - aina.factory.github
  - aina.factory.workflows
attributes:
  diff_mode:
    description: Shows the changed lines of each workflow.
    support: full
  idempotent:
    description: A second run right after the first changes nothing.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Bring the workflows under the policy
  aina.factory.workflow_policy:
    repository: example/demo
    policy:
      runs_on:
        strategy: variable
        labels: [self-hosted, vds, linux]
      required_checks: [ci]
"""

RETURN = r"""
workflows:
  description: Every workflow, with what is changed, what is kept and what is wrong.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: The file's name.
      type: str
    edits:
      description: What is changed, with the line.
      type: list
      elements: str
    kept:
      description: What the policy leaves alone, and why.
      type: list
      elements: str
    problems:
      description: What a person must look at.
      type: list
      elements: str
    jobs:
      description: What becomes of each job, with C(job), C(outcome) (V(moved), V(kept) or V(problem)) and C(reason).
      type: list
      elements: dict
pull_request:
  description: Number and address of the pull request; empty when there is none.
  returned: always
  type: dict
switch:
  description: Where the repository variable stands after the run.
  returned: always
  type: dict
  contains:
    position:
      description: V(unset), V(declared), V(other), V(broken), V(unknown), or V(none) with the strategy V(labels).
      type: str
    value:
      description: What it holds.
      type: str
    lines:
      description: The same in words, and which runners are online.
      type: list
      elements: str
notes:
  description: What is to be said of the whole repository, such as required checks that no workflow reports.
  returned: always
  type: list
  elements: str
stopped:
  description: Why nothing is proposed though something differs - commits of others on the branch, or a closed pull
    request with the same changes; empty otherwise.
  returned: always
  type: str
"""

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.urls import open_url

from ansible_collections.aina.factory.plugins.module_utils.base import ansible_effects
from ansible_collections.aina.factory.plugins.module_utils.base.configuration import (
    ConfigurationError,
    Section,
)
from ansible_collections.aina.factory.plugins.module_utils.base.github import login
from ansible_collections.aina.factory.plugins.module_utils.base.github import settings as github
from ansible_collections.aina.factory.plugins.module_utils.base.github.git import git_environment
from ansible_collections.aina.factory.plugins.module_utils.base.github.rights import (
    NEEDED,
    WISHED,
)
from ansible_collections.aina.factory.plugins.module_utils.base.github.transport import Transport
from ansible_collections.aina.factory.plugins.module_utils.base.settings import argument_spec, read
from ansible_collections.aina.factory.plugins.module_utils.marshal.mirror import Mirror, MirrorError
from ansible_collections.aina.factory.plugins.module_utils.runners.offer import offer
from ansible_collections.aina.factory.plugins.module_utils.runners.settings import RunnerOptions
from ansible_collections.aina.factory.plugins.module_utils.workflows.repository import (
    PolicyProposal,
    WorkflowRepository,
    WorkflowsError,
)
from ansible_collections.aina.factory.plugins.module_utils.workflows.settings import WorkflowPolicy
from ansible_collections.aina.factory.plugins.module_utils.workflows.switch import SwitchError
from ansible_collections.aina.factory.plugins.module_utils.workflows.yaml_nodes import composer

try:
    import yaml

    YAML: Any = yaml
except ImportError:
    YAML = None


def _repository(module: AnsibleModule, directory: str) -> WorkflowRepository:
    parameters = module.params
    name = parameters["repository"]
    server = github.of(Section(parameters, "workflow_policy"))
    run = ansible_effects.runner(module)
    fetch = ansible_effects.fetcher(open_url, server.ca_file)
    token = login.token_source(
        server.login_of("workflows"),
        server.api_url,
        name,
        NEEDED["workflows"],
        run=run,
        fetch=fetch,
        now=time.time,
        wished=WISHED["workflows"],
    )
    module.no_log_values.add(token())
    environment = git_environment(server.web_url, server.ca_file, token())
    git = Mirror(run, Path(directory, "mirror.git"), f"{server.web_url}/{name}.git", environment)
    transport = Transport(fetch, server.api_url, token, time.time)
    return WorkflowRepository(name, parameters["default_branch"], transport, git)


def _converge(module: AnsibleModule) -> tuple[PolicyProposal, bool, list[dict[str, Any]]]:
    section = Section(module.params["policy"], "policy")
    branch = module.params["default_branch"]
    policy = read(WorkflowPolicy, section, default_branch=branch)
    with tempfile.TemporaryDirectory(prefix="workflow-policy-") as directory:
        repository = _repository(module, directory)
        repository.check_visibility(policy)
        declared = module.params["runner"]
        offered = (
            None if declared is None else offer(read(RunnerOptions, Section(declared, "runner")))
        )
        plan = repository.plan(policy, composer(YAML), offered)
        difference = _difference(plan) if plan.is_due else []
        changed = plan.is_due and module.params["propose"]
        if module.params["switch"] != "keep":
            is_declared = module.params["switch"] == "declared"
            turned = repository.turn(plan, declared=is_declared, pretend=module.check_mode)
            changed = changed or turned
        if module.params["propose"] and not module.check_mode:
            repository.propose(plan, policy)
    return plan, changed, difference


def _switch(plan: PolicyProposal) -> dict[str, Any]:
    found = plan.switch
    if found is None:
        return {}
    return {"position": str(found.position), "value": found.value, "lines": found.lines}


def _difference(plan: PolicyProposal) -> list[dict[str, Any]]:
    return [
        {
            "before_header": report.name,
            "after_header": report.name,
            "before": report.before,
            "after": report.after,
        }
        for report in plan.reports
        if report.before != report.after
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "default_branch": {"type": "str", "default": "main"},
            "policy": {
                "type": "dict",
                "default": {},
                "options": argument_spec(WorkflowPolicy),
            },
            "runner": {"type": "dict"},
            "propose": {"type": "bool", "default": True},
            "switch": {
                "type": "str",
                "choices": ["keep", "declared", "hosted"],
                "default": "keep",
            },
            "github": {"type": "dict", "default": {}, "options": argument_spec(github.GitHub)},
        },
        supports_check_mode=True,
    )
    if YAML is None:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    try:
        plan, changed, difference = _converge(module)
    except (
        ConfigurationError,
        WorkflowsError,
        SwitchError,
        MirrorError,
        OSError,
        TimeoutError,
    ) as error:
        module.fail_json(msg=str(error))
    for problem in plan.problems:
        module.warn(f"{module.params['repository']}: {problem}")
    if plan.stopped:
        module.warn(f"{module.params['repository']}: {plan.stopped}")
    module.exit_json(
        changed=changed,
        workflows=[
            {
                "name": report.name,
                "edits": report.edits,
                "kept": report.kept,
                "problems": report.problems,
                "jobs": [asdict(job) for job in report.jobs],
            }
            for report in plan.reports
        ],
        pull_request=plan.pull_request or {},
        stopped=plan.stopped,
        notes=plan.notes,
        switch=_switch(plan),
        diff=difference,
    )


if __name__ == "__main__":
    main()
