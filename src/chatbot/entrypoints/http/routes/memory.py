"""/sessions/{id}/summary and /memory: read and correct the memory of a session."""

from chatbot.domain.errors import Forbidden, SessionBusy, StorageFull
from chatbot.domain.memory import Update
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import PathSessionId, UseCases, WithoutFields
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.memory import (
    MemoryAnswer,
    MemoryBody,
    SummaryAnswer,
    SummaryBody,
)

router = routing.router(tag="memory", prefix="/sessions/{session_id}")


@router.get("/summary")
@documented(Forbidden)
async def read_summary(caller: Caller, session_id: PathSessionId, use: UseCases) -> SummaryAnswer:
    """Return the running summary."""
    found = await use.memory_editor.read(caller, session_id)
    return SummaryAnswer(session_id=session_id, summary=found.memory.summary)


@router.put("/summary")
@documented(Forbidden, SessionBusy, StorageFull)
async def put_summary(
    body: SummaryBody, caller: Caller, session_id: PathSessionId, use: UseCases
) -> SummaryAnswer:
    """Replace the running summary."""
    found = await use.memory_editor.put_summary(caller, session_id, body.summary)
    return SummaryAnswer(session_id=session_id, summary=found.memory.summary)


@router.post("/summary/reset", dependencies=[WithoutFields])
@documented(Forbidden, SessionBusy, StorageFull)
async def reset_summary(caller: Caller, session_id: PathSessionId, use: UseCases) -> SummaryAnswer:
    """Empty the running summary; the messages that it covered are not summarised again."""
    found = await use.memory_editor.put_summary(caller, session_id, "")
    return SummaryAnswer(session_id=session_id, summary=found.memory.summary)


@router.get("/memory")
@documented(Forbidden)
async def read_memory(caller: Caller, session_id: PathSessionId, use: UseCases) -> MemoryAnswer:
    """Return the structured memory, including that of the last turn if it is ready within 2 s.

    `pending: true` means that the last turn is still being processed.
    """
    found, pending = await use.memory_editor.read_learned(caller, session_id)
    defaults = use.settings.assistant.default_preferences
    return MemoryAnswer.of(session_id, found, defaults, pending=pending)


@router.put("/memory")
@documented(Forbidden, SessionBusy, StorageFull)
async def put_memory(
    body: MemoryBody, caller: Caller, session_id: PathSessionId, use: UseCases
) -> MemoryAnswer:
    """Replace the structured memory."""
    update = body.structured_memory.as_update()
    found = await use.memory_editor.put_structured(caller, session_id, update)
    return MemoryAnswer.of(session_id, found, use.settings.assistant.default_preferences)


@router.post("/memory/reset", dependencies=[WithoutFields])
@documented(Forbidden, SessionBusy, StorageFull)
async def reset_memory(caller: Caller, session_id: PathSessionId, use: UseCases) -> MemoryAnswer:
    """Empty the structured memory; earlier messages are not extracted again."""
    found = await use.memory_editor.put_structured(caller, session_id, Update())
    return MemoryAnswer.of(session_id, found, use.settings.assistant.default_preferences)
