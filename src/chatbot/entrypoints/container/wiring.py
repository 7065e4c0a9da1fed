"""Wires the parts: each is built once, by a typed function of `parts`.

Tests pass their own parts: `build(settings, storage=InMemoryStorage())`.
"""

from typing import TypeVar

from dependency_injector import containers, providers

from chatbot.application.audit_queue import AuditQueue
from chatbot.application.audit_trail import AuditTrail
from chatbot.application.consolidation import Consolidation
from chatbot.application.data_export import DataExport
from chatbot.application.document_search import DocumentSearch
from chatbot.application.explanation import Explanations
from chatbot.application.key_use import KeyUse
from chatbot.application.limit_rules import LimitRules
from chatbot.application.memory_search import MemorySearch
from chatbot.application.mentions import Mentions
from chatbot.application.metering import MeteredModel
from chatbot.application.monitoring import Monitoring
from chatbot.application.oversight import Oversight
from chatbot.application.own_erasure import OwnErasure
from chatbot.application.own_password import OwnPassword
from chatbot.application.person_memory import OwnMemory
from chatbot.application.refusals import Refusals
from chatbot.application.sessions import Sessions
from chatbot.domain.ports.extraction import Extractor
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import Workers
from chatbot.entrypoints.container import (
    audit_parts,
    chat_parts,
    document_parts,
    extraction_parts,
    limit_parts,
    model_parts,
    parts,
    people_parts,
    retention_parts,
    search_parts,
    sign_in_parts,
    telemetry_parts,
)
from chatbot.entrypoints.container.embeddings import build_embeddings
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.settings import Settings

Part = TypeVar("Part")


class Container(containers.DeclarativeContainer):
    """The parts and their dependencies."""

    settings = providers.Dependency(instance_of=Settings)
    identify_client = providers.Singleton(sign_in_parts.build_identify_client, settings)
    workers: providers.Provider[Workers | None] = providers.Object(None)
    telemetry = providers.Singleton(telemetry_parts.build_telemetry, settings, workers)
    store = providers.Singleton(parts.build_storage, settings)
    storage = providers.Singleton(telemetry_parts.build_reporting_storage, store, telemetry)
    genkit_model = providers.Singleton(model_parts.build_genkit_model, settings)
    prompt_builder = providers.Singleton(model_parts.build_prompt_builder, settings)
    extractor = providers.Singleton(extraction_parts.build_extractor, settings)
    model = providers.Singleton(
        model_parts.build_model, settings, genkit_model, telemetry, prompt_builder
    )
    hasher = providers.Singleton(sign_in_parts.build_hasher)
    auditing = providers.Singleton(audit_parts.build_service_auditing, settings, telemetry)
    audit_trail = providers.Singleton(AuditTrail, storage, auditing)
    audit_queue = providers.Singleton(AuditQueue, storage, auditing)
    refusals = providers.Singleton(Refusals, audit_queue, parts.utc_now)
    audit_keeper = providers.Singleton(
        audit_parts.build_audit_keeper, settings, audit_trail, audit_queue, refusals
    )
    usage = providers.Singleton(limit_parts.build_usage_reports, settings, storage)
    data_export = providers.Singleton(
        DataExport, storage, auditing, usage, clock=parts.utc_now, new_id=parts.random_id
    )
    retention = providers.Singleton(retention_parts.build_retention, settings, storage, auditing)
    oversight = providers.Singleton(
        Oversight, storage, auditing, clock=parts.utc_now, new_id=parts.random_id
    )
    embeddings = providers.Singleton(
        build_embeddings, settings, storage, telemetry, genkit_model.provider
    )
    search = providers.Singleton(search_parts.build_search, storage, embeddings)
    limit_checks = providers.Singleton(limit_parts.build_limit_checks, settings)
    erasures = providers.Singleton(
        people_parts.build_erasures, settings, storage, auditing, limit_checks
    )
    tokens = providers.Singleton(sign_in_parts.build_tokens, settings)
    rules = providers.Singleton(chat_parts.build_memory_rules, settings, model)
    limit_rules = providers.Singleton(LimitRules, storage)
    budgets = providers.Singleton(
        limit_parts.build_budgets, settings, storage, limit_rules, limit_checks, model
    )
    request_limits = providers.Singleton(
        limit_parts.build_request_limits, settings, storage, limit_rules, limit_checks
    )
    limits = providers.Singleton(limit_parts.build_limit_editor, storage, auditing, limit_rules)
    mentions = providers.Singleton(Mentions, storage, search)
    memory_steps = providers.Singleton(
        chat_parts.build_memory_steps, storage, model, rules, budgets, mentions
    )
    consolidation = providers.Singleton(
        Consolidation, memory_steps, rules, clock=parts.utc_now, telemetry=telemetry
    )
    room = providers.Singleton(limit_parts.build_session_room, settings)
    shares = providers.Singleton(limit_parts.build_shares, settings)
    monitoring = providers.Singleton(Monitoring, telemetry)
    recaller = providers.Singleton(chat_parts.build_recaller, settings, storage, search)
    chat = providers.Singleton(
        chat_parts.build_chat,
        settings,
        storage,
        model,
        consolidation=consolidation,
        prompt_builder=prompt_builder,
        recaller=recaller,
        telemetry=telemetry,
        room=room,
        shares=shares,
        budgets=budgets,
        embeddings=embeddings,
        search=search,
    )
    ingestion = providers.Singleton(
        document_parts.build_ingestion, settings, storage, extractor, embeddings, telemetry
    )
    documents = providers.Singleton(document_parts.build_documents, settings, storage, auditing)
    document_uploads = providers.Singleton(
        document_parts.build_document_uploads, settings, storage, auditing, extractor, ingestion
    )
    document_search = providers.Singleton(DocumentSearch, storage, search)
    document_check = providers.Singleton(document_parts.build_document_check, storage, ingestion)
    sessions = providers.Singleton(
        Sessions, storage, room, clock=parts.utc_now, new_id=parts.random_id
    )
    explanations = providers.Singleton(Explanations, storage, clock=parts.utc_now)
    memory_editor = providers.Singleton(
        chat_parts.build_memory_editor, settings, storage, consolidation
    )
    own_memory = providers.Singleton(
        OwnMemory, storage, consolidation, mentions, clock=parts.utc_now, new_id=parts.random_id
    )
    memory_search = providers.Singleton(MemorySearch, storage, search)
    token_pairs = providers.Singleton(
        sign_in_parts.build_token_pairs, settings, storage, tokens, auditing, audit_queue
    )
    authentication = providers.Singleton(
        sign_in_parts.build_authentication,
        settings,
        storage,
        hasher,
        tokens,
        token_pairs=token_pairs,
        auditing=auditing,
        queue=audit_queue,
    )
    own_erasure = providers.Singleton(OwnErasure, erasures, authentication)
    key_identification = providers.Singleton(
        sign_in_parts.build_key_identification, settings, storage
    )
    api_keys = providers.Singleton(sign_in_parts.build_api_keys, settings, storage, auditing)
    user_writer = providers.Singleton(people_parts.build_user_writer, storage, auditing)
    people = providers.Singleton(people_parts.build_people, storage, hasher, user_writer, erasures)
    user_passwords = providers.Singleton(people_parts.build_user_passwords, hasher, user_writer)
    own_password = providers.Singleton(
        OwnPassword, storage, authentication, token_pairs, hasher, auditing
    )
    roles = providers.Singleton(people_parts.build_roles, storage, auditing)
    end_users = providers.Singleton(sign_in_parts.build_end_users, settings, storage, auditing)
    key_use = providers.Singleton(KeyUse, storage, auditing, clock=parts.utc_now)


