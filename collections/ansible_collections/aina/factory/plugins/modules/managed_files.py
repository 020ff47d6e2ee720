#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many files and directories in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
short_description: Bring many files and directories to a declared state in one round trip
version_added: 0.1.0
description:
  - Writes files whose content comes from the control node, makes directories, empties directories of everything
    that is not declared, and removes paths, all in one module call.
  - Every file is written beside its target, validated, flushed to disk and renamed, so that a run that is killed
    leaves either the old file or the new one in force.
  - In check mode nothing is validated, since the validator may be what this very run would install.
options:
  directories:
    description: Directories that exist afterwards. Their parents are made when missing, with mode 0755. Those that keep
      others from what is declared readable, and hold nothing else or are in an exclusive directory, are opened again.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      owner:
        description: Name of the owning user.
        type: str
        default: root
      group:
        description: Name of the owning group.
        type: str
        default: root
      mode:
        description: Permissions as four octal digits.
        type: str
        default: "0755"
      exclusive:
        description: Whether everything in the directory that is not declared in this call is removed.
        type: bool
        default: false
      exclude:
        description: Names (globs) that an exclusive directory tolerates.
        type: list
        elements: str
        default: []
  files:
    description: Regular files that exist afterwards with exactly the given content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      owner:
        description: Name of the owning user.
        type: str
        default: root
      group:
        description: Name of the owning group.
        type: str
        default: root
      mode:
        description: Permissions as four octal digits.
        type: str
        default: "0644"
      validate:
        description: A command as a list of words, in which V(%s) stands for the candidate file. When it fails, the
          file is not replaced.
        type: list
        elements: str
        default: []
      sensitive:
        description: Whether the content is kept out of the diff and of every log.
        type: bool
        default: false
  links:
    description: Symbolic links that exist afterwards; a file in the place of one is replaced by it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path of the link.
        type: str
        required: true
      target:
        description: What it leads to.
        type: str
        required: true
  absent:
    description: Absolute paths that do not exist afterwards. Directories go with their content.
    type: list
    elements: str
    default: []
  former_dir:
    description: Directory that keeps what stood where a file or link of this call comes, for O(given_back).
    type: path
  given_back:
    description: Absolute paths that hold again what O(former_dir) keeps of them, which then forgets it. Where nothing
      stood, nothing stands afterwards. A path of which nothing is kept stays as it is.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows what has changed or would change, path by path.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Own a directory of settings
  aina.factory.managed_files:
    directories:
      - path: /etc/example.d
        exclusive: true
    files:
      - path: /etc/example.d/limits.json
        content: "{{ example_limits | to_nice_json ~ '\n' }}"
        validate: [/usr/bin/python3, -m, json.tool, "%s"]
"""

RETURN = r"""
changed_paths:
  description: Paths that were changed, or in check mode would be, in the order of the plan.
  returned: always
  type: list
  elements: str
  sample: [/etc/example.d, /etc/example.d/limits.json]
waiting:
  description: What cannot be brought about yet, as M(aina.factory.units) returns it - in check mode files
    that only a program of an earlier role can judge.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import managed_files


def main() -> None:
    module = AnsibleModule(managed_files.ARGUMENTS, supports_check_mode=True)
    shown = managed_files.shown(module.params)
    invocation = steps.hide(module, managed_files.secrets(module.params), shown)
    steps.alone(module, managed_files, invocation=invocation)


if __name__ == "__main__":
    main()
