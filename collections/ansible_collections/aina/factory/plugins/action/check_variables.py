# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuse variables that cannot be meant; see the module of the same name for its documentation."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.template import Templar, trust_as_template

from ..module_utils.base import settings
from ..module_utils.base.configuration import ConfigurationError, Section
from ..module_utils.base.settings import LATER, Setting
from ..module_utils.site import needed_secrets, variables
from ..module_utils.site.sections import SECTIONS, declared
from ..module_utils.site.settings import Inventory

ROLES = Path(__file__).resolve().parents[2] / "roles"
_SITE = "factory_"
_PROJECTS = "{{ lookup('aina.factory.projects') }}"


def _options(path: Path) -> list[str]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    spec = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - a safe one
    return list(spec["argument_specs"]["main"].get("options") or {})


# Ansible imports an action before it forks the worker of each play: what is made here is made once in a run.
_DECLARED: Mapping[str, type] = {section: declared(section) for section in SECTIONS}
_OPTIONS: Mapping[str, list[str]] = {
    path.parts[-3]: _options(path) for path in ROLES.glob("*/meta/*_specs.yml")
}


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
        given = dict(task_vars or {})
        shared = {f"{_SITE}{item.key}" for item in settings.settings_of(Inventory)}
        known = {*shared, *(name for names in _OPTIONS.values() for name in names)}
        prefixes = {_SITE, *(f"{role}_" for role in _OPTIONS)}
        found = variables.problems(
            given, known, prefixes, variables.RENAMED, variables.RENAMED_PREFIXES
        )
        later: list[str] = []
        found += self._site(given, later)
        # What a role makes of the site's variables is no news where these are wrong.
        is_sound = not found
        for role in sorted(_OPTIONS):
            found += self._role(role, _OPTIONS[role], given, later, is_sound=is_sound)
        if found:
            lines = "".join(f"\n- {problem}" for problem in dict.fromkeys(found))
            result |= {"failed": True, "msg": f"the inventory cannot be meant so:{lines}"}
        return {**result, "changed": False, "left_to_host": sorted(set(later))}

    def _site(self, given: dict[str, Any], later: list[str]) -> Iterator[str]:
        """Read what no role's argument spec describes: the variables of the whole site."""
        for name in sorted(given):
            # Whatever is read as it lies in the file would reach the server as a secret.
            if needed_secrets.VARIABLE.fullmatch(name) and str(given[name])[:4] == "ENC[":
                yield f"{name} is still encrypted: {needed_secrets.PLUGIN}"
        values = _Values(self._loader, given)
        for item in settings.settings_of(Inventory):
            name = f"{_SITE}{item.key}"
            if name not in given:
                continue
            value = values.of(given[name])
            if item.key == "projects" and not _is_later(value):
                # With what their own files say, if these can be read.
                try:
                    value = [_without_files(each) for each in values.template(_PROJECTS)]
                except AnsibleError as error:
                    yield from _said(error)
            if _is_later(value):
                later.append(name)
            yield from _problems(Inventory, item, value, "factory")

    def _role(
        self,
        role: str,
        names: Collection[str],
        given: Mapping[str, Any],
        later: list[str],
        *,
        is_sound: bool,
    ) -> Iterator[str]:
        """Read the sections of a role that is played or of which the inventory says something."""
        sections = self._load(role, "vars/main/configuration.yml").get(f"__{role}_settings", {})
        played = {str(name).rpartition(".")[2] for name in given.get("ansible_play_role_names", [])}
        if not sections or (role not in played and not any(name in given for name in names)):
            return
        own = self._load(role, "vars/main/main.yml")
        place = {"role_path": str(ROLES / role)}
        values = _Values(
            self._loader, {**self._load(role, "defaults/main.yml"), **given, **own, **place}
        )
        if (
            values.of(trust_as_template(f"{{{{ {role}_state | default('present') }}}}"))
            != "present"
        ):
            return
        for section in sections:
            cls = _DECLARED[section]
            read: dict[str, Any] = {}
            for item in settings.settings_of(cls):
                name, made = f"{role}_{item.key}", f"__{role}_{item.key}"
                if item.rule.by == "site":
                    said = values.of(values.known.get(name))
                    if _is_later(said):
                        later.append(name)
                    read[item.key] = _converted(item, said)
                if made in own:
                    # Of what the role makes of it, only the parts are known.
                    if item.rule.by == "site":
                        yield from _problems(cls, item, read[item.key], role)
                    read[item.key] = values.of(own[made])
                if item.rule.by == "role" and not is_sound:
                    read[item.key] = LATER
                if item.required and role not in played:
                    read.setdefault(item.key, LATER)
            try:
                settings.read(cls, Section(read, role))
            except ConfigurationError as error:
                yield from (each.replace(f"{role}.", f"{role}_", 1) for each in error.problems)

    def _load(self, role: str, name: str) -> Mapping[str, Any]:
        path = ROLES / role / name
        if not path.is_file():
            return {}
        found: Mapping[str, Any] = (
            self._loader.load_from_file(str(path), trusted_as_template=True) or {}
        )
        return found


class _Values:
    """What variables are, as far as that is known here."""

    def __init__(self, loader: Any, known: dict[str, Any]) -> None:
        self.known = known
        self._templar: Any = Templar(loader=loader, variables=known)

    def template(self, text: str) -> Any:
        """Return what an expression of this file gives."""
        return self._templar.template(trust_as_template(text))

    def of(self, raw: Any) -> Any:
        """Return a value; a part that hangs on what only the host knows is :data:`LATER`."""
        if isinstance(raw, Mapping):
            return {str(key): self.of(value) for key, value in raw.items()}
        if isinstance(raw, list | tuple):
            return [self.of(value) for value in raw]
        if isinstance(raw, datetime.date):
            return raw.isoformat()
        if not isinstance(raw, str):
            return raw
        try:
            found = self._templar.template(raw)
        except AnsibleError:
            return LATER
        return found if isinstance(found, str) else self.of(found)


def _problems(cls: type, item: Setting, value: Any, prefix: str) -> Iterator[str]:
    """Say what is wrong with one variable, whatever else there is."""
    if value is None:
        return
    known = settings.unfinished(cls, {item.key: value}) if item.rule.partial else {item.key: value}
    try:
        item.read(Section(known, prefix), item.default)
    except ConfigurationError as error:
        yield from (each.replace(f"{prefix}.", f"{prefix}_", 1) for each in error.problems)


def _is_later(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_is_later, value.values()))
    return any(map(_is_later, value)) if isinstance(value, list) else value is LATER


def _converted(item: Setting, value: Any) -> Any:
    """Return a value as the role takes it: what --extra-vars says is text."""
    if item.container or not isinstance(value, str):
        return value
    try:
        if item.item is bool:
            return boolean(value)
        if item.item in (int, float):
            number = float(value)
            return int(number) if number.is_integer() else number
    except (TypeError, ValueError):
        pass
    return value


def _said(error: BaseException) -> list[str]:
    """Return what the first of several errors said; the rest only tells who met it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).splitlines()


def _without_files(project: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in project.items() if key not in ("files", "files_dir")}
