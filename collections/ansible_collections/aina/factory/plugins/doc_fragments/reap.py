# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of the section reap. Written by script/generate."""

from __future__ import annotations


class ModuleDocFragment:
    """What a module may be told of the section reap."""

    DOCUMENTATION = r"""
options:
  policy:
    description: Which worktrees may go, and for how long they can be had back.
    type: dict
    default: {}
    suboptions:
      grace_seconds:
        description: Worktrees that were touched within this time stay.
        type: float
        default: 86400
      reap_pushed:
        description: Whether a commit that the remote holds counts as safe although it has not landed.
        type: bool
        default: true
      other_remotes:
        description: >-
          Remotes that are asked as well, where the checkout has them: a fork's work lands there.
        type: list
        elements: str
        default: [upstream]
      base_branches:
        description: Branches (globs) on which work lands beside the default one, C(release/*) for one.
        type: list
        elements: str
        default: []
      holding_refs:
        description: >-
          Refs of a remote (globs) of which a commit is safe that one of them contains. What is given is added to the
          standard ones.
        type: list
        elements: str
        default: []
      reap_dead_locks:
        description: Whether a locked worktree can go when its lock names a process that is gone.
        type: bool
        default: false
      disposable:
        description: >-
          Names (globs) that ignored files and directories may have and still be deleted; one that ends in a slash is a
          directory's. What is given is added to the standard ones.
        type: list
        elements: str
        default: []
      precious:
        description: >-
          Names (globs) of files and directories that are never deleted with what is disposable: they keep the worktree.
          What is given is added to the standard ones.
        type: list
        elements: str
        default: []
      package_directories:
        description: >-
          Directories that package managers and tools fill. In them, but not directly in them, only the names of
          C(precious_among_packages) count, and not of a file that has a second link or a time before 1986, as those of
          packages have. What is given is added to the standard ones.
        type: list
        elements: str
        default: []
      precious_among_packages:
        description: >-
          Which names of C(precious) keep a worktree also deep in C(package_directories). What is given is added to the
          standard ones.
        type: list
        elements: str
        default: []
      paperclip_roots:
        description: Directories whose worktrees belong to Paperclip and stay.
        type: list
        elements: path
        default: []
      trash_retention_seconds:
        description: How long a deleted worktree can be had back.
        type: float
        default: 600
      reaped_commits_retention_days:
        description: How long commits that only the reaped worktree knew can be had back, by refs/reaped/.
        type: int
        default: 90
      trash_disk_used_percent:
        description: A file system that is fuller than this gets the space back at once.
        type: float
        default: 85
"""
