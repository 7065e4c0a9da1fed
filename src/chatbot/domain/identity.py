"""The caller, and the caller's rights."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, NewType

from chatbot.domain.email_addresses import normalise_email
from chatbot.domain.names import department_key
from chatbot.domain.permissions import Permission
from chatbot.domain.stored import Stored
from chatbot.domain.text import LAST_MOMENT, rfc3339

UserId = NewType("UserId", str)
ClientId = NewType("ClientId", str)
FamilyId = NewType("FamilyId", str)
"""A sign-in: see `sign_in.RefreshFamily`."""
KeyId = NewType("KeyId", str)

MAX_TOKEN_VERSION = 2**31 - 1
"""The last version: a user who has it cannot sign in before getting a new password."""
MAX_ID_CHARS = 64
MAX_ID_BYTES = 80
"""A folder's name holds the id with each byte escaped, and has at most 255 characters."""
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def _user_id(raw: object) -> UserId:
    """Return the id as text; legacy files may number their users."""
    found = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
    if not isinstance(found, str) or not 0 < len(found) <= MAX_ID_CHARS or not found.isprintable():
        raise ValueError
    if len(found.encode()) > MAX_ID_BYTES:
        raise ValueError
    return UserId(found)


def _token_version(version: int) -> int:
    if version > MAX_TOKEN_VERSION:
        raise ValueError
    return version


_USER_ID = Stored(
    read_as=Any,
    clean=_user_id,
    expected=f"a text of 1 to {MAX_ID_CHARS} printable characters and {MAX_ID_BYTES} bytes",
)
_EMAIL = Stored(clean=normalise_email, expected="an e-mail address")
_TOKEN_VERSION = Stored(
    clean=_token_version, expected=f"a whole number from 0 to {MAX_TOKEN_VERSION}"
)


