"""PostgreSQL's index of searches takes in what is new after 512 kB of it, not 4 MB: every search reads through that."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # where it may lack the extension, and so the index
        op.execute("ALTER INDEX IF EXISTS content_search SET (gin_pending_list_limit = 512)")
