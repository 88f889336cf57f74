"""Revoked tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage import columns

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revocation",
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("user_id", columns.Text(), nullable=False),
        sa.Column("revoked_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("domain_id", "user_id"),
    )
    op.create_index("revocation_by_time", "revocation", ["revoked_at"], unique=False)
