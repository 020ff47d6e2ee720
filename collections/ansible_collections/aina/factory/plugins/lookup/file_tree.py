# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A directory of the control node as a list of files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: file_tree
short_description: Read a directory of the control node into a list of files
version_added: 0.1.0
description:
  - Returns one item per file below a directory, sorted by path, ready for O(aina.factory.managed_files#module:files).
options:
  _terms:
    description: Directories to read.
    type: list
    elements: path
    required: true
  dest:
    description: Where the directory goes on the managed host.
    type: str
    required: true
  include:
    description: Names (globs) of the files to take.
    type: list
    elements: str
    default: ["*"]
  mode:
    description: Permissions of the files as four octal digits.
    type: str
    default: "0644"
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Install a Python package as readable files
  aina.factory.managed_files:
    files: "{{ lookup('aina.factory.file_tree', 'files/package', dest='/usr/local/lib/package', include=['*.py']) }}"
"""

RETURN = r"""
_list:
  description: One item per file with V(path), V(content) and V(mode).
  type: list
  elements: dict
"""

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """Reads directories."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[list[dict[str, str]]]:
        """Return all files as one list, so that the lookup is a list also when called singly."""
        set_options: Callable[..., None] = self.set_options
        set_options(var_options=variables, direct=kwargs)
        option: Callable[[str], Any] = self.get_option
        return [
            [
                item
                for term in terms
                for item in _read(Path(term), option("dest"), option("include"), option("mode"))
            ]
        ]


def _read(root: Path, dest: str, patterns: list[str], mode: str) -> list[dict[str, str]]:
    if not root.is_dir():
        raise AnsibleLookupError(f"{root} is not a directory")
    return [
        {
            "path": f"{dest}/{file.relative_to(root)}",
            "content": file.read_text(encoding="utf-8"),
            "mode": mode,
        }
        for file in sorted(root.rglob("*"))
        if file.is_file() and any(fnmatch.fnmatchcase(file.name, name) for name in patterns)
    ]
