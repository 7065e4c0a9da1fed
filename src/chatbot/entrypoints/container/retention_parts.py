"""Builds the retention, and the check of the search index."""

from collections.abc import Sequence

from chatbot.application.auditing import Auditing
from chatbot.application.reindexing import Reindexing
from chatbot.application.retention import Retention
from chatbot.domain.limits import LimitKind, Subject
from chatbot.domain.ports.storage import Storage
from chatbot.domain.retention import RetentionRule
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import random_id, utc_now
from chatbot.entrypoints.settings import Settings


def build_retention(settings: Settings, storage: Storage, auditing: Auditing) -> Retention:
    return Retention(
        storage,
        auditing,
        sessions_days=settings.retention.sessions_days,
        messages_days=settings.retention.messages_days,
        rules=_retention_rules,
        clock=utc_now,
        new_id=random_id,
    )


def build_reindexing(storage: Storage) -> Reindexing:
    return Reindexing(storage, new_id=random_id)


def _retention_rules(tx: Transaction) -> Sequence[RetentionRule]:
    """Returns the limits of the kind `retention`."""
    return [
        RetentionRule(role=each.name if each.subject is Subject.ROLE else None, days=each.limit)
        for each in tx.limits.all()
        if each.kind is LimitKind.RETENTION
    ]
