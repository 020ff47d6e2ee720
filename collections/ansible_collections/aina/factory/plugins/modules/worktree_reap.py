#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reap the worktrees of one repository."""

from __future__ import annotations

DOCUMENTATION = r"""
module: worktree_reap
short_description: Delete the worktrees of a repository whose work has landed
version_added: 0.1.0
description:
  - Deletes worktrees of which it is proven that their work has landed in the remote's default branch or that the
    remote holds it, that hold nothing else, and that nobody uses. Every other worktree stays, with a reason.
  - Squash merges, rebases and cherry-picks count as landed by exact object ids, see RV(worktrees[].evidence).
  - A deleted worktree lies in a trash directory beside its place for O(policy.trash_retention_seconds) and can be had
    back with C(factory reap --undo). Local branches are never deleted.
  - Works as the owner of the repository, also when it is called by root.
  - In check mode a repository that does not exist is a warning, since an earlier task may be about to make it.
options:
  repository:
    description: The checkout whose worktrees are judged.
    type: path
    required: true
  remote:
    description: Name of the remote that is asked what has landed.
    type: str
    default: origin
  default_branch:
    description: The branch that work lands on. Asked of the remote when not given.
    type: str
  worktree_roots:
    description: Directories in which directories that git does not know are reported.
    type: list
    elements: path
    default: []
  lock_path:
    description:
      - A lock file that whatever makes or deletes worktrees on the host takes; the module fails while it is held.
      - One reap at a time per repository is seen to in any case.
    type: path
extends_documentation_fragment:
  - aina.factory.attributes
  - aina.factory.reap
attributes:
  diff_mode:
    description: Shows which worktrees go.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Delete landed worktrees
  aina.factory.worktree_reap:
    repository: /srv/repos/example
    worktree_roots: [/home/agent/worktrees]
"""

RETURN = r"""
worktrees:
  description: Every worktree with its verdict.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: Where it is, or was.
      type: str
    branch:
      description: Its branch, if it has one.
      type: str
    head:
      description: The commit it is at.
      type: str
    verdict:
      description: V(reap) or V(keep).
      type: str
    reason:
      description: Stable code of the reason.
      type: str
    detail:
      description: The reason in words.
      type: str
    evidence:
      description: What proves that its commits are safe, as kind and detail.
      type: dict
    bytes:
      description: Allocated size in bytes.
      type: int
    reaped:
      description: Whether it was deleted.
      type: bool
changed_paths:
  description: The worktrees that were deleted, or would be in check mode.
  returned: always
  type: list
  elements: str
bytes_freed:
  description: Allocated size of the deleted worktrees in bytes; in check mode what deleting would free.
  returned: always
  type: int
"""

import time
from contextlib import ExitStack
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.base import ansible_effects, settings
from ansible_collections.aina.factory.plugins.module_utils.base.configuration import (
    ConfigurationError,
    Section,
)
from ansible_collections.aina.factory.plugins.module_utils.base.git import GitError
from ansible_collections.aina.factory.plugins.module_utils.base.locks import LockedError, exclusive
from ansible_collections.aina.factory.plugins.module_utils.worktrees import model, owner, reap
from ansible_collections.aina.factory.plugins.module_utils.worktrees.settings import Reap


def _reap(module: AnsibleModule) -> model.ReapReport:
    parameters = module.params
    policy = settings.read(Reap, Section(parameters["policy"], "policy"))
    task = reap.ReapTask(
        repository=parameters["repository"],
        remote=parameters["remote"],
        default_branch=parameters["default_branch"],
        worktree_roots=tuple(parameters["worktree_roots"]),
    )
    tools = reap.ReapTools(ansible_effects.runner(module), time.time)
    if module.check_mode and not Path(task.repository).exists():
        return model.ReapReport(task.repository, warnings=[f"{task.repository} does not exist yet"])

    def record(report: model.ReapReport) -> dict[str, object]:
        reap.measure(report)
        return report.record()

    def done(here: reap.ReapTools, _common_dir: str) -> list[object]:
        report = reap.run(task, policy, here)
        return [record(report), reap.due(task, policy, here)]

    if module.check_mode:
        return model.report_from_record(
            owner.act(task.repository, tools, lambda here: record(reap.plan(task, policy, here)))
        )
    with ExitStack() as locks:
        if parameters["lock_path"] is not None:
            locks.enter_context(exclusive(Path(parameters["lock_path"])))
        told, due = owner.act_alone(task.repository, tools, reap.PURPOSE, done)
        report = model.report_from_record(told)
        tokens = [entry["token"] for entry in due]
        report.failures += owner.empty(task.repository, tools, float("-inf"), tokens)
        report.warnings += [
            f"{entry['path']} cannot be had back any more: the disk was too full for it to wait"
            for entry in due
            if entry["why"] == "disk_full"
        ]
        return report


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "path", "required": True},
            "remote": {"type": "str", "default": "origin"},
            "default_branch": {"type": "str"},
            "worktree_roots": {"type": "list", "elements": "path", "default": []},
            "policy": {"type": "dict", "default": {}, "options": settings.argument_spec(Reap)},
            "lock_path": {"type": "path"},
        },
        supports_check_mode=True,
    )
    try:
        report = _reap(module)
    except (ConfigurationError, GitError, LockedError, OSError) as error:
        module.fail_json(msg=str(error))
    document = report.document()
    going = [item for item in report.verdicts if (module.check_mode and item.reap) or item.reaped]
    before = "".join(f"{verdict.listed.path}\n" for verdict in report.verdicts)
    after = "".join(f"{item.listed.path}\n" for item in report.verdicts if item not in going)
    for warning in [*report.warnings, *report.failures]:
        module.warn(warning)
    module.exit_json(
        changed=bool(going),
        changed_paths=[item.listed.path for item in going],
        failed=bool(report.failures),
        worktrees=document["worktrees"],
        bytes_freed=sum(item.bytes or 0 for item in going),
        diff={"before": before, "after": after} if going else {},
    )


if __name__ == "__main__":
    main()
