"""Users and roles as two JSON files that people may edit by hand.

Every call looks at the file's status, so that an edit holds from the next request. What it does
not know, it keeps: keys that somebody added stay in the file when it is written again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from chatbot.adapters.storage.fields import VERSION, Damaged, Fields, Json, dump, load, naming
from chatbot.adapters.storage.json_files.durable import (
    exists,
    locked,
    make_durable_folder,
    opened,
    put,
    read,
)
from chatbot.adapters.storage.json_files.files import Files, Status
from chatbot.adapters.storage.records import (
    roles_from_json,
    roles_to_json,
    user_from_json,
    user_to_json,
)
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import DEFAULT_ROLES, Role, User, UserId
from chatbot.domain.ports.storage import UserRepository

USERS, ROLES = "users.json", "roles.json"
_FRESH_NS = 50_000_000
"""A file may change twice within one tick of the clock that stamps it (1 to 10 ms on Linux), and
its freed inode may come back: younger than this, it is read again (git's "racy" entries)."""
Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Users:
    """The users of one state of the file, and the document they stand in."""

    document: Json
    users: tuple[User, ...]
    by_id: Mapping[UserId, User]
    by_email: Mapping[str, User]


def parse_users(raw: bytes | None) -> Users:
    """Read the document; without a file there are no users.

    Raises:
        Damaged: it is not one, its version is newer, or a record in it is wrong. The record is
            named by its place: the message may be read by anybody.
    """
    fields = Fields({"users": []} if raw is None else load(raw, USERS), USERS)
    fields.require_version()
    records = enumerate(fields.list("users"), 1)
    users = tuple(user_from_json(found, f"{USERS}, record {number}") for number, found in records)
    by_id = {user.id: user for user in users}
    by_email = {user.email: user for user in users}
    if len(by_id) < len(users) or len(by_email) < len(users):
        raise Damaged(f"{USERS}: an id or e-mail address stands there twice")
    return Users(fields.found, users, by_id, by_email)


def parse_roles(raw: bytes | None) -> Mapping[str, Role]:
    """Read the roles; without a file there are none, and nobody may do anything."""
    return {} if raw is None else roles_from_json(load(raw, ROLES), ROLES)


class _Watched(Generic[Parsed]):
    """A file that is parsed again when it has changed."""

    def __init__(self, path: Path, files: Files, parse: Callable[[bytes | None], Parsed]) -> None:
        self._path, self._files, self._parse = path, files, parse
        self._known: tuple[Status, Parsed] | None = None

    def read(self) -> Parsed:
        known = self._known
        try:
            if known is not None and known[0] == self._files.status_of(self._path):
                return known[1]
            with naming(self._path):
                return self._read_again()
        except FileNotFoundError:
            return self._parse(None)

    def _read_again(self) -> Parsed:
        with opened(self._files, self._files.open_to_read(self._path)) as fd:
            status = self._files.status(fd)
            parsed = self._parse(self._files.read_at(fd, status.size, 0))
            is_settled = self._files.now_ns() - status.mtime_ns > _FRESH_NS
            self._known = (status, parsed) if is_settled else None
            return parsed


class UserFiles(UserRepository):
    """The files `users.json` and `roles.json` in one folder."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files
        self._lock = root / ".users.lock"
        self._users = _Watched(root / USERS, files, parse_users)
        self._roles = _Watched(root / ROLES, files, parse_roles)

    def open(self) -> None:
        make_durable_folder(self._files, self._root)

    def add(self, user: User, *, unless_any_has: frozenset[str] = frozenset()) -> None:
        with self._changing() as known:
            if any(unless_any_has.intersection(other.roles) for other in known.users):
                raise Conflict("There is an administrator already.")
            if user.email in known.by_email or user.id in known.by_id:
                raise Conflict("The e-mail address is taken.")
            self._write(known, [*_records(known), user_to_json(user)])

    def by_id(self, user_id: UserId) -> User | None:
        return self._users.read().by_id.get(user_id)

    def by_email(self, email: str) -> User | None:
        return self._users.read().by_email.get(email)

    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        with self._changing() as known:
            user = known.by_id.get(user_id)
            if user is None or user.password_hash != old:
                return
            place = known.users.index(user)
            records = _records(known)
            records[place] = {**Fields(records[place], USERS).found, "password_hash": new}
            self._write(known, records)

    def roles(self) -> Mapping[str, Role]:
        return self._roles.read()

    def all(self) -> Sequence[User]:
        return self._users.read().users

    def put(self, changes: Mapping[User, User | None]) -> None:
        """Put users in the place of what was there, all or none.

        Raises:
            Conflict: something else is there by now, or an e-mail address is another user's.
        """
        with self._changing() as known:
            records = dict(zip(known.by_id, _records(known), strict=True))
            by_email = dict(known.by_email)
            for user, over in changes.items():
                if known.by_id.get(user.id) != over:
                    raise Conflict("The user was changed meanwhile.")
                if by_email.setdefault(user.email, user) not in {user, over}:
                    raise Conflict("The e-mail address is taken.")
                kept = Fields(records.get(user.id, {}), USERS).found
                records[user.id] = {**kept, **user_to_json(user)}
            self._write(known, list(records.values()))

    def put_roles(self, changes: Mapping[Role, Role | None]) -> None:
        """Put roles in the place of what was there, all or none.

        Raises:
            Conflict: something else is there by now.
        """
        with locked(self._files, self._lock):
            path, known = self._root / ROLES, self._roles.read()
            if any(known.get(role.name) != over for role, over in changes.items()):
                raise Conflict("The role was changed meanwhile.")
            old: object = load(read(self._files, path), ROLES) if exists(self._files, path) else {}
            new = roles_to_json({role.name: role for role in changes})
            kept = Fields(old, ROLES).found.get("roles", {})
            roles = {**Fields(kept, ROLES).found, **Fields(new, ROLES).object("roles")}
            put(self._files, path, _text({**new, "roles": roles}))

    def make_roles(self) -> None:
        """Write the roles of a new store, if there are none."""
        with locked(self._files, self._lock):
            if not exists(self._files, self._root / ROLES):
                put(self._files, self._root / ROLES, _text(roles_to_json(DEFAULT_ROLES)))

    @contextmanager
    def _changing(self) -> Iterator[Users]:
        """The users as they stay until the end, whoever else wants to change them."""
        with locked(self._files, self._lock):
            yield self._users.read()

    def _write(self, known: Users, records: list[object]) -> None:
        document = {**known.document, "version": VERSION, "users": records}
        put(self._files, self._root / USERS, _text(document))


def _records(known: Users) -> list[object]:
    return list(Fields(known.document, USERS).list("users"))


def _text(document: Json) -> bytes:
    """JSON as people like to edit it."""
    return dump(document, indent=2) + b"\n"