class UserSource(StrEnum):
    """What created a user: an administrator, or an application that acts for its own users."""

    LOCAL = "local"
    ASSERTION = "assertion"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who can log in, if they have a password.

    Raising `token_version` revokes all tokens of the user; so does another password. From
    `expires_at` on, the user counts as disabled. With `one_time_until`, the password only permits
    choosing a new one, until then. `audit_salt` salts the digests of the user in the audit, and is
    erased with the user.
    """

    id: UserId = field(metadata=_USER_ID.metadata())
    email: str = field(metadata=_EMAIL.metadata())
    password_hash: str = field(repr=False)
    roles: tuple[str, ...] = field(metadata=Stored(default=()).metadata())
    department: str = field(metadata=Stored(default="").metadata())
    created_at: datetime = field(metadata=Stored(default=_LONG_AGO).metadata())
    is_active: bool = True
    token_version: int = field(default=0, metadata=_TOKEN_VERSION.metadata())
    expires_at: datetime | None = None
    one_time_until: datetime | None = None
    source: UserSource = field(default=UserSource.LOCAL, metadata=Stored(is_sparse=True).metadata())
    audit_salt: str = field(default="", repr=False, metadata=Stored(is_sparse=True).metadata())

    @property
    def has_password(self) -> bool:
        return self.password_hash != ""

    @property
    def is_lasting(self) -> bool:
        """Whether neither the user nor the password expires."""
        ends = self.expires_at is not None or self.one_time_until is not None
        is_spent = self.token_version >= MAX_TOKEN_VERSION
        return self.is_active and self.has_password and not ends and not is_spent

    def is_active_at(self, now: datetime) -> bool:
        """Whether the user is neither disabled nor expired."""
        return self.is_active and (self.expires_at is None or now < self.expires_at)

    def may_sign_in(self, now: datetime) -> bool:
        """Whether the user is active, and the password and the token version are valid."""
        is_void = self.one_time_until is not None and self.one_time_until <= now
        is_spent = self.token_version >= MAX_TOKEN_VERSION
        return self.is_active_at(now) and not is_void and not is_spent

    @property
    def department_key(self) -> str:
        """The form in which the department is compared."""
        return department_key(self.department)

    @property
    def role_list(self) -> str:
        """The names of the roles, each in a pair of line feeds."""
        return "".join(f"\n{name}\n" for name in self.roles)

    @property
    def active_until(self) -> str:
        """Until when the user is active, as text that sorts; empty if disabled."""
        if not self.is_active:
            return ""
        return rfc3339(LAST_MOMENT if self.expires_at is None else self.expires_at)

    @property
    def token_stamp(self) -> str:
        """The value that a token of the user must contain to be valid.

        It changes with everything that revokes tokens. It does not depend on roles and department:
        rights are read from the stored user at each request.
        """
        text = json.dumps([self.token_version, self.password_hash])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def with_password_hash(self, password_hash: str) -> "User":
        """Returns the user with another password, which revokes the tokens.

        No earlier token fits another hash, so that the versions can begin anew.
        """
        is_spent = self.token_version >= MAX_TOKEN_VERSION
        version = 0 if is_spent else next_token_version(self.token_version)
        return replace(self, password_hash=password_hash, token_version=version)

    def is_still(self, stored: "User | None", *, now: datetime) -> bool:
        """Whether work that began for this user may continue, now that `stored` is the user's
        record.
        """
        return (
            stored is not None
            and stored.is_active_at(now)
            and stored.token_stamp == self.token_stamp
            and (set(stored.roles), stored.department) == (set(self.roles), self.department)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An application that calls with an API key.

    `permissions` is what it may do for itself, `user_permissions` the maximum that a person may do
    through it. `key_id` is the stored key with which it calls, None for that of the settings.
    `assertion_secret` is the secret with which it signs assertions, if it may.
    """

    id: ClientId
    permissions: frozenset[Permission]
    user_permissions: frozenset[Permission]
    key_id: KeyId | None = None
    assertion_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The owner of a session: part of every storage signature."""

    kind: Literal["user", "client"]
    id: str

    @property
    def key(self) -> str:
        """The owner as one value, as in `user:0f3a...`."""
        return f"{self.kind}:{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The origin of a call, for the audit: a network address, or an account of the host."""

    address: str = ""
    request_id: str = ""
    cli_user: str = ""


NO_SOURCE = Source()


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The caller: an API client, on behalf of a user where one is logged in.

    `permissions` are the effective rights: the client's, and of those the user's where present.
    Those in `department_only` apply to the user's own department. `sign_in` is that of the user's
    token, None without one.
    """

    client: Client
    user: User | None
    permissions: frozenset[Permission]
    department_only: frozenset[Permission] = frozenset()
    source: Source = NO_SOURCE
    sign_in: FamilyId | None = None

    @property
    def owner(self) -> Owner:
        """The owner of what this caller creates: the user, else the client."""
        if self.user is not None:
            return Owner(kind="user", id=self.user.id)
        return Owner(kind="client", id=self.client.id)

    @property
    def must_change_password(self) -> bool:
        """Whether the user has logged in with a one-time password."""
        return (
            self.user is not None
            and self.user.one_time_until is not None
            and self.sign_in is not None
        )

    def admits(self, user: User, now: datetime) -> bool:
        """Whether this user may make the call; with a sign-in, the password must be valid."""
        return user.may_sign_in(now) if self.sign_in is not None else user.is_active_at(now)

    def department_for(self, permission: Permission) -> str | None:
        """The only department to which the permission applies; None if it applies to all."""
        if permission not in self.department_only or self.user is None:
            return None
        return self.user.department


def scheme_of(password_hash: str) -> str:
    """The part of an encoded hash before its salt: the algorithm and its cost (PHC string format)."""
    return password_hash.rsplit("$", 2)[0]


def next_token_version(version: int) -> int:
    """The version that revokes the tokens of this one; it never returns to an earlier one."""
    return min(version + 1, MAX_TOKEN_VERSION)
