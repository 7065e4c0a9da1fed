"""The first tables, with the roles of a new store."""

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import Moment

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.Column("message_count", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_turn", sa.Text),
        sa.Column("lease_replica", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.PrimaryKeyConstraint("owner", "id", name="pk_sessions"),
    )
    op.create_index(
        "ix_sessions_recent", "sessions", ["owner", sa.column("updated_at").desc(), "id"]
    )
    op.create_table(
        "messages",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("session_id", sa.String(32), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("ts", Moment, nullable=False),
        sa.Column("turn_id", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.PrimaryKeyConstraint("owner", "session_id", "seq", name="pk_messages"),
        _of_its_session("messages"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "memories",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("session_id", sa.String(32), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("owner", "session_id", name="pk_memories"),
        _of_its_session("memories"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("department", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("token_version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    roles = op.create_table(
        "roles",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("permissions", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_roles"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("at", Moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
    )
    op.create_index("ix_attempts_key_at", "attempts", ["key", "at"])
    op.create_index("ix_attempts_at", "attempts", ["at"])
    op.bulk_insert(
        roles,
        [
            {"name": "admin", "permissions": ["administer", "chat", "memory"]},
            {"name": "employee", "permissions": ["chat", "memory"]},
        ],
    )


def downgrade() -> None:
    for table in ("attempts", "roles", "users", "memories", "messages", "sessions"):
        op.drop_table(table)


def _of_its_session(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["owner", "session_id"],
        ["sessions.owner", "sessions.id"],
        name=f"fk_{table}_sessions",
        ondelete="CASCADE",
    )
