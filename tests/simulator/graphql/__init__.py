"""The GraphQL interface over GitHub's published schema."""

from __future__ import annotations

from simulator.graphql.execution import Query, execute, parse_query

__all__ = ["Query", "execute", "parse_query"]
