"""Users and roles as records: what is searched for is a column, the rest is JSON."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import SchemaItem

from chatbot.adapters.storage.sql.tables import Moment, OrderedText
from chatbot.domain.text import rfc3339

revision = "0003"
down_revision = "0002"

Rows = Sequence[Mapping[str, Any]]


def upgrade() -> None:
    users, roles = _replaced("users", _old_users()), _replaced("roles", _old_roles())
    _make("users", _new_users(), (_as_record(row, "id", "email") for row in users))
    _make("roles", _new_roles(), (_as_record(row, "name") for row in roles))


def downgrade() -> None:
    users, roles = _replaced("users", _new_users()), _replaced("roles", _new_roles())
    _make("users", _old_users(), (_as_columns(row, "id", "email") for row in users))
    _make("roles", _old_roles(), (_as_columns(row, "name") for row in roles))


def _as_record(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    rest = {name: value for name, value in row.items() if name not in columns}
    if "created_at" in rest:
        rest["created_at"] = rfc3339(rest["created_at"])
    return {**{name: row[name] for name in columns}, "record": rest}


def _as_columns(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    rest = dict(row["record"])
    if "created_at" in rest:
        rest["created_at"] = datetime.fromisoformat(rest["created_at"])
    return {**{name: row[name] for name in columns}, **rest}


def _replaced(name: str, parts: Iterable[SchemaItem]) -> Rows:
    """Read a table, and drop it: its constraints have the names of those of the new one."""
    table = sa.Table(name, sa.MetaData(), *parts)
    rows = op.get_bind().execute(sa.select(table)).mappings().all()
    op.drop_table(name)
    return [dict(row) for row in rows]


def _make(name: str, parts: Iterable[SchemaItem], rows: Iterable[Mapping[str, Any]]) -> None:
    table = op.create_table(name, *parts)
    op.bulk_insert(table, [dict(row) for row in rows])


def _old_users() -> list[SchemaItem]:
    return [
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
    ]


def _old_roles() -> list[SchemaItem]:
    return [
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("permissions", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_roles"),
    ]


def _new_users() -> list[SchemaItem]:
    return [
        sa.Column("id", OrderedText, nullable=False),
        sa.Column("email", OrderedText, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    ]


def _new_roles() -> list[SchemaItem]:
    return [
        sa.Column("name", OrderedText, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_roles"),
    ]
