"""The gates by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gates import declarations, pins, promises, repository, roles, sanity, tools

Gate = Callable[[Path], str]

# Together half a minute on two cores; the longest first.
FAST: dict[str, Gate] = {
    "ansible-lint": tools.ansible_lint,
    "ruff-check": tools.ruff_check,
    "ruff-format": tools.ruff_format,
    "mypy": tools.mypy,
    "import-contract": tools.import_contract,
    "yamllint": tools.yamllint,
    "shellcheck": tools.shellcheck,
    "hadolint": tools.hadolint,
    "zizmor": tools.zizmor,
    "changelog": tools.changelog,
    "role-layout": roles.layout,
    "role-interface": roles.interface,
    "role-independence": roles.independence,
    "role-files-used": roles.unused_files,
    "role-variables-read": roles.unread_variables,
    "declarations": declarations.declarations,
    "playbooks-are-lists": roles.playbooks,
    "lock": pins.lock,
    "collections": pins.collections,
    "actions": pins.actions,
    "links": repository.links,
    "executable-bits": repository.executable_bits,
    "no-machine-traces": repository.machine_traces,
    "module-index": repository.module_index,
    "promises": promises.promises,
}

SLOW: dict[str, Gate] = {
    "ansible-lint-scenarios": tools.ansible_lint_scenarios,
    "collections-wheel": pins.collections_wheel,
    "antsibull-docs": tools.antsibull_docs,
    **sanity.GATES,
}

ALL = {**FAST, **SLOW}
