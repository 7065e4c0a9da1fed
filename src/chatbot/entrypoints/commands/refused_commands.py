"""Records refused commands in the audit; the only place that does."""

import asyncio
from collections.abc import Sequence
from itertools import takewhile

from chatbot.domain.audit import Action, AuditEvent, Outcome
from chatbot.domain.errors import AuditUnavailable, ChatbotError, Forbidden, LastAdministrator
from chatbot.entrypoints.commands.command_line import host_principal, say
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.settings.subject import SettingsError


def record_refused(error: Exception, arguments: Sequence[str]) -> None:
    """Record that a command was refused by policy. If that fails, the command still stays refused."""
    if not isinstance(error, Forbidden | LastAdministrator):
        return
    words = takewhile(str.isalpha, arguments[:2])  # what follows may be an e-mail address
    event = AuditEvent(
        action=Action.ACCESS_REFUSE,
        outcome=Outcome.REFUSED,
        object_type="command",
        object_id=" ".join(words),
        reason=type(error).__name__,
    )
    try:
        asyncio.run(_note(event))
    except (AuditUnavailable, ChatbotError, SettingsError):
        say("chatbot: the refusal could not be recorded in the audit", err=True)


async def _note(event: AuditEvent) -> None:
    from chatbot.entrypoints.container import parts  # noqa: PLC0415 - slow
    from chatbot.entrypoints.lifecycle import opened_store  # noqa: PLC0415 - slow

    settings = load_settings()
    storage, auditing = parts.build_storage(settings), parts.build_auditing(settings)
    async with opened_store(storage):
        await storage.transact(lambda tx: auditing.note(tx, host_principal(), event))
