"""Channels whose plugin makes a delivery of its own for each recipient."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("channel", sa.Column("part_count", sa.Integer(), nullable=False, server_default="1"))
