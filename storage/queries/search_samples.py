"""What contents say, by the examples that PostgreSQL takes of them for its statistics: what is frequent, and what rare.

Its index lists all that has a text before anything is read of it, and takes the longer the more contents have any of
the text's trigrams: what it is asked for has to be chosen beforehand. Examples are kept, so that this costs nothing.
What everybody talks of since they were taken, the newest contents say, which count for no share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, NamedTuple, Protocol

from sqlalchemy import column
from sqlalchemy import text as spelled

from storage.kept import Kind
from storage.queries import search_texts

FRESH_SECONDS = 60.0  # for which examples are kept; statistics are rarely newer
EXAMPLES = 200  # of each kind, at most: an administrator may have PostgreSQL take 10,000
ENOUGH = 20  # examples to tell what is rare by

Alternatives = tuple[str, ...]  # texts of which one has to be there

_STATISTICS = """
    SELECT reltuples, CAST(CAST(most_common_vals AS text) AS text[]), most_common_freqs,
           CAST(CAST(histogram_bounds AS text) AS text[])
    FROM pg_class JOIN pg_stats ON tablename = relname AND schemaname = current_schema()
    WHERE pg_class.oid = to_regclass('content') AND attname = 'searched'
"""
_COLUMNS = ("contents", "frequent", "shares", "others")
_NEWEST_TEXTS = """
    SELECT left(searched, 1000) FROM content
    WHERE content_id > (SELECT last_value FROM content_content_id_seq) - 100
"""


class Said(NamedTuple):
    text: str
    share: float


class Asker(Protocol):
    """What statements are asked through: the database itself, which keeps them, or a session."""

    is_sqlite: bool
    is_inline: bool  # what an index bounds is read on this very thread, for next to nothing
    examples: Examples

    async def rows(self, kind: Kind, given: Sequence[Any], fixed: Hashable = None) -> list[Any]: ...


class Sample:
    """Texts of contents, behind their domains' marks, each with the share of all contents that it stands for."""

    def __init__(self, contents: float = 0.0, texts: Sequence[Said] = ()) -> None:
        self._contents = contents  # that there are
        self._texts = texts
        self._joined = "\n".join(said.text[search_texts.BEGINNING :] for said in texts)  # of narrow characters, mostly
        self._of_domains = Counter(said.text[: search_texts.TRIGRAM] for said in texts)  # by their marks
        self._trigrams = {trigram for said in texts for trigram in search_texts.every_trigram(said.text)}

    def __bool__(self) -> bool:
        return bool(self._texts)

    def expected(self, sought: Sequence[Alternatives], domain_id: str | None) -> float:
        """How many contents of a domain have one of each of these, at most."""
        mark = "" if domain_id is None else search_texts.mark(domain_id)
        found = [said for said in self._texts if said.text.startswith(mark)]
        for one in sought:
            found = [said for each in one for said in found if each in said.text]
        return self._contents * sum(said.share for said in found)

    def is_rare(self, sought: Sequence[Alternatives], domain_id: str | None) -> bool:
        """Whether no example has any of one of these, and enough of them are the domain's, which may say it often."""
        is_said = all(any(map(self._is_said, one)) for one in sought)
        texts = len(self._texts) if domain_id is None else self._of_domains[search_texts.mark(domain_id)]
        return not is_said and texts >= ENOUGH

    def _is_said(self, text: str) -> bool:
        """By an example. Of most of what is not, a trigram says so at once, and no text is looked through."""
        return self._trigrams.issuperset(search_texts.every_trigram(text)) and text in self._joined

    def rare(self, trigrams: Iterable[str]) -> list[str]:
        """Those that no example has."""
        return [each for each in trigrams if len(self._texts) >= ENOUGH and each not in self._trigrams]


@dataclass
class Examples:
    """Those of one database, as they were last read."""

    sample: Sample = field(default_factory=Sample)
    read_at: float = 0.0


async def kept(asker: Asker) -> Sample:
    """Of what a database has lately said; nothing is in it of a table that was never analyzed."""
    examples = asker.examples
    if not examples.sample or monotonic() > examples.read_at + FRESH_SECONDS:
        statistics = await asker.rows(_READ, ())
        examples.sample = _sample(statistics[0], await asker.rows(_NEWEST, ())) if statistics else Sample()
        examples.read_at = monotonic()
    return examples.sample


def _read(_fixed: None) -> Any:
    return spelled(_STATISTICS).columns(*map(column, _COLUMNS))


def _newest(_fixed: None) -> Any:
    return spelled(_NEWEST_TEXTS).columns(column("text"))


_READ, _NEWEST = Kind(_read), Kind(_newest)


def _sample(statistics: Any, newest: Sequence[Any]) -> Sample:
    contents, frequent, shares, others = statistics
    examples = list(map(Said, frequent or [], shares or []))
    rest = 1.0 - sum(said.share for said in examples)
    others = (others or [])[:: 1 + len(others or []) // EXAMPLES]  # in the order of texts
    examples = [*examples[:EXAMPLES], *(Said(text, rest / len(others)) for text in others)]
    return Sample(contents, [*examples, *(Said(text, 0.0) for (text,) in newest)])
