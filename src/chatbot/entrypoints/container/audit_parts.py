"""Builds the parts of the audit that only the service needs."""

import atexit
import logging
import sys
from datetime import timedelta

from chatbot.application.audit_keeper import AuditKeeper
from chatbot.application.audit_queue import AuditQueue
from chatbot.application.audit_trail import AuditTrail
from chatbot.application.auditing import Auditing
from chatbot.application.refusals import Refusals
from chatbot.domain.ports.telemetry import Telemetry
from chatbot.entrypoints.container.parts import build_auditing, utc_now
from chatbot.entrypoints.log_stream import UnblockedStream
from chatbot.entrypoints.settings import Settings

_DRAINED_WITHIN_S = 5.0
logger = logging.getLogger("chatbot.audit")


def build_service_auditing(settings: Settings, telemetry: Telemetry) -> Auditing:
    """Like `build_auditing`, but also writes the events to stdout if configured."""
    if not settings.audit.stdout:
        return build_auditing(settings, telemetry)
    is_shared = settings.http.workers > 1
    stream = UnblockedStream(sys.stdout, is_shared=is_shared, on_dropped=_log_dropped_events)
    atexit.register(stream.drain, _DRAINED_WITHIN_S)
    return Auditing(
        settings.auth.raw_audit_key.encode(),
        utc_now,
        telemetry,
        announce=lambda line: stream.write(f"{line}\n"),
    )


def _log_dropped_events(count: int) -> None:
    logger.error("stdout is not being read: %d audit events were written only to the store", count)


def build_audit_keeper(
    settings: Settings, trail: AuditTrail, queue: AuditQueue, refusals: Refusals
) -> AuditKeeper:
    days = settings.audit.retention_days
    retention = timedelta(days=days) if days else None
    return AuditKeeper(trail, queue, refusals, clock=utc_now, retention=retention)
