"""Counters instead of attempts to log in. The attempts, which last for 15 minutes, are dropped."""

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_table("attempts")
    op.create_table(
        "counters",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "expires_at", name="pk_counters"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_counters_expires_at", "counters", ["expires_at"])


def downgrade() -> None:
    op.drop_table("counters")
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_key_at", "attempts", ["key", "at"])
    op.create_index("ix_attempts_at", "attempts", ["at"])
