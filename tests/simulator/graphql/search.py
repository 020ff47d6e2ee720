"""Searching, as GraphQL offers it."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLResolveInfo

from simulator import search as domain
from simulator.graphql.fields import ApiError, Connection, connection, context, resolver
from simulator.http import HttpError

Info = GraphQLResolveInfo[Any]


@resolver("Query.search")
def search(_source: Any, info: Info, query: str, type: str, **page: Any) -> Connection:  # noqa: A002 - the schema's name
    """Find issues and pull requests."""
    if type != "ISSUE":
        raise ApiError("UNPROCESSABLE", f"the simulator does not search for {type}")
    found = context(info)
    try:
        return connection(domain.issues(found.world, found.token, query), **page)
    except HttpError as error:
        raise ApiError("UNPROCESSABLE", error.message) from error


@resolver("SearchResultItemConnection.issueCount")
def issue_count(source: Connection, _info: Info) -> int:
    """Return how many were found."""
    return source.total_count


@resolver(
    "SearchResultItemConnection.repositoryCount",
    "SearchResultItemConnection.userCount",
    "SearchResultItemConnection.discussionCount",
    "SearchResultItemConnection.codeCount",
    "SearchResultItemConnection.wikiCount",
)
def other_count(_source: Connection, _info: Info) -> int:
    """Return that nothing else was searched for."""
    return 0
