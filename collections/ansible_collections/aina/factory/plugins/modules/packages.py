#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Distribution packages, with repair of an interrupted installation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Install distribution packages, also after an interrupted installation
version_added: 0.1.0
description:
  - Installs packages by apt, without recommended ones, and keeps changed configuration files.
  - When dpkg reports packages that an earlier run left half installed, they are finished first. Otherwise apt would
    refuse to work until somebody repairs the host by hand.
  - Waits for another package manager to release its lock.
  - Takes nothing away that was not declared. Where something is missing or is to go, apt is asked first. An
    installation for which another package would have to go is refused, in check mode too; a package of O(absent) that
    another one needs stays.
options:
  present:
    description: Packages that are installed afterwards. A name may be followed by alternatives, as in
      V(chrony | ntpsec); the first is installed unless one of the others is there already.
    type: list
    elements: str
    default: []
  optional:
    description: Packages that are installed afterwards where the configured repositories have them.
    type: list
    elements: str
    default: []
  absent:
    description: Packages that are removed. Their data and configuration stay.
    type: list
    elements: str
    default: []
  unless_installed:
    description: When one of these is installed, nothing is installed. A path is a program that is there and belongs
      to no package. RV(adopted) names it.
    type: list
    elements: str
    default: []
  record_path:
    description: A file on the host in which this module keeps the names of the packages that it installed. With it,
      only those of O(absent) are removed that stand in it, so that what was there before stays.
    type: path
  kept_reported:
    description: Whether to warn of packages of O(absent) that stay because O(record_path) does not name them.
    type: bool
    default: false
  lists_max_age_seconds:
    description: Package lists older than this are fetched again before something is installed.
    type: int
    default: 86400
  lock_wait_seconds:
    description: How long to wait for another package manager.
    type: int
    default: 300
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the packages that are or would be installed and removed.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Install an engine unless there is one
  aina.factory.packages:
    present: [docker.io]
    optional: [docker-cli, docker-buildx]
    unless_installed: [docker-ce]
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [install git]
adopted:
  description: Name and version of the package that made installing unnecessary, or an empty string.
  returned: always
  type: str
  sample: docker-ce 5:29.5.3-1~ubuntu.24.04~noble
interrupted:
  description: What dpkg said of an interrupted installation, or an empty string.
  returned: always
  type: str
kept:
  description: What stays though it was to go, with O(kept_reported).
  returned: always
  type: list
  elements: str
  sample: [package docker.io]
consequences:
  description: What a person must know first, as M(aina.factory.sequence) returns it.
  returned: always
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.host import steps
from ansible_collections.aina.factory.plugins.module_utils.host.steps import packages


def main() -> None:
    steps.alone(AnsibleModule(packages.ARGUMENTS, supports_check_mode=True), packages)


if __name__ == "__main__":
    main()
