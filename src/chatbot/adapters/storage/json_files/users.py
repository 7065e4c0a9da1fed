"""Users and roles as two JSON files that can be edited by hand.

Every call checks the file's status, so that an edit applies from the next request. Unknown keys are
preserved when the file is rewritten.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    exists,
    locked,
    make_durable_folder,
    put,
    read,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.people import (
    ROLES,
    USERS,
    Users,
    document_of,
    parse_roles,
    parse_users,
    roles_to_json,
    users_of,
)
from chatbot.adapters.storage.json_files.token_versions import (
    TokenVersions,
    Versions,
    as_reached,
    later_of,
    reconciled,
)
from chatbot.adapters.storage.json_files.watched import Watched
from chatbot.adapters.storage.json_values import (
    VERSION,
    Json,
    JsonObject,
    dump,
    load,
    logging_path_of_errors,
)
from chatbot.domain.errors import Conflict, StorageFailure, cause_of
from chatbot.domain.identity import (
    DEFAULT_ROLES,
    Role,
    User,
    UserId,
    next_token_version,
    require_another_active,
    scheme_of,
)
from chatbot.domain.ports.storage import UserRepository

_ADOPTION_WAIT_S = 1.0
_log = logging.getLogger("chatbot.storage")


@dataclass(frozen=True, slots=True)
class _Editable:
    """The state to change: the document, its current users, and their token versions."""

    document: Json
    users: Users
    versions: Versions


class UserFiles(UserRepository):
    """The files `users.json` and `roles.json` in one folder.

    Args:
        is_serving: whether to save token versions that a manual edit has incremented. Code that
            only reads the folder leaves it unchanged.
    """

    def __init__(self, root: Path, files: Files, *, is_serving: bool = False) -> None:
        self._root, self._files, self._is_serving = root, files, is_serving
        self._lock = root / ".users.lock"
        self._versions = TokenVersions(root, files)
        self._unwritten: Versions = {}
        self._users = Watched(root / USERS, files, self._parse)
        self._roles = Watched(root / ROLES, files, parse_roles)

    def open(self) -> None:
        make_durable_folder(self._files, self._root)

    def add(self, user: User, *, unless_any_has: frozenset[str] = frozenset()) -> None:
        with self._changing() as found:
            if any(unless_any_has.intersection(other.roles) for other in found.users.all):
                raise Conflict("There is already an administrator.")
            if user.email in found.users.by_email or user.id in found.users.by_id:
                raise Conflict("The e-mail address is already in use.")
            self._write(found, {user.id: codec(User).to_json(user)}, [user])

    def by_id(self, user_id: UserId) -> User | None:
        return self._users.read().by_id.get(user_id)

    def known_caller(self, user_id: UserId) -> tuple[User | None, Mapping[str, Role]] | None:
        """Returns the user and the roles if the files are unchanged; None if one has to be read."""
        users, roles = self._users.read_unless_changed(), self._roles.read_unless_changed()
        return None if users is None or roles is None else (users.by_id.get(user_id), roles)

    def by_email(self, email: str) -> User | None:
        return self._users.read().by_email.get(email)

    def all(self) -> Sequence[User]:
        return sorted(self._users.read().all, key=lambda user: user.email)

    def password_schemes(self) -> Mapping[str, int]:
        return Counter(scheme_of(user.password_hash) for user in self._users.read().all)

    def replace(
        self, user: User, *, old: User, keeping_one_of: frozenset[str] = frozenset()
    ) -> None:
        with self._changing() as found:
            if found.users.by_id.get(user.id) != old:
                raise Conflict("The user was changed in the meantime. Try again.")
            others = [other for other in found.users.all if other.id != user.id]
            require_another_active(user, old=old, others=others, with_any_of=keeping_one_of)
            self._write(found, {user.id: codec(User).to_json(user)}, [user])

    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        with self._changing() as found:
            user = found.users.by_id.get(user_id)
            if user is not None and user.password_hash == old:
                version = next_token_version(user.token_version)
                changed = replace(user, password_hash=new, token_version=version)
                record: Json = {"password_hash": new, "token_version": version}
                self._write(found, {user_id: record}, [changed])

    def roles(self) -> Mapping[str, Role]:
        return self._roles.read()

    def put(self, changes: Mapping[User, User | None]) -> None:
        """Replace users, all or none.

        Raises:
            Conflict: a user was changed in the meantime, or another user has the e-mail address.
        """
        with self._changing() as found:
            by_email = dict(found.users.by_email)
            for user, over in changes.items():
                if found.users.by_id.get(user.id) != over:
                    raise Conflict("The user was changed in the meantime. Try again.")
                if by_email.setdefault(user.email, user) not in {user, over}:
                    raise Conflict("The e-mail address is already in use.")
            self._write(found, {user.id: codec(User).to_json(user) for user in changes}, changes)

    def put_roles(self, changes: Mapping[Role, Role | None]) -> None:
        """Replace roles, all or none.

        Raises:
            Conflict: a role was changed in the meantime.
        """
        with locked(self._files, self._lock):
            path, known = self._root / ROLES, self._roles.read()
            if any(known.get(role.name) != over for role, over in changes.items()):
                raise Conflict("The role was changed in the meantime. Try again.")
            old: object = load(read(self._files, path), ROLES) if exists(self._files, path) else {}
            new = roles_to_json({role.name: role for role in changes})
            kept = JsonObject(old, ROLES).found.get("roles", {})
            roles = {**JsonObject(kept, ROLES).found, **JsonObject(new, ROLES).nested("roles")}
            put(self._files, path, _text({**new, "roles": roles}))

    def make_first_roles(self) -> None:
        """Write the roles of a new store, if it has neither people nor roles."""
        if not any(exists(self._files, self._root / name) for name in (USERS, ROLES)):
            self.make_roles()

    def make_roles(self) -> None:
        """Write the roles of a new store, if there are none."""
        with locked(self._files, self._lock):
            if not exists(self._files, self._root / ROLES):
                put(self._files, self._root / ROLES, _text(roles_to_json(DEFAULT_ROLES)))

    def _parse(self, raw: bytes | None) -> Users:
        """The users with the token versions that an edit by hand has raised, which is written down.

        If it cannot be, as on a full disk, it holds in this process all the same, and is written
        down with the next change or edit.
        """
        users = parse_users(raw)
        if self._is_serving and raw is not None:
            try:
                with locked(self._files, self._lock, wait_s=_ADOPTION_WAIT_S):
                    return self._adopted(users, raw)
            except StorageFailure as error:
                _log.warning("token versions could not be saved: %s", cause_of(error))
                self._unwritten = reconciled(users.all, self._known_versions())
                return _in_force(users, self._unwritten)
        return _in_force(users, reconciled(users.all, self._known_versions()))

    def _adopted(self, users: Users, raw: bytes) -> Users:
        versions = reconciled(users.all, self._known_versions())
        if versions != self._versions.load() and self._read_raw() == raw:  # else a newer is there
            self._save(versions)
        return _in_force(users, versions)

    def _known_versions(self) -> Versions:
        """What is written down, and what could not be."""
        return later_of(self._versions.load(), self._unwritten)

    def _save(self, versions: Versions) -> None:
        self._versions.save(versions)
        self._unwritten = {}

    def _read_raw(self) -> bytes | None:
        try:
            return read(self._files, self._root / USERS)
        except FileNotFoundError:
            return None

    @contextmanager
    def _changing(self) -> Iterator[_Editable]:
        """Yields the users, unchanged by others until the end."""
        with locked(self._files, self._lock), logging_path_of_errors(self._root / USERS):
            document = document_of(self._read_raw())
            users = users_of(document)
            versions = reconciled(users.all, self._known_versions())
            yield _Editable(document.found, _in_force(users, versions), versions)

    def _write(
        self, found: _Editable, changes: Mapping[UserId, Json], changed: Iterable[User]
    ) -> None:
        """Change or add records, then write down the token versions that go with them."""
        records = dict(
            zip(found.users.by_id, JsonObject(found.document, USERS).array("users"), strict=True)
        )
        for user_id, change in changes.items():
            records[user_id] = {**JsonObject(records.get(user_id, {}), USERS).found, **change}
        document = {**found.document, "version": VERSION, "users": list(records.values())}
        put(self._files, self._root / USERS, _text(document))
        reached = {user.id: as_reached(user) for user in changed}
        self._save({**found.versions, **reached})


def _text(document: Json) -> bytes:
    """JSON as people like to edit it."""
    return dump(document, indent=2) + b"\n"


def _in_force(users: Users, versions: Versions) -> Users:
    """The users with the token versions that they have reached."""
    now = (
        user
        if (version := versions[user.id].version) == user.token_version
        else replace(user, token_version=version)
        for user in users.by_id.values()
    )
    by_id = {user.id: user for user in now}
    return Users(by_id, {user.email: user for user in by_id.values()})
