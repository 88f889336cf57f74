"""The planned path: the operations that are asked most, without graphql-core's execution, and with the same answers.

Which operations
    Queries whose root fields are among `plans.QUERIES`, and mutations of one field of `plans.MUTATIONS`, with
    aliases, fragments, @skip and @include, variables and their defaults. Fields with resolvers of their own are
    taken beside lists, not inside of them, nor of a mutation's outcome. Everything else takes the ordinary path, as
    subscriptions do, whose events are compiled by `schema.projection`.

What a plan is
    A validated operation turned into plain functions, once, and kept with its document (`schema.documents`):

    - `inputs`: from the JSON of the variables and the literals of the document to what a resolver is called with;
    - `calls`: to the resolvers, which are those of the ordinary path: whoever may ask, whatever is marked as read and
      whatever is refused is decided there, once for both paths;
    - `rows`: for lists and single reads from the columns, read as text, straight to the values of the answer;
    - `answers`: for everything else from a resolver's outcome to these values, in the order of their keys;
    - `plans`: all of this for an operation, once for each way in which its conditions can go, and the bytes;
    - `kept_answers`: these bytes of lists again, while the inbox that they are of does not change.

What makes it step aside
    An operation that it does not know, when it is compiled. A variable that is not as it should be, when it is run;
    and of a query whatever fails, for nothing was changed by it: the ordinary path runs it again, and its errors are
    the ones that are told. A mutation is not run twice: once its resolver was called, what is raised is presented
    from here, by the same functions. A schema with extensions or directives of its own has no plans at all: they
    would not see what runs here.
"""

from __future__ import annotations

from graphql import DocumentNode
from graphql.utilities import get_operation_ast

from schema.documents import Plan, Planned
from schema.execution import Preparation, Schema
from schema.planned.kept_answers import KeptAnswers
from schema.planned.plans import Operation
from schema.projection import Unknown


def of(schema: Schema, *, answers_kept_bytes: int = 0) -> Plan | None:
    """Compiles the operations of this schema; None where an extension would have to see them."""
    extensions = [type(extension) for extension in schema.get_extensions()]
    if extensions != [Preparation] or schema.exception_handlers:
        return None

    kept = KeptAnswers(answers_kept_bytes)

    def plan(document: DocumentNode, operation_name: str | None) -> Planned | None:
        operation = get_operation_ast(document, operation_name)
        if operation is None:
            return None
        try:
            return Operation(schema._schema, document, operation, schema.presented, kept)
        except Unknown:
            return None

    return plan
