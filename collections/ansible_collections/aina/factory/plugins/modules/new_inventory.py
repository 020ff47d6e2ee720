#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: new_inventory
short_description: Write the inventory of a new site
version_added: 0.1.0
description:
  - Writes one file of 20 lines with what is the site's; all else has a default of the product.
  - On a terminal it asks for each value that is not given, and asks again for one that cannot be meant so. Elsewhere
    it names all that is missing or wrong, at once.
  - Overwrites nothing. Works on the control node and opens no connection.
options:
  path:
    description: The directory that shall hold the inventory; it is made.
    type: path
    default: inventory
  host:
    description: The server's name or address.
    type: str
  port:
    description: The port on which its SSH server listens, V(22) where nothing is said.
    type: str
  user:
    description: The account there that logs in, may use sudo, and owns checkouts and starts lanes.
    type: str
  repository:
    description: The repository that agents work on, C(OWNER/NAME) or its address.
    type: str
  branch:
    description: The branch that work lands on, V(main) where nothing is said.
    type: str
  check:
    description: The check that must be green before a pull request lands, V(ci) where nothing is said.
    type: str
  agent:
    description: The agent that works in lanes, V(codex) where nothing is said.
    type: str
    choices: [codex, claude]
  time_zone:
    description: The server's time zone, V(Etc/UTC) where nothing is said.
    type: str
  github:
    description: The host of GitHub, another one than V(github.com) for an Enterprise server.
    type: str
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  diff_mode:
    description: Shows the file that is or would be written.
    support: full
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Write the inventory of a server
  aina.factory.new_inventory:
    path: inventory/first
    host: server.example.com
    user: ali
    repository: example/academy
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be.
  returned: success
  type: list
  elements: str
path:
  description: The file that was written.
  returned: success
  type: str
"""
