# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuse variables that no role reads; see the module of the same name for its documentation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ..module_utils.base import settings
from ..module_utils.base.configuration import ConfigurationError, Section
from ..module_utils.site import variables
from ..module_utils.site.settings import Inventory

ROLES = Path(__file__).resolve().parents[2] / "roles"
_SITE = "factory_"


class ActionModule(ActionBase):
    """Works on the control node alone."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset[str]()

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Judge the variables of one host."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = task_vars or {}
        options = {path.parts[-3]: _options(path) for path in ROLES.glob("*/meta/*_specs.yml")}
        shared = {f"{_SITE}{item.key}" for item in settings.settings_of(Inventory)}
        known = {*shared, *(name for names in options.values() for name in names)}
        prefixes = {_SITE, *(f"{role}_" for role in options)}
        found = [*variables.problems(given, known, prefixes), *self._wrong_values(given)]
        if found:
            lines = "".join(f"\n- {problem}" for problem in found)
            result |= {"failed": True, "msg": f"the inventory cannot be meant so:{lines}"}
        return {**result, "changed": False}

    def _wrong_values(self, given: Mapping[str, Any]) -> Iterator[str]:
        """Read what no role's argument spec describes: the variables of the whole site."""
        for item in settings.settings_of(Inventory):
            name = f"{_SITE}{item.key}"
            if name not in given:
                continue
            value = self._templar.template(given[name])
            try:
                item.read(Section({item.key: value}, "factory"), item.default)
            except ConfigurationError as error:
                yield str(error).replace("factory.", _SITE, 1)


def _options(path: Path) -> list[str]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    spec = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe one
    return list(spec["argument_specs"]["main"].get("options") or {})
