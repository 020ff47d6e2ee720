"""Searching issues and pull requests."""

from __future__ import annotations

from simulator import search
from simulator.http import HttpError
from simulator.model import Json
from simulator.rest import shapes
from simulator.rest.router import Call, route


@route("GET", "/search/issues", resource="search")
def issues(call: Call) -> Json:
    """Find issues and pull requests; GitHub wants to be told which of both."""
    query = call.query("q")
    if not query:
        errors = [{"resource": "Search", "field": "q", "code": "missing"}]
        raise HttpError(422, "Validation Failed", errors=errors)
    if call.query("sort"):
        query += f" sort:{call.query('sort')}-{call.query('order', 'desc')}"
    found = search.issues(call.world, call.viewer, query)
    shown = [{**shapes.issue(call.world, issue), "score": 1.0} for issue in call.page(found)]
    return {
        "total_count": len(found),
        "incomplete_results": False,
        "items": shown,
        "search_type": "lexical",
    }
