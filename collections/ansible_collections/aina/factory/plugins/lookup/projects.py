# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The projects of an inventory, with what the files beside it say of them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: projects
short_description: Join the projects of an inventory with their own files
version_added: 0.1.0
description:
  - Returns the projects of the inventory. Each may have a directory of its name, outside of the product, with what
    belongs to its agents and its image, C(lane.yml), C(AGENTS.md) and C(Dockerfile).
  - What C(lane.yml) says becomes part of the project's C(lanes), if it declares these. The inventory has the last word.
options:
  _terms:
    description: None are needed.
    type: list
    elements: str
    default: []
  projects:
    description: The projects.
    type: raw
    default: []
    vars:
      - name: factory_projects
  files_dir:
    description: The directory of the control node that holds a directory for each project. By default C(projects) in
      the directory of the inventory's file, or else beside that directory.
    type: raw
    default: ""
    vars:
      - name: factory_projects_dir
  inventory_dir:
    description: The directory of the inventory's file.
    type: raw
    default: ""
    vars:
      - name: inventory_dir
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Show which projects bring an image of their own
  ansible.builtin.debug:
    msg: "{{ lookup('aina.factory.projects') | selectattr('files', 'contains', 'Dockerfile') | map(attribute='name') }}"
"""

RETURN = r"""
_list:
  description: The projects, each with V(files), the names of its own files, and V(files_dir), where they are. Both are
    empty where there are none.
  type: list
  elements: dict
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils.base import settings
from ..module_utils.base.configuration import ConfigurationError, Section
from ..module_utils.lanes.settings import LaneOptions


class LookupModule(LookupBase):
    """Reads the projects' own files."""

    def run(
        self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[list[dict[str, Any]]]:
        """Return all projects as one list, so that the lookup is a list also when called singly."""
        set_options: Callable[..., None] = self.set_options
        set_options(var_options=variables, direct=kwargs)
        option: Callable[[str], Any] = self.get_option
        templar: Any = self._templar
        given = {
            name: templar.template(option(name))
            for name in ("projects", "files_dir", "inventory_dir")
        }
        directory = _directory(given["files_dir"], given["inventory_dir"])
        return [[self._whole(project, directory) for project in given["projects"]]]

    def _whole(self, project: Mapping[str, Any], directory: Path | None) -> dict[str, Any]:
        """Return a project with what its own files say."""
        own = directory / project["name"] if directory else None
        names = sorted(path.name for path in own.iterdir()) if own and own.is_dir() else []
        whole = {**project, "files": names, "files_dir": str(own) if names else ""}
        if "lanes" in project:
            file = own / "lane.yml" if own and "lane.yml" in names else None
            whole["lanes"] = {**(self._lanes(file) if file else {}), **(project["lanes"] or {})}
        return whole

    def _lanes(self, path: Path) -> Mapping[str, Any]:
        loader: Any = self._loader
        said = loader.load_from_file(str(path), cache="none") or {}
        if not isinstance(said, Mapping):
            raise AnsibleLookupError(f"{path} must hold a mapping, as lanes of the project does")
        try:
            # What it leaves out may stand in the inventory.
            settings.read(LaneOptions, Section(settings.unfinished(LaneOptions, said), str(path)))
        except ConfigurationError as error:
            lines = (each.replace(f"{path}.", f"{path}: ", 1) for each in error.problems)
            raise AnsibleLookupError("\n".join(lines)) from None
        return said


def _directory(declared: str, inventory: str) -> Path | None:
    """Return where the projects' files are, if anywhere.

    Raises:
        AnsibleLookupError: the directory that somebody named is not there.

    """
    if declared:
        if not Path(declared).is_dir():
            raise AnsibleLookupError(f"factory_projects_dir is {declared}: no directory")
        return Path(declared)
    beside = (Path(inventory) / "projects", Path(inventory).parent / "projects")
    return next((path for path in beside if inventory and path.is_dir()), None)
