"""The REST interface, one module per part of GitHub."""

from __future__ import annotations

from importlib import import_module

from simulator.rest import router
from simulator.rest.router import ROUTES, Call, find

PARTS = ("repositories", "branches", "pulls", "checks", "issues", "meta")

# The order decides between ``commits/{ref...}`` and the longer paths below it:
# a module that answers the longer ones is read first.
for _part in PARTS:
    import_module(f"simulator.rest.{_part}")
ROUTES.sort(key=lambda route: -len(route.template.split("/")))

__all__ = ["ROUTES", "Call", "find", "router"]
