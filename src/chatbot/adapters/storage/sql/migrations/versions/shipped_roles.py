"""The five shipped roles: all of them in a store without users, the missing ones in another."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from chatbot.adapters.storage.sql.tables import OrderedText

revision = "0006"
down_revision = "0005"

_MANAGING = ["users.read", "users.manage", "usage.read", "documents.manage"]
_OWN = ["chat", "documents.read", "memory"]
_SHIPPED: Mapping[str, Mapping[str, Any]] = {
    "admin": {
        "permissions": sorted(
            [*_OWN, *_MANAGING, "audit.read", "keys.manage", "limits.manage", "roles.manage"]
        ),
        "description": "Manages people, roles, keys, limits and documents.",
    },
    "department_admin": {
        "permissions": sorted(_MANAGING),
        "description": "Manages the people and documents of the own department.",
        "own_department_only": True,
    },
    "employee": {"permissions": _OWN, "description": "Talks to the assistant."},
    "auditor": {
        "permissions": ["audit.read", "usage.read"],
        "description": "Reads the audit and the usage, and nothing else.",
    },
    "data_protection": {
        "permissions": ["sessions.read_any", "users.read"],
        "description": "Reads a conversation for a stated reason.",
    },
}


_NEW = ("department_admin", "auditor", "data_protection")
_EVERYTHING = "administer"
"""The older versions' name of all administrative permissions."""

_roles = sa.Table(
    "roles",
    sa.MetaData(),
    sa.Column("name", OrderedText, primary_key=True),
    sa.Column("record", sa.JSON, nullable=False),
)
_users = sa.Table("users", sa.MetaData(), sa.Column("id", sa.Text))


def upgrade() -> None:
    if not op.get_bind().execute(sa.select(sa.func.count()).select_from(_users)).scalar():
        op.execute(_roles.delete())
    known = _records()
    for name, role in known.items():
        words = set(role["permissions"])
        if _EVERYTHING in words and "users.manage" in words:  # written by `downgrade`
            _put(name, {**role, "permissions": sorted(words - {_EVERYTHING})})
    missing = [name for name in _SHIPPED if name not in known]
    op.bulk_insert(_roles, [{"name": name, "record": dict(_SHIPPED[name])} for name in missing])


def downgrade() -> None:
    """Drop what older versions do not know, and keep their administrators."""
    op.execute(_roles.delete().where(_roles.c.name.in_(_NEW)))
    for name, role in _records().items():
        words = set(role["permissions"])
        if {"users.manage", "roles.manage"} <= words:
            words.add(_EVERYTHING)
        in_order = role["permissions"] if words == set(role["permissions"]) else sorted(words)
        _put(name, {"permissions": in_order})


def _records() -> Mapping[str, Mapping[str, Any]]:
    rows = op.get_bind().execute(sa.select(_roles.c.name, _roles.c.record))
    return {row.name: row.record for row in rows}


def _put(name: str, record: Mapping[str, Any]) -> None:
    op.execute(_roles.update().where(_roles.c.name == name).values(record=record))
