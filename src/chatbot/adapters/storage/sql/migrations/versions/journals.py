"""The entries of journals."""

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "journal_entries",
        sa.Column("journal", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("journal", "seq", name="pk_journal_entries"),
    )


def downgrade() -> None:
    op.drop_table("journal_entries")
