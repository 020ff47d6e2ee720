# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scheduled jobs of a host: those of its capabilities, and the inventory's."""

from __future__ import annotations

DOCUMENTATION = r"""
name: jobs
short_description: Collect the jobs that roles bring, as the inventory changes them
version_added: 0.1.0
description:
  - Reads C(meta/jobs.yml) of each role below a directory of the control node, and leaves out the jobs of roles that the
    host does not use, that is whose C(<role>_state) is not V(present), and jobs whose C(when) is false.
  - An entry of O(declared) that has the name of such a job changes keys of it. Others are jobs of the inventory's own.
  - A name that is neither is refused, with the nearest known one.
options:
  _terms:
    description: Directories of roles.
    type: list
    elements: path
    required: true
  declared:
    description: The inventory's entries.
    type: list
    elements: dict
    default: []
notes:
  - "C(meta/jobs.yml) is a list of jobs with the keys that the role C(factory_crons) takes, and C(when), an expression
    like that of a task. Expressions in it may name the role's own options and the variables that all roles share."
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Install the scheduled jobs
  aina.factory.systemd_jobs:
    jobs: "{{ lookup('aina.factory.jobs', role_path | dirname, declared=factory_jobs | default([])) }}"
"""

RETURN = r"""
_list:
  description: The jobs, ready for O(aina.factory.systemd_jobs#module:jobs).
  type: list
  elements: dict
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils.base.configuration import ConfigurationError
from ..module_utils.jobs.standard import Standard, merge


class LookupModule(LookupBase):
    """Collects jobs."""

    def run(
        self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[list[dict[str, object]]]:
        """Return all jobs as one list, so that the lookup is a list also when called singly."""
        set_options: Callable[..., None] = self.set_options
        set_options(var_options=variables, direct=kwargs)
        option: Callable[[str], Any] = self.get_option
        standard = [
            job
            for term in terms
            for path in sorted(Path(term).glob("*/meta/jobs.yml"))
            for job in self._of_role(path.parent.parent, variables or {})
        ]
        try:
            return [merge(standard, [dict(entry) for entry in option("declared")])]
        except ConfigurationError as error:
            raise AnsibleLookupError(str(error)) from None

    def _of_role(self, role: Path, variables: Mapping[str, Any]) -> Iterator[Standard]:
        """Yield the jobs that a role brings."""
        whole: Any = self._templar
        templar = whole.copy_with_new_env(
            available_variables={**self._read(role / "defaults/main.yml"), **variables}
        )
        is_present = templar.resolve_variable_expression(f"{role.name}_state") == "present"
        for entry in self._read(role / "meta/jobs.yml"):
            condition = entry.pop("when", True)
            in_use = is_present and templar.evaluate_conditional(condition)
            # What is not in use may lack what its expressions need.
            keys = templar.template(entry) if in_use else {"name": entry["name"]}
            yield Standard(role.name, keys, in_use)

    def _read(self, path: Path) -> Any:
        loader: Any = self._loader
        return loader.load_from_file(str(path), cache="none", trusted_as_template=True)
