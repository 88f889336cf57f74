"""Channels that were disabled, and whose owners are still to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage import columns

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("channel", sa.Column("alert_due_at", columns.UtcDateTime(), nullable=True))
    op.create_index(
        "channel_alert_due",
        "channel",
        ["alert_due_at"],
        unique=False,
        sqlite_where=sa.text("alert_due_at IS NOT NULL"),
        postgresql_where=sa.text("alert_due_at IS NOT NULL"),
    )
