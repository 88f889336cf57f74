"""How PostgreSQL is to plan what it is asked. SQLite plans a statement once, by its indexes, and is told nothing."""

from __future__ import annotations

# What it does where it expects many rows: it makes ready for all that an inbox, or what has a text, may have, or it
# reads through a table. Where few rows are read, one by one, it is kept from that.
FOR_MANY_ROWS = tuple(f"enable_{how}" for how in ("hashjoin", "material", "memoize", "mergejoin", "seqscan"))


def _settings(**others: str) -> str:
    few = dict.fromkeys(FOR_MANY_ROWS, "off")
    return "; ".join(f"SET {name} = {value}" for name, value in {**few, "jit": "off", **others}.items())


# Kept statements are planned once for a connection, whatever their values are: to plan a read anew takes longer than
# most reads do. How long a page is it does not know then, and takes a tenth of all rows for it. It is kept from what it
# does for so many: to compile, to ask further processes, and, where it takes rows for far from each other on a slow
# disk, to sort all of them instead of reading the first ones in the order of an index.
ONCE = _settings(
    max_parallel_workers_per_gather="0",
    plan_cache_mode="force_generic_plan",
    random_page_cost="1.1",
)
# Where no index has the rows of a page in its order, how they are best found depends on how many have these values.
BY_VALUES = _settings(
    max_parallel_workers_per_gather="DEFAULT",
    plan_cache_mode="DEFAULT",
    random_page_cost="DEFAULT",
)
