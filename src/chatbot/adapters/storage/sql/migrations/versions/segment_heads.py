"""On SQLite, an index with all that a search reads of segments before their data."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_index_segments_scope", "index_segments")
        op.create_index("ix_index_segments_heads", "index_segments", ["scope", "count", "dead"])


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.drop_index("ix_index_segments_heads", "index_segments")
        op.create_index("ix_index_segments_scope", "index_segments", ["scope"])
