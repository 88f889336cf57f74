"""Recipients of fan-outs as rows of whole chunks; those who wait for their row go on waiting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage import columns

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

CHUNK = 500
TOGETHER = {"postgresql": "json_agg", "sqlite": "json_group_array"}
INTO_CHUNKS = """
    INSERT INTO fanout_chunk (fanout_id, number, user_ids)
    SELECT fanout_id, number, {together}(user_id)
    FROM (
        SELECT fanout_id, user_id, (row_number() OVER one_fanout - 1) / {chunk} + 1 AS number
        FROM fanout_recipient
        WINDOW one_fanout AS (PARTITION BY fanout_id ORDER BY user_id)
    ) AS waiting
    GROUP BY fanout_id, number
"""


def upgrade() -> None:
    op.create_table(
        "fanout_chunk",
        sa.Column("fanout_id", columns.Number(), nullable=False),
        sa.Column("number", columns.Number(), nullable=False),
        sa.Column("user_ids", columns.Json(), nullable=False),
        sa.ForeignKeyConstraint(["fanout_id"], ["fanout.fanout_id"]),
        sa.PrimaryKeyConstraint("fanout_id", "number"),
    )
    op.execute(INTO_CHUNKS.format(together=TOGETHER[op.get_bind().dialect.name], chunk=CHUNK))
    op.drop_table("fanout_recipient")
    # Those who had reached everybody, and had only not looked whether there was anybody else.
    op.execute("DELETE FROM fanout WHERE fanout_id NOT IN (SELECT fanout_id FROM fanout_chunk)")
