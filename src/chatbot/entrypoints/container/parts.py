"""Builds what every command and the service need: the store, the audit, the clock and ids."""

import os
import secrets
import socket
from datetime import UTC, datetime
from pathlib import Path

from chatbot.adapters.security.api_keys import DEFAULT_CLIENT
from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.adapters.storage.legacy_sessions import LegacySessions
from chatbot.adapters.terminal_sessions import TerminalSessions
from chatbot.application.auditing import Auditing
from chatbot.domain.authorization import of_client
from chatbot.domain.identity import Owner
from chatbot.domain.person_memory import MemorySettings
from chatbot.domain.ports.backend import StorageOptions
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.storage_backends import backend_of

DEFAULT_PRINCIPAL = of_client(DEFAULT_CLIENT)
"""The principal of commands and flows: the client of the `API_KEY` setting."""


def utc_now() -> datetime:
    """Returns the current time, aware, in UTC."""
    return datetime.now(UTC)


def random_id() -> str:
    """Returns 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def build_storage(settings: Settings) -> Storage:
    options = StorageOptions(
        connections=settings.storage.postgres_connections,
        prepared_statements=settings.storage.postgres_prepared_statements,
        replica=f"{socket.gethostname()}:{os.getpid()}",
        memory_default=MemorySettings(enabled=settings.recall.memory_default == "on"),
    )
    return backend_of(settings.storage.url).storage(settings.storage.url, options)


def build_backup(file: Path) -> BackupFile:
    return BackupFile(file, is_lenient=True)


def build_legacy_sessions(folder: Path, owner: Owner = DEFAULT_PRINCIPAL.owner) -> LegacySessions:
    return LegacySessions(folder, owner)


def build_terminal_sessions(settings: Settings) -> TerminalSessions | None:
    """Returns None if the store is not persistent."""
    url = settings.storage.url
    return TerminalSessions(url.local_folder / "terminals") if url.is_persistent else None


def build_auditing(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> Auditing:
    return Auditing(settings.auth.raw_audit_key.encode(), utc_now, telemetry)
