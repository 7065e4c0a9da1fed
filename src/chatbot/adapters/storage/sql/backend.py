"""The backends `sqlite:///FILE` and `postgresql://...`; SQLAlchemy is imported when one is used."""

import re
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from chatbot.domain.permissions import DEFAULT_ROLES, Role
from chatbot.domain.ports.backend import StorageBackend, StorageOptions, StorageUrl, Tables
from chatbot.domain.ports.export import Change, ExportTarget
from chatbot.domain.ports.storage import Storage

_SQLITE = "sqlite:///"
_POSTGRES = re.compile(
    r"postgresql://([^\s@/?#]*@)?(\[[^\s\[\]@/?#]+\]|[^\s\[\]@/?#:]*)(:[0-9]+)?/[^\s@/?#]+(\?[^\s#]*)?"
)
"""`@`, `/`, `?`, `#` and spaces in a password must be written as `%40`, `%2F`, `%3F`, `%23`, `%20`.

Otherwise part of the password would be taken as the host or path, which are displayed.
"""


class _SqlBackend(StorageBackend):
    """SQLAlchemy takes 19 MiB of memory: only a configured database imports it."""

    def storage(self, url: StorageUrl, options: StorageOptions) -> Storage:
        from chatbot.adapters.storage.sql.storage import SqlStorage, build_database

        return SqlStorage(
            build_database(url, options),
            replica=options.replica,
            memory_default=options.memory_default,
        )

    def export(self, url: StorageUrl) -> ExportTarget:
        from chatbot.adapters.storage.sql.export import SqlExport
        from chatbot.adapters.storage.sql.storage import build_database

        return SqlExport(build_database(url))

    def create(self, url: StorageUrl) -> str:
        """Creates the tables, which include the roles; restores the roles if all were deleted."""
        done = self.tables(url).upgrade()
        with self.export(url) as export, closing(export.items()) as items:
            if isinstance(next(items, None), Role):
                return done
            export.put([Change(role, over=None) for role in DEFAULT_ROLES.values()])
        return f"{done}; created the roles {' and '.join(DEFAULT_ROLES)}"

    def tables(self, url: StorageUrl) -> Tables:
        from chatbot.adapters.storage.sql.upgrading import SqlTables

        return SqlTables(url)


class SqliteBackend(_SqlBackend):
    """One SQLite file."""

    form = "sqlite:///FILE"

    def parse(self, raw: str) -> StorageUrl | None:
        if not (raw.startswith(_SQLITE) and raw.removeprefix(_SQLITE).strip("/ ")):
            return None
        path = Path.cwd() / raw.removeprefix(_SQLITE)
        return StorageUrl(
            raw=raw, shown=str(path), path=path, local_folder=path.parent, is_database=True
        )


class PostgresBackend(_SqlBackend):
    """A Postgres database."""

    form = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"

    def parse(self, raw: str) -> StorageUrl | None:
        try:
            parts = urlsplit(raw)
            is_valid = _POSTGRES.fullmatch(raw) is not None and parts.port != 0
        except ValueError:  # an unclosed bracket, or an invalid port
            return None
        if not is_valid:
            return None
        port = f":{parts.port}" if parts.port else ""
        return StorageUrl(
            raw=raw,
            shown=f"postgresql://{parts.hostname or ''}{port}{parts.path}",
            local_folder=Path.cwd() / "data",
            password=unquote(parts.password or ""),
            is_database=True,
        )
