"""The storage backends by the scheme of their URLs, each imported when it is used."""

from pkgutil import resolve_name
from typing import cast

from chatbot.domain.ports.backend import StorageBackend, StorageUrl

BACKENDS = {
    "json": "chatbot.adapters.storage.json_files.backend:JsonFileBackend",
    "sqlite": "chatbot.adapters.storage.sql.backend:SqliteBackend",
    "postgresql": "chatbot.adapters.storage.sql.backend:PostgresBackend",
    "memory": "chatbot.adapters.storage.in_memory.storage:InMemoryBackend",
}


def backend_of(url: StorageUrl) -> StorageBackend:
    """Returns the backend of a URL."""
    return _backend(url.scheme)


def parse_storage_url(raw: object) -> StorageUrl:
    """Parses a storage URL; a relative path is resolved against the working directory.

    Raises:
        ValueError: it is invalid; the message repeats nothing of it.
    """
    text = str(raw).strip()
    scheme = text.partition(":")[0]
    url = _backend(scheme).parse(text) if scheme in BACKENDS and ":" in text else None
    if url is None:
        *forms, last = (_backend(each).form for each in BACKENDS)
        raise ValueError(
            f"must be {', '.join(forms)} or {last} "
            "(in a password, write @ as %40, / as %2F, ? as %3F and # as %23)"
        )
    return url


def _backend(scheme: str) -> StorageBackend:
    return cast("StorageBackend", resolve_name(BACKENDS[scheme])())
