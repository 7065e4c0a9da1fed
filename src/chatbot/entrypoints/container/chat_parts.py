"""Builds the turns of a conversation, and its memory."""

from chatbot.application.budgets import Budgets
from chatbot.application.chat import Chat
from chatbot.application.consolidation import Consolidation
from chatbot.application.learning import Learner
from chatbot.application.memory import MemoryEditor
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.memory_steps import MemorySteps
from chatbot.application.mentions import Mentions
from chatbot.application.prompt import PromptBuilder
from chatbot.application.recall import Recaller
from chatbot.application.session_room import SessionRoom
from chatbot.application.shares import Shares
from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Owner
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import Telemetry
from chatbot.entrypoints.container.embeddings import Embeddings
from chatbot.entrypoints.container.parts import random_id, utc_now
from chatbot.entrypoints.settings import Settings


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
    storage: Storage,
    model: ChatModel,
    rules: MemoryRules,
    budgets: Budgets,
    mentions: Mentions,
) -> MemorySteps:
    learner = Learner(model, rules, clock=utc_now, new_id=random_id)
    return MemorySteps(storage, learner, rules, budgets, mentions)


def build_recaller(settings: Settings, storage: Storage, search: Search) -> Recaller:
    return Recaller(
        storage,
        search,
        memory=settings.recall.memory,
        documents=settings.recall.documents == "auto",
    )


def build_chat(
    settings: Settings,
    storage: Storage,
    model: ChatModel,
    *,
    consolidation: Consolidation,
    prompt_builder: PromptBuilder,
    recaller: Recaller,
    telemetry: Telemetry,
    room: SessionRoom,
    shares: Shares,
    budgets: Budgets,
    embeddings: Embeddings,
    search: Search,
) -> Chat:
    def answered(owner: Owner, session_id: SessionId) -> None:
        embeddings.answered(owner, session_id)
        search.answered(owner)

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
        recall=recaller.recall,
        answered=answered,
        telemetry=telemetry,
    )


def build_memory_editor(
    settings: Settings, storage: Storage, consolidation: Consolidation
) -> MemoryEditor:
    return MemoryEditor(
        storage,
        consolidation,
        clock=utc_now,
        new_id=random_id,
        max_items=settings.memory.structured_max_items,
        defaults=settings.assistant.default_preferences,
    )
