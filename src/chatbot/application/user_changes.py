"""Requests of administrators: a new user, or new values of a user's fields."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final, Literal

from chatbot.application.people_rules import known_department, known_roles
from chatbot.application.user_writer import ChangeContext
from chatbot.domain.audit import Action
from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.identity import User


class Unchanged(Enum):
    """The type of `KEEP`."""

    KEEP = "keep"


KEEP: Final = Unchanged.KEEP
"""Leaves a field unchanged for which None is a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to create; without a password, a one-time password is generated."""

    email: str
    roles: Sequence[str]
    department: str
    expires_at: datetime | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """The new values of the fields to change."""

    email: str | None = None
    roles: Sequence[str] | None = None
    department: str | None = None
    is_active: bool | None = None
    expires_at: datetime | Literal[Unchanged.KEEP] | None = KEEP

    def apply(self, context: ChangeContext, user: User) -> User:
        """Return the user with the new values.

        Raises:
            InvalidInput: a value is invalid.
        """
        changed = user
        if self.email is not None:
            changed = replace(changed, email=normalise_email(self.email))
        if self.roles is not None:
            changed = replace(changed, roles=known_roles(self.roles, context.roles))
        if self.department is not None:
            department = known_department(context.tx, context.caller, self.department, of=user.id)
            changed = replace(changed, department=department)
        if self.is_active is not None:
            changed = replace(changed, is_active=self.is_active)
        if self.expires_at is not Unchanged.KEEP:
            changed = replace(changed, expires_at=self.expires_at)
        return changed

    @property
    def action(self) -> Action:
        """The name of the change in the audit."""
        if self.is_active is None:
            return Action.USER_CHANGE
        return Action.USER_ENABLE if self.is_active else Action.USER_DISABLE
