"""Each user's current token version, next to `users.json`.

`users.json` can be edited by hand, and an edit can be reverted: a user who is disabled and
re-enabled has the same record as before, while the old tokens must stay revoked. So this file
keeps, for each user, the current version and a digest of the record that it belongs to. A record
with another digest was edited by hand, which increments the version.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chatbot.adapters.filesystem.atomic import put, read
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.sealed import seal, unseal
from chatbot.adapters.storage.json_values import VERSION, Damaged, Json, JsonObject
from chatbot.domain.identity import User, UserId, next_token_version

FILE_NAME = ".token-versions.json"
_GONE = ""
"""The digest of a user who is not in the file: a user who is added again counts as a new one."""
_log = logging.getLogger("chatbot.storage")


@dataclass(frozen=True, slots=True)
class Reached:
    """The version in force, and the digest of the record that it belongs to."""

    digest: str
    version: int


Versions = Mapping[UserId, Reached]


class TokenVersions:
    """The file; writers hold the lock of `users.json`."""

    def __init__(self, root: Path, files: Files) -> None:
        self._path, self._files = root / FILE_NAME, files

    def load(self) -> Versions:
        """The versions; none if the file is missing or damaged, for records have their own too."""
        try:
            return _parse(read(self._files, self._path))
        except FileNotFoundError:
            return {}
        except Damaged as damage:
            _log.warning("%s: %s; the file is rewritten", self._path, damage)
            return {}

    def save(self, versions: Versions) -> None:
        found: Json = {user_id: [each.digest, each.version] for user_id, each in versions.items()}
        put(self._files, self._path, seal({"version": VERSION, "users": found}) + b"\n")


def reconciled(users: Iterable[User], known: Versions) -> dict[UserId, Reached]:
    """Returns the current versions for these records.

    A record that was edited by hand gets a new version: from a higher `token_version`, or because
    of any other change of what a token depends on.
    """
    now = {user.id: _reached(user, known.get(user.id)) for user in users}
    gone = {user_id: replace(each, digest=_GONE) for user_id, each in known.items()}
    return {**gone, **now}


def later_of(written: Versions, unwritten: Versions) -> Versions:
    """Both; of a user who is in both the later version."""
    later = {
        user_id: each
        for user_id, each in unwritten.items()
        if user_id not in written or each.version > written[user_id].version
    }
    return {**written, **later}


def as_reached(user: User) -> Reached:
    """The entry of a record that this service has written."""
    return Reached(_digest(user), user.token_version)


def _reached(user: User, known: Reached | None) -> Reached:
    digest = _digest(user)
    if known is None or user.token_version > known.version:
        return Reached(digest, user.token_version)
    if known.digest == digest:
        return known
    return Reached(digest, next_token_version(known.version))


def _digest(user: User) -> str:
    text = json.dumps([user.password_hash, user.is_active, user.token_version])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _parse(raw: bytes) -> Versions:
    if raw[-1:] != b"\n":
        raise Damaged("token versions: empty or cut off")
    document = JsonObject(unseal(raw[:-1], "token versions"), "token versions")
    document.require_version()
    found = {}
    for user_id, entry in document.nested("users").items():
        digest, version = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        fields = JsonObject({"digest": digest, "version": version}, "token versions")
        found[UserId(user_id)] = Reached(fields.text("digest"), fields.number("version"))
    return found
