"""The REST interface, one module per part of GitHub."""

from __future__ import annotations

from importlib import import_module

from simulator.rest import router
from simulator.rest.router import ROUTES, Call, find

PARTS = [
    "repositories",
    "branches",
    "pulls",
    "checks",
    "issues",
    "releases",
    "runners",
    "actions",
    "dispatches",
    "search",
    "apps",
    "meta",
]

for _part in PARTS:
    import_module(f"simulator.rest.{_part}")
# Longer paths first, so that ``commits/{ref...}`` leaves ``commits/{ref...}/status`` alone;
# fixed words before names, so that ``runners/{id}`` leaves ``runners/downloads`` alone.
ROUTES.sort(key=lambda route: (-route.template.count("/"), route.template.count("{")))

__all__ = ["ROUTES", "Call", "find", "router"]
