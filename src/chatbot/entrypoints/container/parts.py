"""Builds each part of the service from the settings; only this package imports adapters.

What few commands need, or what is slow to import, is imported where it is built.
"""

import asyncio
import hmac
import os
import random
import secrets
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from chatbot.adapters.llm.resilience import WithRetries, WithTimeouts
from chatbot.adapters.llm.slots import WithSlots
from chatbot.adapters.llm.thinking import WithoutThinking
from chatbot.adapters.security.api_keys import DEFAULT_CLIENT, identify_by_setting
from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.security.jose_assertions import JoseAssertions
from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.adapters.security.refresh_tokens import HmacRefreshTokens
from chatbot.adapters.storage.backup_file import BackupFile
from chatbot.adapters.storage.legacy_sessions import LegacySessions
from chatbot.adapters.terminal_sessions import TerminalSessions
from chatbot.application.api_keys import ApiKeys
from chatbot.application.auditing import Auditing
from chatbot.application.authentication import Authentication
from chatbot.application.budgets import Budgets
from chatbot.application.chat import Chat
from chatbot.application.consolidation import Consolidation
from chatbot.application.end_users import EndUsers
from chatbot.application.erasure import Erasures
from chatbot.application.key_identification import KeyIdentification
from chatbot.application.learning import Learner
from chatbot.application.limit_counters import LimitChecks
from chatbot.application.memory import MemoryEditor
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.memory_steps import MemorySteps
from chatbot.application.metering import MeteredModel
from chatbot.application.prompt import PromptBuilder
from chatbot.application.session_room import SessionRoom
from chatbot.application.shares import Shares
from chatbot.application.token_pairs import TokenPairs
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.ports.backend import StorageOptions
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.provider import ModelProvider
from chatbot.domain.ports.security import IdentifyClient, PasswordHasher, Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.model import EMBEDDED_MODEL
from chatbot.entrypoints.settings.subject import SettingsError
from chatbot.entrypoints.storage_backends import backend_of

Json = dict[str, object]

GENKIT_MODEL = "chatbot.adapters.llm.genkit_model"

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


def build_provider(settings: Settings) -> ModelProvider:
    from chatbot.adapters.llm.openai_provider import OpenAIProvider  # noqa: PLC0415 - as below

    return OpenAIProvider(
        transport=settings.model.transport,
        base_url=settings.model.base_url,
        api_key=settings.model.raw_api_key,
        connect_timeout_s=settings.model.connect_timeout_s,
    )


def build_genkit_model(settings: Settings) -> ChatModel:
    # imported here: genkit takes seconds to import, and `chatbot admin create` needs no model
    from chatbot.adapters.llm.genkit_model import GenkitChatModel  # noqa: PLC0415
    from chatbot.adapters.llm.provider import build_genkit  # noqa: PLC0415
    from chatbot.adapters.llm.quirks import Quirks  # noqa: PLC0415

    try:
        ai = build_genkit(
            transport=settings.model.transport,
            api_key=settings.model.raw_api_key,
            base_url=settings.model.base_url,
            connect_timeout_s=settings.model.connect_timeout_s,
            turn_timeout_s=settings.model.turn_timeout_s,
            quirks=Quirks(
                max_tokens_field=settings.model.max_tokens_field,
                system_role=settings.model.system_role,
            ),
        )
    except ModelUnavailable as error:
        raise SettingsError(str(error)) from error
    name = settings.model.name or EMBEDDED_MODEL
    return GenkitChatModel(
        ai,
        name,
        temperature=settings.model.temperature,
        reasoning_effort=settings.model.reasoning_effort,
    )


def define_flows(
    model: ChatModel | None,
    *,
    chat: Callable[[str, str | None], AsyncGenerator[str | Json]],
    summarize: Callable[[str], Coroutine[None, None, Json]],
    extract_memory: Callable[[str], Coroutine[None, None, Json]],
) -> None:
    """Registers the flows of Genkit's Developer UI, unless the model is not Genkit's.

    Must be called on the application's event loop.
    """
    from chatbot.adapters.llm.genkit_flows import Flows, define_flows  # noqa: PLC0415 - as above
    from chatbot.adapters.llm.genkit_model import GenkitChatModel  # noqa: PLC0415

    if isinstance(model, GenkitChatModel):
        flows = Flows(chat=chat, summarize=summarize, extract_memory=extract_memory)
        define_flows(model.ai, flows)


def build_model(
    settings: Settings,
    genkit_model: ChatModel,
    telemetry: Telemetry,
    prompt_builder: PromptBuilder,
) -> ChatModel:
    thinks = settings.model.strip_thinking and genkit_model.name != EMBEDDED_MODEL
    model = WithoutThinking(genkit_model) if thinks else genkit_model
    first_token_s, turn_s = settings.model.first_token_timeout_s, settings.model.turn_timeout_s
    timed = WithTimeouts(
        WithRetries(
            model, sleep=asyncio.sleep, random=random.random, on_retry=telemetry.count_retry
        ),
        first_token_s=first_token_s,
        idle_s=settings.model.idle_timeout_s,
        turn_s=turn_s,
    )
    from chatbot.adapters.llm.network import OPENAI_URL  # noqa: PLC0415 - as above

    is_embedded = genkit_model.name == EMBEDDED_MODEL
    base_url = None if is_embedded else settings.model.base_url or OPENAI_URL
    reported = telemetry.model(timed, base_url, settings.model.temperature)
    metered = MeteredModel(reported, prompt_builder.estimator)
    return WithSlots(
        metered, max_concurrent=settings.model.max_concurrent, wait_s=min(first_token_s, turn_s)
    )


