"""The search index, blobs, and the details of answers."""

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import OrderedText

revision = "0010"
down_revision = "0009"

_NEW = ("blobs", "index_audiences", "index_tail", "index_segments")


def upgrade() -> None:
    op.add_column("messages", sa.Column("details", sa.JSON))
    op.create_table(
        "index_segments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("scope", OrderedText, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("dead", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_index_segments"),
    )
    op.create_index("ix_index_segments_scope", "index_segments", ["scope"])
    if op.get_bind().dialect.name == "postgresql":  # compressing them costs more than it saves
        op.execute("ALTER TABLE index_segments ALTER COLUMN data SET STORAGE EXTERNAL")
    op.create_table(
        "index_tail",
        sa.Column("scope", OrderedText, nullable=False),
        sa.Column("parent", OrderedText, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("scope", "parent", "seq", name="pk_index_tail"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "index_audiences",
        sa.Column("atom", OrderedText, nullable=False),
        sa.Column("scope", OrderedText, nullable=False),
        sa.PrimaryKeyConstraint("atom", "scope", name="pk_index_audiences"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_index_audiences_scope", "index_audiences", ["scope"])
    op.create_table(
        "blobs",
        sa.Column("name", OrderedText, nullable=False),
        sa.Column("part", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("name", "part", name="pk_blobs"),
    )


def downgrade() -> None:
    for table in _NEW:
        op.drop_table(table)
    op.drop_column("messages", "details")
