"""Forms of fields and values that plans do not know, or that the API does not have yet, in a schema of their own.

Whatever is planned answers as the ordinary path does; the rest is left to it. It must not know the API's types.
"""

from __future__ import annotations

from typing import Any, cast

import orjson
import pytest
import strawberry
from graphql import parse
from strawberry import UNSET, Maybe
from strawberry.extensions import FieldExtension
from strawberry.http import process_result
from strawberry.schema.config import StrawberryConfig

from schema import limits, planned, scalars
from schema.asked import Asked
from schema.context import Context
from schema.documents import Document, Documents
from schema.execution import Schema
from schema.http import Via
from tests.resolvers.callers import ALICE


class _Louder(FieldExtension):
    async def resolve_async(self, next_: Any, source: Any, info: Any, **given: Any) -> Any:
        return f"{await next_(source, info, **given)}!"


@strawberry.input
class Wish:
    size: int = 3
    colour: str | None = "red"
    names: list[str | None] | None = UNSET
    tag: str | None = strawberry.field(default_factory=lambda: UNSET)
    note: str | None


@strawberry.input
class ListWish:
    names: list[str] = strawberry.field(default_factory=lambda: ["a"])


@strawberry.input
class MaybeWish:
    size: Maybe[int]


@strawberry.input(one_of=True)
class OneWish:
    size: int | None = UNSET
    colour: str | None = UNSET


def _plain() -> str:
    return "plain"


@strawberry.type
class Leaf:
    name: str

    @strawberry.field
    def length(self) -> int:
        return len(self.name)


@strawberry.type
class Tree:
    name: str
    plain: str = strawberry.field(resolver=_plain)

    @strawberry.field
    def leaf(self) -> Leaf:
        return Leaf(name=self.name * 2)

    @strawberry.field
    def fallen(self) -> Leaf | None:
        return None

    @strawberry.field
    def lost(self) -> Leaf:
        return None  # type: ignore[return-value]

    @strawberry.field
    async def leaves(self) -> list[Leaf]:
        return [Leaf(name="x"), Leaf(name="yy")]

    @strawberry.field(extensions=[_Louder()])  # type: ignore[untyped-decorator]
    async def louder(self) -> str:
        return self.name

    @strawberry.field
    def of_parent(parent: strawberry.Parent[Tree]) -> str:
        return parent.name

    @strawberry.field
    def wished(self, wish: Wish) -> str:
        return f"{wish.size} {wish.colour} {wish.names!r} {wish.tag!r} {wish.note}"

    @strawberry.field
    def wished_many(self, wish: ListWish) -> str:
        return str(wish.names)

    @strawberry.field
    def given(self, size: int = 3, colour: str | None = None) -> str:
        return f"{size} {colour}"

    @strawberry.field
    def listed(self, names: list[str] = ["a"]) -> str:  # noqa: B006 - whose default is a list
        names.append("b")
        return str(names)

    @strawberry.field
    def written(self, message: scalars.JSON) -> str:
        given = cast(dict[str, Any], message)
        given["seen"] = "seen" in given
        return str(given)

    @strawberry.field
    def maybe(self, size: Maybe[int]) -> str:
        return str(size)

    @strawberry.field
    def wished_perhaps(self, wish: MaybeWish) -> str:
        return str(wish.size)

    @strawberry.field
    def wished_one(self, wish: OneWish) -> str:
        return f"{wish.size} {wish.colour}"


@strawberry.type
class Roots:
    @strawberry.field
    def viewer(self) -> Tree:
        return Tree(name="tree")

    @strawberry.field
    def inbox(root: Any) -> str:
        return str(root)


API = Schema(query=Roots, config=StrawberryConfig(scalar_map=scalars.MAP))
API.documents = Documents(plan=planned.of(API))


