"""Commands on a whole store, each recorded in that store when it has ended: see `OPERATIONS`.

A command that cannot be recorded is not undone, because a full or damaged store must still be
backed up.
Dry runs and wrong usage are not recorded.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from chatbot.application.document_check import Repaired
from chatbot.domain.audit import OPERATIONS, Action, AuditEvent, Outcome
from chatbot.domain.errors import ChatbotError
from chatbot.domain.ports.backend import StorageOptions, StorageUrl
from chatbot.entrypoints.commands import store, transfer
from chatbot.entrypoints.commands.command_line import host_principal, say
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.settings.subject import SettingsError
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url

Found = TypeVar("Found")


def upgrade(settings: Settings) -> str:
    """`store.upgrade`, recorded."""
    url = settings.storage.url
    work = partial(store.upgrade, settings)
    return _recorded(settings, url, Action.STORE_UPGRADE, url.scheme, work)


def migrate(source: str, target: str, *, delete_others: bool, dry_run: bool) -> bool:
    """`transfer.migrate`, recorded in the target if there are settings with the key of the audit."""

    def work() -> bool:
        is_done = transfer.migrate(source, target, delete_others=delete_others, dry_run=dry_run)
        if not dry_run:
            _index_documents(parse_storage_url(target))
        return is_done

    try:
        settings = load_settings()
        from_url, to_url = parse_storage_url(source), parse_storage_url(target)
    except (SettingsError, ValueError):
        return work()
    if dry_run:
        return work()
    return _recorded(settings, to_url, Action.STORE_MIGRATE, str(from_url), work)


def import_files(settings: Settings, folder: Path, email: str | None) -> bool:
    """`transfer.import_files`, recorded."""
    url = settings.storage.url
    work = partial(transfer.import_files, url, folder, email)
    return _recorded(settings, url, Action.STORE_IMPORT, folder.name, work)


def back_up(settings: Settings, file: Path) -> bool:
    """`transfer.back_up`, recorded in the store, and not in the file."""
    url = settings.storage.url
    work = partial(transfer.back_up, url, file)
    return _recorded(settings, url, Action.STORE_BACKUP, file.name, work)


def restore(settings: Settings, file: Path, *, dry_run: bool) -> bool:
    """`transfer.restore`, recorded."""
    url = settings.storage.url

    def work() -> bool:
        is_done = transfer.restore(url, file, dry_run=dry_run)
        if not dry_run:
            _index_documents(url)
        return is_done

    return work() if dry_run else _recorded(settings, url, Action.STORE_RESTORE, file.name, work)


def _index_documents(url: StorageUrl) -> None:
    """Index the documents that were copied, so that the store is complete before it is served."""
    from chatbot.entrypoints.container.document_parts import (  # noqa: PLC0415 - slow
        build_document_repair,
    )

    async def repaired() -> Repaired:
        async with backend_of(url).storage(url, StorageOptions()) as storage:
            return await build_document_repair(storage).run()

    found = asyncio.run(repaired())
    if found:
        say(f"documents: {found}")


def _recorded(
    settings: Settings, url: StorageUrl, action: Action, subject: str, work: Callable[[], Found]
) -> Found:
    """Do the work, record it, and return its result, which is false if it is incomplete."""
    event = AuditEvent(action=action, object_type="store", object_id=subject)
    failed = replace(event, outcome=Outcome.FAILED)
    try:
        result = work()
    except SettingsError:
        raise
    except BaseException:
        _note(settings, url, failed)
        raise
    if not _note(settings, url, event if result else failed):
        say("chatbot: the command could not be recorded in the store", err=True)
    return result


def _note(settings: Settings, url: StorageUrl, event: AuditEvent) -> bool:
    """Record the event if there is a store; return whether it was recorded."""
    try:
        if backend_of(url).has_store(url):
            asyncio.run(_append(settings, url, event))
            return True
    except (ChatbotError, OSError):
        return False
    return False


async def _append(settings: Settings, url: StorageUrl, event: AuditEvent) -> None:
    from chatbot.entrypoints.container.parts import build_auditing  # noqa: PLC0415 - slow

    auditing = build_auditing(settings)
    async with backend_of(url).storage(url, StorageOptions()) as storage:
        await storage.transact(
            lambda tx: auditing.note(tx, host_principal(), event, journal=OPERATIONS)
        )
