#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_variables
short_description: Refuse variables of a host that no role reads
version_added: 0.1.0
description:
  - Looks at every variable whose name begins as the options of a role of this collection do, or with C(factory_). One
    that is no option fails the host, with the name that is near or that has taken its place; all of them at once.
  - Reads the variables C(factory_*), which no role owns, and refuses values that make no sense.
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

RETURN = r""" # """
