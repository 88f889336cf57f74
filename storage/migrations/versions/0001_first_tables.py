"""The first tables: contents, notifications, inboxes and their changes, protocols, channels, deliveries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from storage import columns

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "content",
        sa.Column("content_id", columns.Number(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("topic", columns.Text(), nullable=False),
        sa.Column("message", columns.Json(), nullable=False),
        sa.Column("notification_type", columns.EnumText(), nullable=False),
        sa.Column("notification_level", columns.EnumText(), nullable=False),
        sa.Column("resource_type", columns.Text(), nullable=True),
        sa.Column("resource_id", columns.Text(), nullable=True),
        sa.PrimaryKeyConstraint("content_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "delivery",
        sa.Column("delivery_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("notification_id", columns.Text(), nullable=False),
        sa.Column("content_id", columns.Number(), nullable=True),
        sa.Column("protocol_id", columns.Text(), nullable=False),
        sa.Column("plugin_id", columns.Text(), nullable=False),
        sa.Column("channel_id", columns.Text(), nullable=True),
        sa.Column("user_id", columns.Text(), nullable=True),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("destination", columns.Text(), nullable=False),
        sa.Column("push_data", columns.Sealed(), nullable=True),
        sa.Column("state", columns.EnumText(), nullable=False),
        sa.Column("reason", columns.EnumText(), nullable=True),
        sa.Column("detail", columns.Text(), nullable=True),
        sa.Column("attempt_no", sa.Integer(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("retries_from", sa.Integer(), nullable=False),
        sa.Column("counted_on", columns.Text(), nullable=True),
        sa.Column("next_attempt_at", columns.UtcDateTime(), nullable=True),
        sa.Column("lease_until", columns.UtcDateTime(), nullable=True),
        sa.Column("created_by", columns.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("delivery_id"),
        sa.UniqueConstraint("notification_id", "channel_id", "part"),
    )
    op.create_index("delivery_by_channel", "delivery", ["channel_id", "created_at", "delivery_id"], unique=False)
    op.create_index(
        "delivery_by_creator", "delivery", ["domain_id", "created_by", "created_at", "delivery_id"], unique=False
    )
    op.create_index("delivery_by_domain", "delivery", ["domain_id", "created_at", "delivery_id"], unique=False)
    op.create_index("delivery_by_protocol", "delivery", ["protocol_id", "created_at", "delivery_id"], unique=False)
    op.create_index("delivery_by_user", "delivery", ["domain_id", "user_id", "created_at", "delivery_id"], unique=False)
    op.create_index(
        "delivery_due",
        "delivery",
        ["next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('PENDING', 'RETRYING')"),
        postgresql_where=sa.text("state IN ('PENDING', 'RETRYING')"),
    )
    op.create_index(
        "delivery_due_by_destination",
        "delivery",
        ["destination", "next_attempt_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('PENDING', 'RETRYING')"),
        postgresql_where=sa.text("state IN ('PENDING', 'RETRYING')"),
    )
    op.create_index(
        "delivery_leased",
        "delivery",
        ["lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'SENDING'"),
        postgresql_where=sa.text("state = 'SENDING'"),
    )
    op.create_index(
        "delivery_open_by_content",
        "delivery",
        ["content_id"],
        unique=False,
        sqlite_where=sa.text("state IN ('PENDING', 'SENDING', 'RETRYING')"),
        postgresql_where=sa.text("state IN ('PENDING', 'SENDING', 'RETRYING')"),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("caller", columns.Text(), nullable=False),
        sa.Column("operation", columns.Text(), nullable=False),
        sa.Column("key", columns.Text(), nullable=False),
        sa.Column("body_hash", columns.Text(), nullable=False),
        sa.Column("answer", columns.Json(), nullable=True),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("domain_id", "caller", "operation", "key"),
    )
    op.create_index("idempotency_key_by_age", "idempotency_key", ["created_at"], unique=False)
    op.create_table(
        "inbox",
        sa.Column("inbox_id", columns.Number(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("kind", columns.EnumText(), nullable=False),
        sa.Column("owner_id", columns.Text(), nullable=False),
        sa.Column("generation", columns.Number(), nullable=False),
        sa.Column("last_seq", columns.Number(), nullable=False),
        sa.Column("unread_count", columns.Number(), nullable=False),
        sa.Column("unseen_count", columns.Number(), nullable=False),
        sa.Column("seen_seq", columns.Number(), nullable=False),
        sa.Column("total_count", columns.Number(), nullable=False),
        sa.PrimaryKeyConstraint("inbox_id"),
        sa.UniqueConstraint("domain_id", "kind", "owner_id"),
    )
    op.create_table(
        "notification_usage",
        sa.Column("protocol_id", columns.Text(), nullable=False),
        sa.Column("date", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("count", columns.Number(), nullable=False),
        sa.Column("fail_count", columns.Number(), nullable=False),
        sa.PrimaryKeyConstraint("protocol_id", "date"),
    )
    op.create_index(
        "notification_usage_by_domain", "notification_usage", ["domain_id", "date", "protocol_id"], unique=False
    )
    op.create_table(
        "protocol",
        sa.Column("protocol_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("name", columns.Text(), nullable=False),
        sa.Column("state", columns.EnumText(), nullable=False),
        sa.Column("protocol_type", columns.EnumText(), nullable=False),
        sa.Column("plugin_id", columns.Text(), nullable=True),
        sa.Column("options", columns.Json(), nullable=False),
        sa.Column("secret_data", columns.Sealed(), nullable=True),
        sa.Column("tags", columns.Json(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("protocol_id"),
        sa.UniqueConstraint("domain_id", "name"),
    )
    op.create_table(
        "attempt",
        sa.Column("delivery_id", columns.Text(), nullable=False),
        sa.Column("attempt_no", sa.Integer(), nullable=False),
        sa.Column("started_at", columns.UtcDateTime(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.Column("outcome", columns.EnumText(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("error", columns.Text(), nullable=True),
        sa.Column("response_excerpt", columns.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["delivery.delivery_id"],
        ),
        sa.PrimaryKeyConstraint("delivery_id", "attempt_no"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "change",
        sa.Column("inbox_id", columns.Number(), nullable=False),
        sa.Column("seq", columns.Number(), nullable=False),
        sa.Column("kind", columns.EnumText(), nullable=False),
        sa.Column("notification_id", columns.Text(), nullable=True),
        sa.Column("notification_ids", columns.Json(), nullable=True),
        sa.Column("is_read", sa.Boolean(), nullable=True),
        sa.Column("up_to", columns.Number(), nullable=True),
        sa.Column("unread_count", columns.Number(), nullable=False),
        sa.Column("unseen_count", columns.Number(), nullable=False),
        sa.Column("origin_id", columns.Text(), nullable=True),
        sa.Column("changed_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["inbox_id"],
            ["inbox.inbox_id"],
        ),
        sa.PrimaryKeyConstraint("inbox_id", "seq"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "channel",
        sa.Column("channel_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("protocol_id", columns.Text(), nullable=False),
        sa.Column("project_id", columns.Text(), nullable=True),
        sa.Column("user_id", columns.Text(), nullable=True),
        sa.Column("name", columns.Text(), nullable=False),
        sa.Column("state", columns.EnumText(), nullable=False),
        sa.Column("data", columns.Json(), nullable=True),
        sa.Column("secret_data", columns.Sealed(), nullable=True),
        sa.Column("topics", columns.Json(), nullable=True),
        sa.Column("schedule", columns.Json(), nullable=True),
        sa.Column("destination", columns.Text(), nullable=True),
        sa.Column("failing_since", columns.UtcDateTime(), nullable=True),
        sa.Column("notification_level", columns.EnumText(), nullable=True),
        sa.Column("level_match", columns.EnumText(), nullable=True),
        sa.Column("tags", columns.Json(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["protocol_id"],
            ["protocol.protocol_id"],
        ),
        sa.PrimaryKeyConstraint("channel_id"),
    )
    op.create_index("channel_by_domain", "channel", ["domain_id", "created_at", "channel_id"], unique=False)
    op.create_index(
        "channel_by_project", "channel", ["domain_id", "project_id", "created_at", "channel_id"], unique=False
    )
    op.create_index("channel_by_protocol", "channel", ["protocol_id", "created_at", "channel_id"], unique=False)
    op.create_index("channel_by_user", "channel", ["domain_id", "user_id", "created_at", "channel_id"], unique=False)
    op.create_table(
        "fanout",
        sa.Column("fanout_id", columns.Number(), nullable=False),
        sa.Column("record_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("content_id", columns.Number(), nullable=False),
        sa.Column("project_id", columns.Text(), nullable=True),
        sa.Column("created_by", columns.Text(), nullable=False),
        sa.Column("due_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["content.content_id"],
        ),
        sa.PrimaryKeyConstraint("fanout_id"),
    )
    op.create_index("fanout_due", "fanout", ["due_at"], unique=False)
    op.create_table(
        "notification",
        sa.Column("notification_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("content_id", columns.Number(), nullable=True),
        sa.Column("inbox_id", columns.Number(), nullable=True),
        sa.Column("seq", columns.Number(), nullable=True),
        sa.Column("user_id", columns.Text(), nullable=True),
        sa.Column("project_id", columns.Text(), nullable=True),
        sa.Column("parent_notification_id", columns.Text(), nullable=True),
        sa.Column("is_read", sa.Boolean(), nullable=False),
        sa.Column("read_at", columns.UtcDateTime(), nullable=True),
        sa.Column("decisions", columns.Json(), nullable=False),
        sa.Column("created_by", columns.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["content_id"],
            ["content.content_id"],
        ),
        sa.ForeignKeyConstraint(
            ["inbox_id"],
            ["inbox.inbox_id"],
        ),
        sa.PrimaryKeyConstraint("notification_id"),
    )
    op.create_index("notification_by_content", "notification", ["content_id"], unique=False)
    op.create_index(
        "notification_by_creator",
        "notification",
        ["domain_id", "created_by", "created_at", "notification_id"],
        unique=False,
        sqlite_where=sa.text("user_id IS NULL"),
        postgresql_where=sa.text("user_id IS NULL"),
    )
    op.create_index(
        "notification_by_domain", "notification", ["domain_id", "created_at", "notification_id"], unique=False
    )
    op.create_index("notification_by_inbox", "notification", ["inbox_id", "seq"], unique=False)
    op.create_index(
        "notification_by_parent",
        "notification",
        ["parent_notification_id", "created_at", "notification_id"],
        unique=False,
    )
    op.create_index(
        "notification_by_project",
        "notification",
        ["domain_id", "project_id", "created_at", "notification_id"],
        unique=False,
    )
    op.create_index(
        "notification_by_user", "notification", ["domain_id", "user_id", "created_at", "notification_id"], unique=False
    )
    op.create_index(
        "notification_unread",
        "notification",
        ["domain_id", "user_id", "created_at", "notification_id"],
        unique=False,
        sqlite_where=sa.text("NOT is_read"),
        postgresql_where=sa.text("NOT is_read"),
    )
    op.create_table(
        "quota",
        sa.Column("quota_id", columns.Text(), nullable=False),
        sa.Column("domain_id", columns.Text(), nullable=False),
        sa.Column("protocol_id", columns.Text(), nullable=False),
        sa.Column("day", columns.Number(), nullable=True),
        sa.Column("month", columns.Number(), nullable=True),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["protocol_id"],
            ["protocol.protocol_id"],
        ),
        sa.PrimaryKeyConstraint("quota_id"),
        sa.UniqueConstraint("protocol_id"),
    )
    op.create_index("quota_by_domain", "quota", ["domain_id", "created_at", "quota_id"], unique=False)
    op.create_table(
        "fanout_recipient",
        sa.Column("fanout_id", columns.Number(), nullable=False),
        sa.Column("user_id", columns.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["fanout_id"],
            ["fanout.fanout_id"],
        ),
        sa.PrimaryKeyConstraint("fanout_id", "user_id"),
        sqlite_with_rowid=False,
    )
