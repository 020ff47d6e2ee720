"""Parsing, pricing and running a GraphQL request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    build_schema,
    execute_sync,
    parse,
    specified_rules,
    validate,
)
from graphql.validation import OverlappingFieldsCanBeMergedRule

from simulator import published
from simulator.graphql import merge_queue, mutations, objects, pulls, queries, search
from simulator.graphql.cost import Cost, fields_of, fragments_of, measure
from simulator.graphql.fields import Context, resolve_field, resolve_type
from simulator.http import HttpError
from simulator.model import Json, Token
from simulator.world import World

PARTS = (merge_queue, mutations, objects, pulls, queries, search)
# GitHub takes fields that differ only in being nullable; its own client relies on it.
RULES = [rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule]


@lru_cache(maxsize=1)
def schema() -> GraphQLSchema:
    """Build GitHub's schema; the published text is not valid SDL throughout."""
    text = published.ensure(published.GRAPHQL_SCHEMA).read_text(encoding="utf-8")
    return build_schema(text, assume_valid=True)


@dataclass
class Query:
    """A request that was understood, or the errors that say why not."""

    document: DocumentNode | None
    operation: OperationDefinitionNode | None
    variables: dict[str, Any]
    cost: Cost
    errors: list[Json]

    @property
    def mutation(self) -> bool:
        return bool(self.operation and self.operation.operation == OperationType.MUTATION)

    @property
    def root_fields(self) -> list[str]:
        """The names of the outermost fields."""
        if not self.document or not self.operation:
            return []
        fragments = fragments_of(self.document)
        return [n.name.value for n in fields_of(self.operation.selection_set, fragments)]


def parse_query(body: Any) -> Query:
    """Read a request's body.

    Raises:
        HttpError: it has no query.

    """
    if not isinstance(body, dict) or not isinstance(body.get("query"), str):
        raise HttpError(400, "A query attribute must be specified and must be a string.")
    variables = body.get("variables") or {}
    try:
        document = parse(body["query"])
    except GraphQLError as error:
        return Query(None, None, variables, Cost(), [_shown(error)])
    operation = _operation(document, body.get("operationName"))
    if operation is None:
        message = "No operation named " + repr(body.get("operationName"))
        return Query(None, None, variables, Cost(), [{"message": message}])
    errors = [_shown(error) for error in validate(schema(), document, RULES)]
    if errors:
        return Query(document, operation, variables, Cost(), errors)
    cost = measure(document, operation, variables)
    return Query(document, operation, variables, cost, cost.problems)


def _operation(document: DocumentNode, name: str | None) -> OperationDefinitionNode | None:
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode) and (
            not name or (definition.name and definition.name.value == name)
        ):
            return definition
    return None


def execute(world: World, token: Token, query: Query, limits: dict[str, Any]) -> Json:
    """Run a request and return the body of the answer."""
    if query.errors or query.document is None or query.operation is None:
        return {"errors": query.errors}
    name = query.operation.name
    result = execute_sync(
        schema(),
        query.document,
        variable_values=query.variables,
        operation_name=name.value if name else None,
        context_value=Context(world, token, limits),
        field_resolver=resolve_field,
        type_resolver=resolve_type,
    )
    body: Json = {"data": result.data}
    if result.errors:
        body["errors"] = [_shown(error) for error in result.errors]
    return body


def _shown(error: GraphQLError) -> Json:
    shown = dict(error.formatted)
    extensions: Any = shown.pop("extensions", None) or {}
    if "type" in extensions:
        shown["type"] = extensions["type"]
    return shown