def build_identify_client(settings: Settings) -> IdentifyClient:
    return identify_by_setting(settings.auth.api_key.get_secret_value())


def build_key_identification(settings: Settings, storage: Storage) -> KeyIdentification:
    return KeyIdentification(storage, peppers=_peppers(settings), clock=utc_now)


def build_api_keys(settings: Settings, storage: Storage, auditing: Auditing) -> ApiKeys:
    return ApiKeys(
        storage, auditing, pepper=_peppers(settings)[0], clock=utc_now, random=secrets.token_bytes
    )


def build_end_users(settings: Settings, storage: Storage, auditing: Auditing) -> EndUsers:
    return EndUsers(
        storage,
        JoseAssertions(clock=utc_now),
        auditing,
        clock=utc_now,
        new_id=random_id,
        provisions=settings.auth.provision_users,
    )


def _peppers(settings: Settings) -> list[bytes]:
    """Returns the keys of the digests of API keys, the newest first."""
    return [each.encode() for each in settings.auth.api_key_peppers]


def build_tokens(settings: Settings) -> Tokens:
    secret, *previous = settings.auth.jwt_secrets
    ttl_s = settings.auth.jwt_ttl_minutes * 60
    return JoseTokens(secret, previous=previous, ttl_s=ttl_s, clock=utc_now)


def build_token_pairs(
    settings: Settings, storage: Storage, tokens: Tokens, auditing: Auditing
) -> TokenPairs:
    secret, *previous = settings.auth.jwt_secrets
    return TokenPairs(
        storage,
        tokens,
        HmacRefreshTokens(secret, previous=previous),
        auditing,
        clock=utc_now,
        new_id=random_id,
        lifetime=timedelta(days=settings.auth.refresh_ttl_days),
    )


def build_erasures(
    settings: Settings, storage: Storage, auditing: Auditing, checks: LimitChecks | None
) -> Erasures:
    return Erasures(
        storage,
        auditing,
        key=settings.auth.raw_audit_key.encode(),
        clock=utc_now,
        new_id=random_id,
        forget=partial(_forget_texts, storage),
        erase_limits=None if checks is None else checks.erase,
    )


def _forget_texts(storage: Storage) -> None:
    """Drop what this process keeps of conversations in memory."""
    storage.forget()
    if GENKIT_MODEL in sys.modules:
        from chatbot.adapters.llm.genkit_model import forget_messages  # noqa: PLC0415 - as above

        forget_messages()


def build_auditing(settings: Settings, telemetry: Telemetry = NO_TELEMETRY) -> Auditing:
    return Auditing(settings.auth.raw_audit_key.encode(), utc_now, telemetry)


def build_hasher() -> PasswordHasher:
    return Argon2Hasher()


def build_authentication(
    settings: Settings,
    storage: Storage,
    hasher: PasswordHasher,
    tokens: Tokens,
    *,
    token_pairs: TokenPairs,
    auditing: Auditing,
) -> Authentication:
    jwt_secret = settings.auth.jwt_secret.get_secret_value().encode()
    return Authentication(
        storage,
        hasher,
        tokens,
        token_pairs,
        auditing,
        clock=utc_now,
        processes=settings.http.workers,
        throttle_secret=hmac.digest(jwt_secret, b"chatbot log-in attempts", "sha256"),
    )


def build_prompt_builder(settings: Settings) -> PromptBuilder:
    return PromptBuilder(
        assistant_name=settings.assistant.name,
        company_instructions=settings.assistant.instructions,
        language=settings.assistant.language,
        window=settings.memory.window_messages,
        threshold=settings.memory.summarize_threshold,
        context_tokens=settings.model.context_tokens,
        max_output_tokens=settings.model.max_output_tokens,
        new_id=random_id,
    )


def build_memory_rules(settings: Settings, model: ChatModel) -> MemoryRules:
    return MemoryRules(
        window=settings.memory.window_messages,
        threshold=settings.memory.summarize_threshold,
        extract_every=settings.memory.extract_every_for(model.name),
        idle_s=settings.memory.idle_seconds,
        summary_max_words=settings.memory.summary_max_words,
        max_items=settings.memory.structured_max_items,
        structured=settings.memory.structured_enable,
        language=settings.assistant.language,
        max_output_tokens=settings.model.max_output_tokens,
    )


def build_memory_steps(
    storage: Storage, model: ChatModel, rules: MemoryRules, budgets: Budgets
) -> MemorySteps:
    return MemorySteps(storage, Learner(model, rules, new_id=random_id), rules, budgets)


def build_chat(
    settings: Settings,
    storage: Storage,
    model: ChatModel,
    *,
    consolidation: Consolidation,
    prompt_builder: PromptBuilder,
    telemetry: Telemetry,
    room: SessionRoom,
    shares: Shares,
    budgets: Budgets,
) -> Chat:
    return Chat(
        storage,
        model,
        prompt_builder,
        consolidation,
        room,
        budgets=budgets,
        clock=utc_now,
        new_id=random_id,
        max_prompt_chars=settings.assistant.max_prompt_chars,
        shares=shares,
        notice=settings.assistant.notice,
        telemetry=telemetry,
    )


def build_memory_editor(
    settings: Settings, storage: Storage, consolidation: Consolidation
) -> MemoryEditor:
    return MemoryEditor(
        storage,
        consolidation,
        new_id=random_id,
        max_items=settings.memory.structured_max_items,
        defaults=settings.assistant.default_preferences,
    )
