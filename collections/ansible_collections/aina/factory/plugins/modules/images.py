#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The factory's images, built on the host by content."""

from __future__ import annotations

DOCUMENTATION = r"""
module: images
short_description: Build the factory's images on the host when their content changed
version_added: 0.1.0
description:
  - Builds what changed, tries it, looks for secrets in its layers, and only then moves the tag C(current). The same
    plan and the same lock as C(factory images build).
  - A registry, a package archive or GitHub that does not answer is no failure. The images that need it wait, the former
    ones stay in force, and RV(waiting) says who did not answer.
options:
  settings:
    description: The section C(images) of the host's configuration; C(docs/settings/images.md) has every key.
    type: dict
    required: true
  changed_paths:
    description: Source files that this run has written, or in check mode would write.
    type: list
    elements: str
    default: []
  state:
    description: Whether the images are there; V(absent) takes their names away.
    type: str
    choices: [present, absent]
    default: present
  lock_wait_seconds:
    description: How long to wait for another build, such as that of a run that was cut off.
    type: int
    default: 3600
extends_documentation_fragment:
  - aina.factory.attributes
  - aina.factory.github
attributes:
  diff_mode:
    description: Shows which images are built, and why.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Build the images that changed
  aina.factory.images:
    settings:
      base: {image: ubuntu:24.04}
      source_dir: /usr/local/share/aina-factory/images
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be, and why.
  returned: always
  type: list
  elements: str
  sample: ["build aina-factory/ci:current (changed: its tree)"]
waiting:
  description: The images that could not be built yet, as M(aina.factory.units) returns it.
  returned: always
  type: list
  elements: dict
  sample:
    - what: image ci
      for: an answer of registry-1.docker.io
      remedy: converge again when it does (no such host)
"""

import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url

from ansible_collections.aina.factory.plugins.module_utils.base import (
    ansible_effects,
    outage,
    text,
)
from ansible_collections.aina.factory.plugins.module_utils.base.configuration import (
    ConfigurationError,
    Section,
)
from ansible_collections.aina.factory.plugins.module_utils.base.docker import DockerError
from ansible_collections.aina.factory.plugins.module_utils.base.github import settings as github
from ansible_collections.aina.factory.plugins.module_utils.base.locks import (
    DIRECTORY,
    LockedError,
    exclusive,
    patience,
)
from ansible_collections.aina.factory.plugins.module_utils.base.settings import argument_spec, read
from ansible_collections.aina.factory.plugins.module_utils.images import build
from ansible_collections.aina.factory.plugins.module_utils.images.settings import (
    ImagesSettings,
)

ALL = "all"
LOCK = DIRECTORY / build.LOCK


def _present(module: AnsibleModule, settings: ImagesSettings) -> tuple[list[str], dict[str, str]]:
    """Return what was done or would be, and what failed, by image."""
    missing = not module.get_bin_path("docker") or not Path(settings.source_dir).is_dir()
    if module.check_mode and missing:
        return ["build all images, once the engine and the sources are there"], {}
    tools = build.BuildTools(
        ansible_effects.runner(module),
        time.time,
        ansible_effects.fetcher(open_url, ""),
        platform.machine(),
    )
    builder = build.Builder(settings, tools, module.params["changed_paths"])
    # Looking needs no lock.
    if module.check_mode:
        report = builder.survey()
        return [
            *(f"retire {name}" for name in report.retired),
            *(f"build {step.spec.current} ({step.why})" for step in report.steps if step.why),
        ], {}
    waits = patience(module.params["lock_wait_seconds"], time.monotonic, time.sleep)
    with exclusive(LOCK, waits):
        report = builder.build()
    actions = [f"fetch the base {settings.base.reference}"] if report.base_changed else []
    actions += [f"retire {name}" for name in report.retired]
    actions += [
        f"build {step.spec.current} ({step.why})"
        for step in report.steps
        if step.spec.name in report.built
    ]
    return actions, dict(report.failures)


def _absent(module: AnsibleModule, settings: ImagesSettings) -> list[str]:
    if not module.get_bin_path("docker"):
        return []
    run = ansible_effects.runner(module)
    names = build.names(run)
    if names and not module.check_mode:
        build.forget(names, run)
    return [f"remove {name}" for name in names]


def waits(failures: Mapping[str, str]) -> list[dict[str, str]]:
    """Return what waits; nothing where something failed by itself, for then all of it is told."""
    found: dict[str, dict[str, str]] = {}
    for name, words in failures.items():
        # What is built on an image that waits waits with it.
        below = next((item for item in found if words == f"not built, for {item} failed"), None)
        found[name] = dict(found[below]) if below else outage.waiting("", words)
    if not all(found.values()):
        return []
    names: dict[str, list[str]] = {}
    for name, item in found.items():
        names.setdefault(item["for"], []).append("all images" if name == ALL else f"image {name}")
    by_service = {item["for"]: item for item in found.values()}
    return [{**by_service[who], "what": ", ".join(names[who])} for who in names]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "github": {"type": "dict", "default": {}, "options": argument_spec(github.GitHub)},
            "changed_paths": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "lock_wait_seconds": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    actions: list[str] = []
    failures: dict[str, str] = {}
    try:
        settings = read(
            ImagesSettings,
            Section(module.params["settings"], "images"),
            github=github.of(Section(module.params, "images")),
        )
        if module.params["state"] == "absent":
            actions = _absent(module, settings)
        else:
            actions, failures = _present(module, settings)
    except DockerError as error:
        failures = {ALL: str(error)}
    except (ConfigurationError, LockedError, OSError) as error:
        module.fail_json(msg=str(error))
    waiting = waits(failures)
    result: dict[str, Any] = {
        "changed": bool(actions),
        "actions": actions,
        "waiting": waiting,
        "diff": [{"before": "", "after": "".join(f"{action}\n" for action in actions)}]
        if actions
        else [],
    }
    if failures and not waiting:
        words = "\n".join(f"{name}: {said}" for name, said in failures.items())
        module.fail_json(msg=f"the former images stay in force, for {words}", **result)
    for item in waiting:
        module.warn(text.waits(item))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
