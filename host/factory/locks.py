"""The locks of the core, under the name that the command's modules use."""

from __future__ import annotations

from ansible_collections.aina.factory.plugins.module_utils.locks import exclusive

__all__ = ["exclusive"]
