"""`chatbot init`: a `.env` with random secrets and a new store; never overwrites anything."""

import asyncio
import os
from contextlib import closing
from pathlib import Path

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFailure
from chatbot.domain.identity import DEFAULT_ROLES, Role
from chatbot.domain.ports.archive import Change
from chatbot.entrypoints.secrets import random_secret
from chatbot.entrypoints.settings import ENV_FILE, Settings, SettingsError
from chatbot.entrypoints.storage_url import StorageKind, StorageUrl

_TEMPLATE = """\
# Written by `chatbot init`. .env.example explains every setting. Keep this file to yourself.
API_KEY={api_key}
JWT_SECRET={jwt_secret}
"""


def write_env() -> str:
    """Write `.env` into the working directory with mode 0600; returns a message for the user."""
    try:
        handle = os.open(ENV_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return f"{ENV_FILE.absolute()} already exists and was not changed"
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(_TEMPLATE.format(api_key=random_secret(), jwt_secret=random_secret()))
    return f"wrote {ENV_FILE.absolute()}"


def make_store(settings: Settings) -> str:
    """Create a new store: folders and `roles.json`, or tables. Returns a message for the user."""
    match settings.storage_url:
        case StorageUrl(kind=StorageKind.MEMORY):
            return "STORAGE_URL=memory: needs no folders"
        case StorageUrl(kind=StorageKind.JSON, path=Path() as root):
            return _make_data_folders(root)
        case _:
            return _make_tables(settings)


def _make_tables(settings: Settings) -> str:
    """Create the tables, which include the roles; restore the roles if all were deleted."""
    from chatbot.entrypoints.sql_database import build_sql_archive, upgrade  # noqa: PLC0415 - as in the container

    done = upgrade(settings)
    with build_sql_archive(settings.storage_url) as archive, closing(archive.items()) as items:
        if isinstance(next(items, None), Role):
            return done
        archive.put([Change(role, over=None) for role in DEFAULT_ROLES.values()])
    return f"{done}; created the roles {' and '.join(DEFAULT_ROLES)}"


def _make_data_folders(root: Path) -> str:
    """Create the folders.

    Raises:
        SettingsError: the folders cannot be created.
    """

    async def make() -> None:
        async with JsonFileStorage(root) as storage:
            await storage.make_roles()

    try:
        asyncio.run(make())
    except StorageFailure as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise SettingsError(f"STORAGE_URL: cannot create a store in {root} ({why}).") from error
    for folder in (root, root / "auth", root / "memory"):
        folder.chmod(0o700)  # a checkout creates some of them, readable by everyone
    return f"data folder: {root}"
