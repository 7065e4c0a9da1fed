"""Storage URLs, as in `STORAGE_URL` and in the commands."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SQLITE = "sqlite:///"
_POSTGRES = re.compile(
    r"postgresql://([^\s@/?#]*@)?(\[[^\s\[\]@/?#]+\]|[^\s\[\]@/?#:]*)(:[0-9]+)?/[^\s@/?#]+(\?[^\s#]*)?"
)
"""`@`, `/`, `?`, `#` and spaces in a password must be written as `%40`, `%2F`, `%3F`, `%23`, `%20`.

Otherwise part of the password would be taken as the host or path, which are displayed.
"""


class StorageKind(StrEnum):
    """The kind of adapter: the URL's scheme."""

    MEMORY = "memory"
    JSON = "json"
    SQLITE = "sqlite"
    POSTGRES = "postgresql"


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUrl:
    """A storage URL. `path` is the absolute folder or file; `raw` may contain a password."""

    kind: StorageKind
    path: Path | None
    raw: str = field(repr=False)

    def __str__(self) -> str:
        """Returns the URL for display, without anything that could be a secret."""
        if self.path is not None:
            return str(self.path)
        if self.kind is StorageKind.MEMORY:
            return "in memory only, lost when the service stops"
        parts = urlsplit(self.raw)
        port = f":{parts.port}" if parts.port else ""
        return f"postgresql://{parts.hostname or ''}{port}{parts.path}"

    @property
    def password(self) -> str:
        """The database password; empty if there is none."""
        parts = urlsplit(self.raw) if self.kind is StorageKind.POSTGRES else None
        return unquote(parts.password or "") if parts else ""

    @property
    def local_folder(self) -> Path:
        """The folder for files that commands keep on this machine."""
        if self.path is None:
            return Path.cwd() / "data"
        return self.path if self.kind is StorageKind.JSON else self.path.parent


def parse_storage_url(raw: object) -> StorageUrl:
    """Parse a storage URL; a relative path is resolved against the working directory.

    Raises:
        ValueError: it is invalid; the message repeats nothing of it.
    """
    text = str(raw).strip()
    if text == "memory:":
        return StorageUrl(kind=StorageKind.MEMORY, path=None, raw=text)
    if text.startswith("json:") and text.removeprefix("json:").strip("/ "):
        folder = Path.cwd() / text.removeprefix("json:")
        return StorageUrl(kind=StorageKind.JSON, path=folder, raw=text)
    if text.startswith(_SQLITE) and text.removeprefix(_SQLITE).strip("/ "):
        file = Path.cwd() / text.removeprefix(_SQLITE)
        return StorageUrl(kind=StorageKind.SQLITE, path=file, raw=text)
    if text.startswith("postgresql://") and _names_a_database(text):
        return StorageUrl(kind=StorageKind.POSTGRES, path=None, raw=text)
    raise ValueError(
        "must be json:DIR, sqlite:///FILE, postgresql://USER:PASSWORD@HOST:PORT/DATABASE "
        "or memory: (in a password, write @ as %40, / as %2F, ? as %3F and # as %23)"
    )


def _names_a_database(url: str) -> bool:
    """Whether the URL is unambiguous, and has a database name and a valid port."""
    try:
        return _POSTGRES.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:
        return False
