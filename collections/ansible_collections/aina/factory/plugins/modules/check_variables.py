#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse variables of a host that cannot be meant
version_added: 0.1.0
description:
  - Looks at every variable whose name begins as the options of a role of this collection do, or with C(factory_). One
    that is no option fails the host, with the name that is near or that has taken its place; all of them at once.
  - Reads the variables C(factory_*), which no role owns, each project's C(lane.yml), and the sections of the roles that
    are played or of which the inventory says something. It refuses keys that are not known, values that make no
    sense, and values that contradict each other, all of them at once and before anything is changed.
  - What hangs on a variable that is not there yet, such as a fact of the host, it does not judge; the host does before
    it puts a configuration in force.
  - Works on the control node and opens no connection.
options: {}
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: Changes nothing that could be shown.
    support: none
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Check the inventory
  aina.factory.check_variables:
"""

RETURN = r"""
left_to_host:
  description: Variables that hang on what only the host knows; it judges them itself.
  type: list
  elements: str
  returned: always
"""
