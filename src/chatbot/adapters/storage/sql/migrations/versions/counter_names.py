"""Names of counters are ordered by their code points, so that those with a prefix are a range."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    _collate('"C"')


def downgrade() -> None:
    _collate('"default"')


def _collate(collation: str) -> None:
    """SQLite orders all texts like that."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE counters ALTER COLUMN name TYPE text COLLATE {collation}")
