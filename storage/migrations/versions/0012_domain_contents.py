"""The index of a domain's notifications says which content each has: a search begins without reading the rows."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

COLUMNS = ["domain_id", "created_at", "notification_id", "content_id"]


def upgrade() -> None:
    op.drop_index("notification_by_domain", table_name="notification")
    op.create_index("notification_by_domain", "notification", COLUMNS, unique=False)
