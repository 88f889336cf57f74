"""The index that searches are answered from, over the contents that there are as well.

On PostgreSQL it takes the extension pg_trgm. Where the server has none, or does not let this user create it, searches
read through contents; `docs/queries.md` says how to add the index later.
"""

from __future__ import annotations

import logging

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

from storage import columns
from storage.queries import search_texts

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

BATCH = 1_000
SQLITE = (
    # Neither places nor lengths of texts are kept: it is asked only which contents have a trigram.
    """CREATE VIRTUAL TABLE content_search USING fts5(
        searched, content = 'content', content_rowid = 'content_id', tokenize = 'trigram case_sensitive 1',
        detail = none, columnsize = 0
    )""",
    "INSERT INTO content_search (content_search) VALUES ('rebuild')",
    """CREATE TRIGGER content_search_insert AFTER INSERT ON content BEGIN
        INSERT INTO content_search (rowid, searched) VALUES (new.content_id, new.searched);
    END""",
    """CREATE TRIGGER content_search_update AFTER UPDATE OF searched ON content BEGIN
        INSERT INTO content_search (content_search, rowid, searched) VALUES ('delete', old.content_id, old.searched);
        INSERT INTO content_search (rowid, searched) VALUES (new.content_id, new.searched);
    END""",
    """CREATE TRIGGER content_search_delete AFTER DELETE ON content BEGIN
        INSERT INTO content_search (content_search, rowid, searched) VALUES ('delete', old.content_id, old.searched);
    END""",
)
CONTENT = sa.table(
    "content",
    sa.column("content_id", columns.Number()),
    sa.column("domain_id", columns.Text()),
    sa.column("topic", columns.Text()),
    sa.column("message", columns.Json()),
    sa.column("searched", columns.Text()),
)


def upgrade() -> None:
    op.add_column("content", sa.Column("searched", columns.Text(), nullable=False, server_default=""))
    _fill(op.get_bind())
    # A user's rows of many contents are found without those of everybody else.
    op.drop_index("notification_by_content", table_name="notification")
    op.create_index("notification_by_content", "notification", ["content_id", "user_id"], unique=False)
    op.create_index("fanout_by_content", "fanout", ["content_id"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE:
            op.execute(statement)
    elif _has_trigrams(op.get_bind()):
        op.execute("CREATE INDEX content_search ON content USING gin (searched gin_trgm_ops)")
    else:
        logging.getLogger(__name__).warning("PostgreSQL has no extension pg_trgm: searches are not indexed")


def _fill(connection: sa.Connection) -> None:
    said = (CONTENT.c.content_id, CONTENT.c.domain_id, CONTENT.c.topic, CONTENT.c.message)
    following = sa.select(*said).where(CONTENT.c.content_id > sa.bindparam("last")).order_by(said[0]).limit(BATCH)
    filled = CONTENT.update().where(CONTENT.c.content_id == sa.bindparam("its_id"))
    last = -1
    while rows := connection.execute(following, {"last": last}).all():
        texts = [{"its_id": row[0], "searched": search_texts.searched(row[1], row[2], row[3])} for row in rows]
        connection.execute(filled, texts)
        last = rows[-1][0]


def _has_trigrams(connection: sa.Connection) -> bool:
    try:
        with connection.begin_nested():
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
    except DBAPIError:
        return False
    return True
