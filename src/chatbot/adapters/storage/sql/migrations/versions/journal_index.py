"""The index of journals: lists of labels, and the times of blocks."""

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.journal import SqlJournal
from chatbot.adapters.storage.sql.journal_index import JournalIndex
from chatbot.adapters.storage.sql.tables import Moment
from chatbot.domain.transaction import JOURNALS

revision = "0008"
down_revision = "0007"

_ROWS_AT_ONCE = 1000


def upgrade() -> None:
    op.create_table(
        "journal_labels",
        sa.Column("label", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("label", "seq", name="pk_journal_labels"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "journal_blocks",
        sa.Column("journal", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("first_at", Moment, nullable=False),
        sa.Column("last_at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("journal", "seq", name="pk_journal_blocks"),
    )
    sql = SqlSession(op.get_bind())
    for journal in JOURNALS:
        after = 0
        while entries := SqlJournal(sql).read(journal, after=after, limit=_ROWS_AT_ONCE):
            JournalIndex(sql).add(journal, entries)
            after = entries[-1].seq


def downgrade() -> None:
    op.drop_table("journal_blocks")
    op.drop_table("journal_labels")
