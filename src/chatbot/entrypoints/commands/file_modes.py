"""Files with secrets or conversations that other accounts on the machine can read."""

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import ENV_FILE

GENKIT_FOLDER = Path(".genkit")
"""Genkit's developer mode writes traces there, which contain prompts and answers."""


def world_readable(settings: Settings) -> Iterator[Path]:
    """Yield each such file or folder that every account can read; none on Windows."""
    for path in _private_paths(settings):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue  # absent or not accessible: the code that needs the file reports that
        is_open = sys.platform != "win32" and mode & (stat.S_IROTH | stat.S_IWOTH)
        if is_open and not _is_read_only(path):
            yield path


def _private_paths(settings: Settings) -> list[Path]:
    auth, model = settings.auth, settings.model
    files = (
        *(auth.api_key_file, auth.jwt_secret_file, model.api_key_file),
        *(settings.storage.url_file, settings.http.tls_key_file),
    )
    named = [file for file in files if file is not None]
    return [ENV_FILE.absolute(), GENKIT_FOLDER.absolute(), *named]


def _is_read_only(path: Path) -> bool:
    """Whether the file is on a read-only mount, as secrets in a container are."""
    if sys.platform == "win32":
        return False
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
