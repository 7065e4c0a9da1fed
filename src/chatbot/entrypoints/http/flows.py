"""The use cases as Genkit flows for the Developer UI, run as the client `default`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from chatbot.application.turn import Delta, Reply
from chatbot.domain.chat import SessionId
from chatbot.entrypoints.container.model_parts import Json, define_flows
from chatbot.entrypoints.container.parts import DEFAULT_PRINCIPAL
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.http.schemas.chat import chat_answer
from chatbot.entrypoints.http.schemas.memory import StructuredMemorySchema


def register_flows(use: UseCases) -> None:
    """Registers the flows; call it on the event loop of the application."""
    caller = DEFAULT_PRINCIPAL
    steps = use.memory_steps
    defaults = use.settings.assistant.default_preferences

    async def chat(prompt: str, session_id: str | None) -> AsyncGenerator[str | Json]:
        session = SessionId(session_id) if session_id is not None else None
        async with aclosing(use.chat.reply(caller, session, prompt, stream=True)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    yield event.text
                elif isinstance(event, Reply):
                    yield chat_answer(event)

    async def summarize(session_id: str) -> Json:
        memory = await steps.summarize(caller.owner, SessionId(session_id), at_once=True)
        return {"session_id": session_id, "summary": memory.summary}

    async def extract_memory(session_id: str) -> Json:
        await steps.extract(caller.owner, SessionId(session_id), at_once=True)
        found = await use.memory_editor.read(caller, SessionId(session_id))
        structured = StructuredMemorySchema.of(found.memory, defaults)
        return {"session_id": session_id, "structured_memory": structured.model_dump()}

    define_flows(use.genkit_model, chat=chat, summarize=summarize, extract_memory=extract_memory)
