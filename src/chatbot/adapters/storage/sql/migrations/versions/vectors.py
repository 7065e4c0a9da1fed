"""Vectors of passages, beside the words of the search index."""

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import OrderedText

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "index_vectors",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("scope", OrderedText, nullable=False),
        sa.Column("parent", OrderedText, nullable=False),
        sa.Column("model", OrderedText, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("seqs", sa.LargeBinary, nullable=False),
        sa.Column("signs", sa.LargeBinary, nullable=False),
        sa.Column("codes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_index_vectors"),
    )
    op.create_index("ix_index_vectors_parents", "index_vectors", ["scope", "parent"])
    heads = ["scope", "model", "dimension", "id"]
    op.create_index("ix_index_vectors_heads", "index_vectors", heads)
    if op.get_bind().dialect.name == "postgresql":  # compressing them costs more than it saves
        for column in ("signs", "codes"):
            op.execute(f"ALTER TABLE index_vectors ALTER COLUMN {column} SET STORAGE EXTERNAL")


def downgrade() -> None:
    op.drop_table("index_vectors")
