"""SQLite's index of searches is merged as soon as two of its pieces are of a size, by those who sweep."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("INSERT INTO content_search (content_search, rank) VALUES ('usermerge', 2)")
