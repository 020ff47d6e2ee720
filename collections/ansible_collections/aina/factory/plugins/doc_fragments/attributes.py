# Copyright: aina-factory contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all modules of the collection have in common."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes that every module keeps; one that has more to say declares its own."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can predict what it would change without changing it.
    support: full
  idempotent:
    description: A second run changes nothing.
    support: full
"""
