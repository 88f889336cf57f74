"""The order of domains' feeds; the records that there are come first, in the order of their contents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage import columns, ids

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    epoch = op.create_table(
        "feed_epoch",
        sa.Column("epoch_id", columns.Number(), nullable=False),
        sa.Column("generation", columns.Number(), nullable=False),
        sa.Column("shift", columns.Number(), nullable=False),
        sa.Column("written_by", columns.Number(), nullable=True),
        sa.PrimaryKeyConstraint("epoch_id"),
    )
    op.bulk_insert(epoch, [{"epoch_id": 1, "generation": ids.new_generation(), "shift": 0, "written_by": None}])
    op.add_column("notification", sa.Column("feed_at", columns.Number(), nullable=True))
    op.execute("UPDATE notification SET feed_at = 0 WHERE user_id IS NULL")
    op.create_index(
        "notification_by_feed",
        "notification",
        ["domain_id", "feed_at", "content_id"],
        unique=False,
        sqlite_where=sa.text("feed_at IS NOT NULL"),
        postgresql_where=sa.text("feed_at IS NOT NULL"),
    )
