"""Columns by which users are listed, and e-mail addresses in their one spelling."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import OrderedText
from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.errors import InvalidInput
from chatbot.domain.names import department_key
from chatbot.domain.text import LAST_MOMENT, rfc3339

revision = "0009"
down_revision = "0008"

_NEW = ("department_key", "role_list", "active_until")
_users = sa.Table(
    "users",
    sa.MetaData(),
    sa.Column("id", OrderedText, primary_key=True),
    sa.Column("email", OrderedText),
    sa.Column("record", sa.JSON),
    *(sa.Column(name, OrderedText) for name in _NEW),
)


def upgrade() -> None:
    for name in _NEW:
        column = sa.Column(name, OrderedText, nullable=False, server_default="")
        op.add_column("users", column)
    connection = op.get_bind()
    rows = connection.execute(sa.select(_users.c.id, _users.c.email, _users.c.record)).all()
    taken = {row.email for row in rows}
    for row in rows:
        email = _spelled(row.email)
        is_free = email == row.email or email not in taken
        values = _derived(row.record) | ({"email": email} if is_free else {})
        taken.add(email)
        connection.execute(_users.update().where(_users.c.id == row.id).values(values))


def downgrade() -> None:
    for name in _NEW:
        op.drop_column("users", name)


def _spelled(email: str) -> str:
    try:
        return normalise_email(email)
    except InvalidInput:
        return email


def _derived(record: Mapping[str, Any]) -> dict[str, str]:
    return {
        "department_key": department_key(record.get("department", "")),
        "role_list": "".join(f"\n{name}\n" for name in record.get("roles", [])),
        "active_until": rfc3339(LAST_MOMENT) if record.get("is_active", True) else "",
    }
