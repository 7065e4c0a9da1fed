"""Builds the limits of callers: requests, answers and sessions."""

from datetime import timedelta

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.auditing import Auditing
from chatbot.application.budgets import Budgets
from chatbot.application.limit_counters import LimitChecks, StoreLimitCounters
from chatbot.application.limit_rules import LimitRules
from chatbot.application.limits import LimitEditor
from chatbot.application.request_limits import RequestLimits
from chatbot.application.session_room import SessionRoom
from chatbot.application.shares import Shares
from chatbot.application.usage import UsageReports
from chatbot.domain.ports.limit_counters import LimitCounters
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.parts import utc_now
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError


def build_limit_counters(settings: Settings) -> LimitCounters | None:
    """Returns the counters of LIMITS_URL, not connected yet; None if limits are counted in the store.

    Raises:
        SettingsError: the client for Redis is not installed.
    """
    if settings.limits.url is None:
        return None
    try:
        from chatbot.adapters.limits.redis_counters import RedisCounters  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise SettingsError(
            "LIMITS_URL: requires the Redis client. Fix: install the extra `redis`; in a checkout, "
            "run `make install`."
        ) from error
    return RedisCounters(settings.limits.url.raw)


def build_limit_checks(settings: Settings) -> LimitChecks | None:
    """Returns the checks of LIMITS_URL; None if limits are counted in the store."""
    counters = build_limit_counters(settings)
    return None if counters is None else LimitChecks(counters)


def build_request_limits(
    settings: Settings, storage: Storage, rules: LimitRules, checks: LimitChecks | None
) -> RequestLimits:
    """A single process on JSON files counts in memory, which saves 0.15 ms of CPU a request.

    With a counting server, requests are counted while the caller is looked up.
    """
    url, windows = settings.storage.url, checks or LimitChecks(StoreLimitCounters(storage))
    is_alone = settings.http.workers == 1 and not url.is_database and checks is None
    in_memory = LimitChecks(StoreLimitCounters(InMemoryStorage()))
    return RequestLimits(
        rules,
        minutes=in_memory if is_alone else windows,
        windows=windows,
        per_minute=settings.limits.rate_limit_per_minute,
        zone=settings.limits.timezone,
        clock=utc_now,
        ahead=checks is not None or (url.is_database and url.path is None),
    )


def build_budgets(
    settings: Settings,
    storage: Storage,
    rules: LimitRules,
    checks: LimitChecks | None,
    model: ChatModel,
) -> Budgets:
    waits_s = min(settings.model.first_token_timeout_s, settings.model.turn_timeout_s)
    return Budgets(
        storage,
        rules,
        checks,
        model=model.name,
        zone=settings.limits.timezone,
        clock=utc_now,
        reserved_for=timedelta(seconds=settings.model.turn_timeout_s + waits_s),
    )


def build_session_room(settings: Settings) -> SessionRoom:
    return SessionRoom(max_per_owner=settings.limits.max_sessions_per_user)


def build_shares(settings: Settings) -> Shares:
    return Shares(
        per_user=settings.limits.max_streams_per_user,
        per_client=settings.model.max_turns_per_client,
    )


def build_limit_editor(storage: Storage, auditing: Auditing, rules: LimitRules) -> LimitEditor:
    return LimitEditor(storage, auditing, changed=rules.forget)


def build_usage_reports(settings: Settings, storage: Storage) -> UsageReports:
    return UsageReports(storage, zone=settings.limits.timezone, clock=utc_now)
