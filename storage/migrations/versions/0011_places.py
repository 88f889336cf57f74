"""Notifications by their place: on SQLite the rows of an inbox lie together. What there is gets its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from storage import columns

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

PLACE = "CASE WHEN inbox_id IS NULL THEN -content_id ELSE inbox_id * 34359738368 + seq END"
MAX_INBOXES = 2**28

# PostgreSQL's inboxes were numbered with gaps: each recipient of a create used a number up.
NUMBERED_ANEW = (
    "ALTER TABLE change DROP CONSTRAINT change_inbox_id_fkey",
    "ALTER TABLE notification DROP CONSTRAINT notification_inbox_id_fkey",
    "CREATE TEMPORARY TABLE numbered ON COMMIT DROP AS"
    " SELECT inbox_id AS old, row_number() OVER (ORDER BY inbox_id) AS new FROM inbox",
    *(
        statement
        for table in ("inbox", "change", "notification")
        for statement in (
            f"UPDATE {table} SET inbox_id = -new FROM numbered WHERE inbox_id = old",
            f"UPDATE {table} SET inbox_id = -inbox_id",
        )
    ),
    "SELECT setval('inbox_inbox_id_seq', max(inbox_id)) FROM inbox",
    "ALTER TABLE change ADD FOREIGN KEY (inbox_id) REFERENCES inbox (inbox_id)",
    "ALTER TABLE notification ADD FOREIGN KEY (inbox_id) REFERENCES inbox (inbox_id)",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _write_in_order()
        return
    if op.get_bind().scalar(sa.text("SELECT coalesce(max(inbox_id), 0) FROM inbox")) >= MAX_INBOXES:
        for statement in NUMBERED_ANEW:
            op.execute(statement)
    _add()


def _add() -> None:
    """The table is written once: an UPDATE would leave all of its rows behind."""
    op.execute(f"ALTER TABLE notification ADD COLUMN place bigint GENERATED ALWAYS AS ({PLACE}) STORED")
    op.execute("ALTER TABLE notification ALTER COLUMN place DROP EXPRESSION")
    op.drop_constraint("notification_pkey", "notification")
    op.create_primary_key("notification_pkey", "notification", ["place"])
    op.create_unique_constraint("notification_notification_id_key", "notification", ["notification_id"])
    op.drop_index("notification_by_inbox", "notification")


def _write_in_order() -> None:
    rows: list[sa.Column[Any]] = [
        sa.Column("notification_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("content_id", columns.Number(), nullable=True),
        sa.Column("inbox_id", columns.Number(), nullable=True),
        sa.Column("seq", columns.Number(), nullable=True),
        sa.Column("feed_at", columns.Number(), nullable=True),
        sa.Column("user_id", columns.Text(), nullable=True),
        sa.Column("project_id", columns.Text(), nullable=True),
        sa.Column("parent_notification_id", columns.Text(), nullable=True),
        sa.Column("is_read", sa.Boolean(), nullable=False),
        sa.Column("read_at", columns.UtcDateTime(), nullable=True),
        sa.Column("decisions", columns.Json(), nullable=False),
        sa.Column("created_by", columns.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
    ]
    names = ", ".join(column.name for column in rows)
    op.create_table(
        "notification_in_order",
        sa.Column("place", columns.Number(), nullable=False),
        *rows,
        sa.ForeignKeyConstraint(["content_id"], ["content.content_id"]),
        sa.ForeignKeyConstraint(["inbox_id"], ["inbox.inbox_id"]),
        sa.PrimaryKeyConstraint("place"),
        sa.UniqueConstraint("notification_id"),
    )
    op.execute(
        f"INSERT INTO notification_in_order (place, {names}) SELECT {PLACE} AS place, {names} FROM notification"
        " ORDER BY place"
    )
    op.drop_table("notification")
    op.rename_table("notification_in_order", "notification")
    newest = ["created_at", "notification_id"]
    _index("by_user", ["domain_id", "user_id", *newest])
    _index("unread", ["domain_id", "user_id", *newest], where="NOT is_read")
    _index("by_domain", ["domain_id", *newest])
    _index("by_project", ["domain_id", "project_id", *newest])
    _index("by_parent", ["parent_notification_id", *newest])
    _index("by_creator", ["domain_id", "created_by", *newest], where="user_id IS NULL")
    _index("by_feed", ["domain_id", "feed_at", "content_id"], where="feed_at IS NOT NULL")
    _index("by_content", ["content_id", "user_id"])


def _index(name: str, columns: Sequence[str], *, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(f"notification_{name}", "notification", list(columns), unique=False, sqlite_where=condition)
