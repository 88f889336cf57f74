"""Changes by age: logs are pruned."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("change_by_age", "change", ["changed_at"], unique=False)
