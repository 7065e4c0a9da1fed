"""The properties that an administrator chooses for a new key."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from chatbot.domain.assertions import check_secret
from chatbot.domain.credentials import EXPIRING_WITHIN, ApiKey
from chatbot.domain.errors import Forbidden, InvalidInput
from chatbot.domain.identity import Principal
from chatbot.domain.permissions import ADMINISTERING, ROLE_PERMISSIONS, Permission

MAX_LABEL_CHARS = 100
MAX_OVERLAP = EXPIRING_WITHIN

_CLIENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)
_RESERVED = frozenset({"default", "host"})
"""The client of the setting `API_KEY`, and of commands on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """The properties of a new key."""

    client: str
    scopes: frozenset[Permission]
    label: str = ""
    expires_at: datetime | None = None
    user_secret: str | None = field(default=None, repr=False)


def like(key: ApiKey, user_secret: str | None) -> NewKey:
    """Return the properties of the successor of a key."""
    return NewKey(
        client=key.client,
        scopes=key.scopes,
        label=key.label,
        expires_at=key.expires_at,
        user_secret=user_secret,
    )


def require_grantable(principal: Principal, scopes: frozenset[Permission]) -> None:
    """Check that the caller may grant these scopes to a key.

    Callers can only grant scopes that they hold in all departments. `act_for_users` gives access to
    the conversations of everyone, administrators included, so it requires the permissions of an
    administrator.

    Raises:
        Forbidden: the caller lacks one.
    """
    needed = scopes & ROLE_PERMISSIONS
    if Permission.ACT_FOR_USERS in scopes:
        needed |= ADMINISTERING
    lacking = needed - (principal.permissions - principal.department_only)
    if lacking:
        raise Forbidden(
            f"You cannot grant permissions that you lack: {', '.join(sorted(lacking))}."
        )


def check_new_key(wanted: NewKey, now: datetime) -> None:
    """Check the values.

    Raises:
        InvalidInput: one is not.
    """
    if not _CLIENT.fullmatch(wanted.client):
        rule = "1 to 63 lower-case letters, digits, `.`, `_` or `-`, the first a letter or digit"
        raise InvalidInput(f"A client name must have {rule}.", where=("client",))
    if wanted.client in _RESERVED:
        raise InvalidInput("This client name is reserved: choose another.", where=("client",))
    if not wanted.scopes:
        raise InvalidInput("A key needs at least one scope.", where=("scopes",))
    if not wanted.label.isprintable() or len(wanted.label) > MAX_LABEL_CHARS:
        limit = f"at most {MAX_LABEL_CHARS} printable characters"
        raise InvalidInput(f"A label has {limit}.", where=("label",))
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise InvalidInput("The time must be in the future.", where=("expires_at",))
    check_user_secret(wanted)


def check_user_secret(wanted: NewKey) -> None:
    """Check that no assertion secret is given, or that the key can have one.

    Raises:
        InvalidInput: otherwise.
    """
    if wanted.user_secret is None:
        return
    if Permission.ACT_FOR_USERS not in wanted.scopes:
        message = "Only a key with the scope `act_for_users` has an assertion secret."
        raise InvalidInput(message, where=("user_secret",))
    check_secret(wanted.user_secret)
