#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secrets
short_description: Ask for the secrets that an inventory needs and keep them encrypted
version_added: 0.1.0
description:
  - Every variable C(secret_*) or C(vault_*) that an expression of the inventory names is one. Those without a value are
    asked for on the terminal, hidden, with what they are for and what they must be allowed at GitHub.
  - Asks GitHub what a token, or the installation of an App, may do in each repository that it serves. One that lacks
    something is not taken; one of which nobody can say is, and that is said. Those that were kept before are looked
    at as well.
  - Keeps each at once, encrypted, beside the inventory in C(group_vars). Plain text is in no file, no argument and no
    answer of this action, also when the run is killed.
  - Works on the control node and opens no connection to a host.
options:
  keep_with:
    description: What encrypts. V(sops) makes a key of age if there is none; V(vault) takes the password of the run. By
      default what is there already, else V(sops).
    type: str
    choices: [sops, vault]
  renew:
    description: Variables to ask for anew.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  check_mode:
    description: Asks for nothing and says what is missing.
    support: full
  diff_mode:
    description: A secret is in no difference.
    support: none
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Ask for the secrets
  aina.factory.secrets:
    renew: [secret_github_token]
"""

RETURN = r"""
actions:
  description: What was done.
  returned: always
  type: list
  elements: str
waiting:
  description: Secrets that are still missing, what waits for them, and what to do.
  returned: always
  type: list
  elements: dict
"""