async def _both(text: str, values: dict[str, Any] | None = None) -> tuple[bytes | None, bytes]:
    """What a plan answers, and what the ordinary path does."""
    API.documents.keep(text, parse(text, **limits.PARSE_OPTIONS))  # type: ignore[arg-type]
    asked = Asked(text, values)
    document = API.documents.of(asked)
    assert isinstance(document, Document)
    contexts = [Context(None, ALICE, Via.POST) for _ in range(2)]  # type: ignore[arg-type]
    answer = await document.planned(asked, contexts[0])
    return answer, orjson.dumps(process_result(await API.execute(text, values, context_value=contexts[1])))


PLANNED: list[tuple[str, dict[str, Any] | None, str]] = [
    ("{ viewer { name leaf { name length } } }", None, '{"name":"tree","leaf":{"name":"treetree","length":8}}'),
    ("{ viewer { fallen { length } plain } }", None, '{"fallen":null,"plain":"plain"}'),
    ("{ viewer { given } }", None, '{"given":"3 None"}'),
    ('{ viewer { given(size: 4, colour: "red") } }', None, '{"given":"4 red"}'),
    ("query ($s: Int) { viewer { given(size: $s) } }", {}, '{"given":"3 None"}'),
    ("query ($s: Int!) { viewer { given(size: $s) } }", {"s": 5}, '{"given":"5 None"}'),
    ("{ viewer { wished(wish: {}) } }", None, '{"wished":"3 red UNSET UNSET None"}'),
    ("{ viewer { wished(wish: {size: 1, colour: null, names: []}) } }", None, '{"wished":"1 None [] UNSET None"}'),
    ("query ($w: Wish!) { viewer { wished(wish: $w) } }", {"w": {"size": 4}}, '{"wished":"4 red UNSET UNSET None"}'),
    ('query ($c: String) { viewer { wished(wish: {colour: $c, note: "n"}) } }', {}, '{"wished":"3 red UNSET UNSET n"}'),
    (
        'query ($n: String) { viewer { wished(wish: {names: ["a", $n]}) } }',
        {},
        """{"wished":"3 red ['a', None] UNSET None"}""",
    ),
    ("{ viewer { written(message: {a: [1]}) } }", None, """{"written":"{'a': [1], 'seen': False}"}"""),
]

LEFT: list[tuple[str, dict[str, Any] | None]] = [
    ("{ viewer { lost { length } } }", None),
    ("{ viewer { leaves { length } } }", None),
    ("{ viewer { louder } }", None),
    ("{ viewer { ofParent } }", None),
    ("{ viewer { listed } }", None),
    ("{ viewer { wishedMany(wish: {names: []}) } }", None),
    ("{ viewer { maybe(size: 1) } }", None),
    ("{ viewer { maybe } }", None),
    ("{ viewer { wishedPerhaps(wish: {}) } }", None),
    ("query ($w: MaybeWish!) { viewer { wishedPerhaps(wish: $w) } }", {"w": {"size": 1}}),
    ("{ viewer { wishedOne(wish: {size: 1}) } }", None),
    ("query ($w: OneWish!) { viewer { wishedOne(wish: $w) } }", {"w": {"size": 1, "colour": "red"}}),
    ("query ($a: Int) { viewer { written(message: {a: $a}) } }", {"a": 1}),
    ("query ($a: Int) { viewer { written(message: {a: [$a]}) } }", {"a": 1}),
    ("query ($s: Int) { viewer { given(size: $s) } }", {"s": None}),
    ("{ inbox }", None),
]


async def test_what_is_planned_answers_as_the_ordinary_path_does_each_time() -> None:
    for text, values, shown in PLANNED:
        for _ in range(2):
            answer, expected = await _both(text, values)
            assert answer == expected == f'{{"data":{{"viewer":{shown}}}}}'.encode(), (text, values)


@pytest.mark.parametrize(("text", "values"), LEFT)
async def test_what_is_not_known_is_left_to_the_ordinary_path(text: str, values: dict[str, Any] | None) -> None:
    answer, expected = await _both(text, values)

    assert answer is None
    assert expected.startswith(b'{"data":')
