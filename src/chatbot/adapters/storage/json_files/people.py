"""The contents of `users.json` and `roles.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import (
    VERSION,
    Damaged,
    Json,
    JsonObject,
    load,
    plain_object,
)
from chatbot.domain.identity import Role, User, UserId

USERS, ROLES = "users.json", "roles.json"


@dataclass(frozen=True, slots=True)
class Users:
    """The users of one state of the file."""

    by_id: Mapping[UserId, User]
    by_email: Mapping[str, User]

    @property
    def all(self) -> Sequence[User]:
        return tuple(self.by_id.values())


def parse_users(raw: bytes | None) -> Users:
    """Read the document; without a file there are no users.

    Raises:
        Damaged: it is malformed, has a newer version, or contains an invalid record. The record is
            identified by its position only: anyone may see the message.
    """
    return users_of(document_of(raw))


def document_of(raw: bytes | None) -> JsonObject:
    found = {"users": []} if raw is None else load(raw, USERS, hook=plain_object)
    fields = JsonObject(found, USERS)
    fields.require_version()
    return fields


def users_of(fields: JsonObject) -> Users:
    records = enumerate(fields.array("users"), 1)
    users = [codec(User).from_json(found, f"{USERS}, record {number}") for number, found in records]
    by_id = {user.id: user for user in users}
    by_email = {user.email: user for user in users}
    if len(by_id) < len(users) or len(by_email) < len(users):
        raise Damaged(f"{USERS}: duplicate id or e-mail address")
    return Users(by_id, by_email)


def parse_roles(raw: bytes | None) -> Mapping[str, Role]:
    """Read the roles; without a file there are none, and no one has any permission."""
    return {} if raw is None else roles_from_json(load(raw, ROLES), ROLES)


def roles_to_json(roles: Mapping[str, Role]) -> Json:
    """The document `roles.json`: its entries have no name besides their key."""
    named = {name: codec(Role).to_json(role) for name, role in roles.items()}
    return {"version": VERSION, "roles": {key: _without_name(each) for key, each in named.items()}}


def _without_name(role: Json) -> Json:
    return {key: value for key, value in role.items() if key != "name"}


def roles_from_json(found: object, what: str) -> dict[str, Role]:
    document = JsonObject(found, what)
    document.require_version()
    roles = {}
    for name, entry in document.nested("roles").items():
        where = f"{what}, role {name}"
        fields = JsonObject(entry, where).found
        roles[name] = codec(Role).from_json({**fields, "name": name}, where)
    return roles
