"""Opens and closes the parts of the service in order."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

from chatbot.application.audit_trail import AuditTrail
from chatbot.application.limit_rules import LimitRules
from chatbot.application.outside_changes import recorded
from chatbot.domain.audit import OPERATIONS, AuditEvent
from chatbot.domain.errors import StorageFailure
from chatbot.domain.identity import Principal
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container import limit_parts, parts, people_parts, sign_in_parts
from chatbot.entrypoints.container.document_parts import build_document_repair, build_file_ingestion
from chatbot.entrypoints.container.embeddings import build_late_embeddings, build_vector_reindexing
from chatbot.entrypoints.container.retention_parts import build_reindexing, build_retention
from chatbot.entrypoints.container.use_cases import Management, UseCases
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError


@asynccontextmanager
async def opened(use: UseCases, *, logs_head: bool = True) -> AsyncGenerator[None]:
    """Opens what needs opening; on exit, ends turns first and then closes in reverse order.

    With `logs_head`, the head of the audit is logged at the end.
    """
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(use.telemetry)
        await stack.enter_async_context(opened_store(use.storage))
        stack.push_async_callback(use.audit_keeper.aclose, logs_head=logs_head)
        stack.push_async_callback(use.request_limits.aclose)
        stack.push_async_callback(use.key_use.aclose)
        stack.push_async_callback(use.hasher.aclose)
        stack.push_async_callback(use.model.aclose)
        stack.push_async_callback(use.consolidation.aclose)
        stack.push_async_callback(use.embeddings.aclose)
        stack.push_async_callback(use.search.aclose)
        stack.push_async_callback(use.ingestion.aclose)
        stack.push_async_callback(use.chat.running.aclose)
        use.hasher.rest_while(lambda: use.chat.running.is_answering)
        use.audit_keeper.start()
        await use.model.warm_up()
        use.ingestion.start()
        await stack.enter_async_context(_repeated(use.document_check.repeat()))
        await stack.enter_async_context(_repeated(use.retention.repeat(use.erasures.sweep)))
        yield


@asynccontextmanager
async def opened_management(settings: Settings) -> AsyncGenerator[Management]:
    """Opens only the parts that commands need: the model, which is slow to import, is not built.

    Raises:
        SettingsError: the store cannot be opened.
    """
    storage, hasher = parts.build_storage(settings), sign_in_parts.build_hasher()
    auditing, checks = parts.build_auditing(settings), limit_parts.build_limit_checks(settings)
    writer = people_parts.build_user_writer(storage, auditing)
    erasures = people_parts.build_erasures(settings, storage, auditing, checks)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(opened_store(storage))
        stack.push_async_callback(hasher.aclose)
        if checks is not None:
            stack.push_async_callback(checks.aclose)
        embeddings = build_late_embeddings(settings, storage)
        stack.push_async_callback(embeddings.aclose)
        files = build_file_ingestion(settings, storage, auditing, embeddings)
        stack.push_async_callback(files.aclose)
        yield Management(
            people=people_parts.build_people(storage, hasher, writer, erasures),
            user_passwords=people_parts.build_user_passwords(hasher, writer),
            roles=people_parts.build_roles(storage, auditing),
            api_keys=sign_in_parts.build_api_keys(settings, storage, auditing),
            audit_trail=AuditTrail(storage, auditing),
            operations_trail=AuditTrail(storage, auditing, OPERATIONS),
            retention=build_retention(settings, storage, auditing),
            reindexing=build_reindexing(storage),
            vectors=build_vector_reindexing(settings, storage, embeddings.embedder),
            document_check=build_document_repair(storage),
            files=files,
            limits=limit_parts.build_limit_editor(storage, auditing, LimitRules(storage)),
            usage=limit_parts.build_usage_reports(settings, storage),
        )
        await embeddings.drain()


@asynccontextmanager
async def recorded_change(
    settings: Settings, principal: Principal, event: AuditEvent
) -> AsyncGenerator[None]:
    """Records in the store a change outside it, which the block makes.

    Raises:
        SettingsError: the store cannot be opened.
    """
    storage, auditing = parts.build_storage(settings), parts.build_auditing(settings)
    async with opened_store(storage), recorded(storage, auditing, principal, event):
        yield


@asynccontextmanager
async def opened_store(storage: Storage) -> AsyncGenerator[None]:
    """Opens the store, and closes it on exit.

    Raises:
        SettingsError: the store cannot be opened.
    """
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(storage)
        except StorageFailure as error:
            raise SettingsError(
                f"STORAGE_URL: {error} Run `chatbot doctor` for details."
            ) from error
        yield


@asynccontextmanager
async def _repeated(work: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    """Does the work in the background until the end of the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
