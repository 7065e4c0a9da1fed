"""The composition root: `build` wires everything from the settings.

Each part is made once, by a typed function of `parts`; tests pass their own parts:
`build(settings, storage=InMemoryStorage())`.
"""

from typing import TypeVar

from dependency_injector import containers, providers

from chatbot.application.administration import Administration
from chatbot.application.authentication import Authentication
from chatbot.application.chat import Chat
from chatbot.application.consolidation import Consolidation
from chatbot.application.memory import MemoryEditor
from chatbot.application.memory_rules import MemoryRules
from chatbot.application.memory_steps import MemorySteps
from chatbot.application.prompt import PromptBuilder
from chatbot.application.sessions import Sessions
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.security import IdentifyClient, PasswordHasher, Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container.parts import (
    build_administration,
    build_authentication,
    build_chat,
    build_genkit_model,
    build_hasher,
    build_identify_client,
    build_memory_editor,
    build_memory_rules,
    build_memory_steps,
    build_model,
    build_prompt_builder,
    build_storage,
    build_tokens,
    random_id,
    utc_now,
)
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.settings import Settings

Part = TypeVar("Part")


def build(
    settings: Settings,
    *,
    storage: Storage | None = None,
    model: ChatModel | None = None,
    hasher: PasswordHasher | None = None,
    tokens: Tokens | None = None,
    identify_client: IdentifyClient | None = None,
) -> UseCases:
    """Returns the use cases for these settings; a part that is passed replaces the built one.

    Raises:
        SettingsError: the model or the store is misconfigured.
    """
    parts = Container(settings=providers.Object(settings))
    _replace(parts.storage, storage)
    _replace(parts.model, model)
    _replace(parts.hasher, hasher)
    _replace(parts.tokens, tokens)
    _replace(parts.identify_client, identify_client)
    return UseCases(
        settings=settings,
        identify_client=parts.identify_client(),
        authentication=parts.authentication(),
        administration=parts.administration(),
        chat=parts.chat(),
        sessions=parts.sessions(),
        memory_editor=parts.memory_editor(),
        consolidation=parts.consolidation(),
        memory_steps=parts.memory_steps(),
        storage=parts.storage(),
        model=parts.model(),
        hasher=parts.hasher(),
        genkit_model=None if model is not None else parts.genkit_model(),
    )


def _replace(provider: providers.Provider[Part], part: Part | None) -> None:
    if part is not None:
        provider.override(providers.Object(part))


class Container(containers.DeclarativeContainer):
    """The parts and their dependencies."""

    settings: providers.Provider[Settings] = providers.Dependency(instance_of=Settings)
    identify_client: providers.Provider[IdentifyClient] = providers.Singleton(
        build_identify_client, settings
    )
    storage: providers.Provider[Storage] = providers.Singleton(build_storage, settings)
    genkit_model: providers.Provider[ChatModel] = providers.Singleton(build_genkit_model, settings)
    model: providers.Provider[ChatModel] = providers.Singleton(build_model, settings, genkit_model)
    hasher: providers.Provider[PasswordHasher] = providers.Singleton(build_hasher)
    tokens: providers.Provider[Tokens] = providers.Singleton(build_tokens, settings)
    prompt_builder: providers.Provider[PromptBuilder] = providers.Singleton(
        build_prompt_builder, settings
    )
    rules: providers.Provider[MemoryRules] = providers.Singleton(
        build_memory_rules, settings, model
    )
    memory_steps: providers.Provider[MemorySteps] = providers.Singleton(
        build_memory_steps, storage, model, rules
    )
    consolidation: providers.Provider[Consolidation] = providers.Singleton(
        Consolidation, memory_steps, rules, clock=utc_now
    )
    chat: providers.Provider[Chat] = providers.Singleton(
        build_chat,
        settings,
        storage,
        model,
        consolidation=consolidation,
        prompt_builder=prompt_builder,
    )
    sessions: providers.Provider[Sessions] = providers.Singleton(
        Sessions, storage, clock=utc_now, new_id=random_id
    )
    memory_editor: providers.Provider[MemoryEditor] = providers.Singleton(
        build_memory_editor, settings, storage, consolidation
    )
    authentication: providers.Provider[Authentication] = providers.Singleton(
        build_authentication, settings, storage, hasher, tokens
    )
    administration: providers.Provider[Administration] = providers.Singleton(
        build_administration, storage, hasher
    )