def build(
    settings: Settings,
    *,
    storage: Storage | None = None,
    model: ChatModel | None = None,
    hasher: PasswordHasher | None = None,
    extractor: Extractor | None = None,
    workers: Workers | None = None,
) -> UseCases:
    """Returns the use cases for these settings; a part that is passed replaces the built one.

    Raises:
        SettingsError: the model or the store is misconfigured.
    """
    container = Container(settings=providers.Object(settings))
    _replace(container.workers, workers)
    _replace(container.store, storage)
    if model is not None:
        _replace(container.model, MeteredModel(model, container.prompt_builder().estimator))
    _replace(container.hasher, hasher)
    _replace(container.extractor, extractor)
    telemetry = container.telemetry()  # first: see `build_telemetry`
    use = UseCases(
        settings=settings,
        identify_client=container.identify_client(),
        key_identification=container.key_identification(),
        api_keys=container.api_keys(),
        key_use=container.key_use(),
        end_users=container.end_users(),
        auditing=container.auditing(),
        erasures=container.erasures(),
        audit_trail=container.audit_trail(),
        audit_keeper=container.audit_keeper(),
        refusals=container.refusals(),
        oversight=container.oversight(),
        retention=container.retention(),
        own_erasure=container.own_erasure(),
        data_export=container.data_export(),
        authentication=container.authentication(),
        token_pairs=container.token_pairs(),
        request_limits=container.request_limits(),
        limits=container.limits(),
        usage=container.usage(),
        people=container.people(),
        user_passwords=container.user_passwords(),
        own_password=container.own_password(),
        roles=container.roles(),
        chat=container.chat(),
        sessions=container.sessions(),
        explanations=container.explanations(),
        documents=container.documents(),
        document_uploads=container.document_uploads(),
        document_search=container.document_search(),
        document_check=container.document_check(),
        ingestion=container.ingestion(),
        memory_editor=container.memory_editor(),
        own_memory=container.own_memory(),
        memory_search=container.memory_search(),
        consolidation=container.consolidation(),
        memory_steps=container.memory_steps(),
        search=container.search(),
        embeddings=container.embeddings(),
        storage=container.storage(),
        model=container.model(),
        hasher=container.hasher(),
        monitoring=container.monitoring(),
        telemetry=telemetry,
        genkit_model=None if model is not None else container.genkit_model(),
    )
    telemetry.observe(
        active_turns=lambda: use.chat.running.count, backlog=lambda: use.consolidation.backlog
    )
    return use


def _replace(provider: providers.Provider[Part], part: Part | None) -> None:
    if part is not None:
        provider.override(providers.Object(part))
