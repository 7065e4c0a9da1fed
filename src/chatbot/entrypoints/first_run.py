"""`chatbot init`: a `.env` with random secrets and a new store; overwrites nothing."""

import asyncio
import os
from pathlib import Path

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFailure
from chatbot.entrypoints.secrets import random_secret
from chatbot.entrypoints.settings import ENV_FILE, Settings, SettingsError
from chatbot.entrypoints.storage_url import StorageKind, StorageUrl

_TEMPLATE = """\
# Written by `chatbot init`. .env.example explains every setting. Keep this file to yourself.
API_KEY={api_key}
JWT_SECRET={jwt_secret}
"""


def write_env() -> str:
    """Write `.env` into the working directory with mode 0600; say what was done."""
    try:
        handle = os.open(ENV_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return f"{ENV_FILE.absolute()} is there already and was left alone"
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
        file.write(_TEMPLATE.format(api_key=random_secret(), jwt_secret=random_secret()))
    return f"wrote {ENV_FILE.absolute()}"


def make_store(settings: Settings) -> str:
    """Make the folders and `roles.json`, or the tables, of a new store; say where."""
    match settings.storage_url:
        case StorageUrl(kind=StorageKind.MEMORY):
            return "STORAGE_URL=memory: needs no folders"
        case StorageUrl(kind=StorageKind.JSON, path=Path() as root):
            return _make_data_folders(root)
        case _:
            from chatbot.entrypoints.sql_database import upgrade  # noqa: PLC0415 - as in the container

            return upgrade(settings)


def _make_data_folders(root: Path) -> str:
    """Raises:
    SettingsError: there cannot be such folders.
    """

    async def make() -> None:
        async with JsonFileStorage(root) as storage:
            await storage.make_roles()

    try:
        asyncio.run(make())
    except StorageFailure as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise SettingsError(f"STORAGE_URL: {root} cannot hold a store ({why}).") from error
    for folder in (root, root / "auth", root / "memory"):
        folder.chmod(0o700)  # a checkout makes some of them, and open to all
    return f"data lies in {root}"
