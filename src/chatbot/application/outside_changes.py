"""Records changes outside the store, such as to a settings file or a backup."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AuditEvent, Outcome, Stage
from chatbot.domain.errors import StorageFailure, cause_of
from chatbot.domain.identity import Principal
from chatbot.domain.ports.storage import Storage

logger = logging.getLogger("chatbot.audit")


@asynccontextmanager
async def recorded(
    storage: Storage, auditing: Auditing, principal: Principal, event: AuditEvent
) -> AsyncGenerator[None]:
    """Record a change that the block makes: the intent before it, and the outcome after it.

    Raises:
        AuditUnavailable, StorageUnavailable, StorageFull: the intent cannot be written, and the
            block was not entered.
    """
    await _note(storage, auditing, principal, replace(event, stage=Stage.INTENT))
    outcome = Outcome.FAILED
    try:
        yield
        outcome = event.outcome
    finally:
        try:
            done = replace(event, stage=Stage.DONE, outcome=outcome)
            await _note(storage, auditing, principal, done)
        except StorageFailure as error:  # that it was intended is recorded already
            logger.error("the end of a change could not be recorded: %s", cause_of(error))  # noqa: TRY400 # no traceback


async def _note(
    storage: Storage, auditing: Auditing, principal: Principal, event: AuditEvent
) -> None:
    await storage.transact(lambda tx: auditing.note(tx, principal, event))
