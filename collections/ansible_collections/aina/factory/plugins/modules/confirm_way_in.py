#!/usr/bin/python
# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Say by a new connection that one can still log in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: confirm_way_in
short_description: Confirm by a new connection that one can still log in
version_added: 0.1.0
description:
  - Modules that change what people come in by leave a watch on the host, which takes the change back after a while.
    This module, called over a new connection, lets the change stay. Their action does so by itself.
  - It proves the login of the run's own account. The others who are logged in are judged before the change.
options:
  token:
    description: What names the change.
    type: str
    required: true
  new_connection:
    description: Whether the connection must be another one than that of the change. One that is not SSH's cannot be.
    type: bool
    default: true
extends_documentation_fragment:
  - aina.factory.attributes
attributes:
  check_mode:
    description: Does nothing in check mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
author:
  - aina-factory contributors (@ainative-academy)
"""

EXAMPLES = r"""
- name: Let the change stay
  aina.factory.confirm_way_in:
    token: "4711:123456"
"""

RETURN = r"""
state:
  description: What became of the change. V(restored) when it was taken back, V(unknown) when nothing is known of it.
  returned: success
  type: str
  sample: confirmed
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.aina.factory.plugins.module_utils.base import ansible_effects
from ansible_collections.aina.factory.plugins.module_utils.host import guard
from ansible_collections.aina.factory.plugins.module_utils.host.way_in import connection, way_back


def main() -> None:
    arguments = {
        "token": {"type": "str", "required": True, "no_log": False},
        "new_connection": {"type": "bool", "default": True},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, state="unknown")
    run = ansible_effects.runner(module)
    session = connection.session_process(os.getpid()) if module.params["new_connection"] else ""
    try:
        if module.params["new_connection"] and not session:
            raise way_back.WayBackError("no SSH session is seen here, so none can confirm anything")
        if way_back.taken_back():
            module.exit_json(changed=False, state="restored")
        confirmed = way_back.confirm(
            module.params["token"], session, lambda others: guard.shut(others, run, time.time())
        )
    except (way_back.WayBackError, OSError) as error:
        module.fail_json(msg=str(error))
    if confirmed:
        way_back.forget(run)
    module.exit_json(changed=False, state="confirmed" if confirmed else "unknown")


if __name__ == "__main__":
    main()
