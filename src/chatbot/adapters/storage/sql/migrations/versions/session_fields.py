"""The fields of a session that have no column of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("rest", sa.JSON))


def downgrade() -> None:
    op.drop_column("sessions", "rest")
