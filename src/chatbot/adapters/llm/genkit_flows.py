"""Genkit flows for the Developer UI: the real use cases behind `chat`, `summarize`, `extract_memory`.

The Developer UI runs flows in its own thread and event loop, but clients and locks belong to the
application's loop, so each flow switches to that. HTTP routes never go through a flow.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass

from genkit import ActionRunContext, Genkit
from pydantic import BaseModel, ConfigDict

Json = dict[str, object]


class ChatInput(BaseModel):
    """The input of the flow `chat`, as of `POST /chat`."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    session_id: str | None = None


class SessionInput(BaseModel):
    """The session whose memory is to be updated."""

    model_config = ConfigDict(extra="forbid")

    session_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """What the flows run; `chat` yields pieces of text and then the answer as of `POST /chat`."""

    chat: Callable[[str, str | None], AsyncGenerator[str | Json]]
    summarize: Callable[[str], Coroutine[None, None, Json]]
    extract_memory: Callable[[str], Coroutine[None, None, Json]]


def define_flows(ai: Genkit, flows: Flows) -> None:
    """Register the flows; call it on the application's event loop."""
    home = asyncio.get_running_loop()

    async def on_app_loop(work: Coroutine[None, None, Json]) -> Json:
        """Run the work on the application's loop; cancelling here cancels it there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, home))

    @ai.flow(name="chat", description="One turn, as the client `default`.", chunk_type=str)
    async def chat(asked: ChatInput, ctx: ActionRunContext[str]) -> Json:
        here = asyncio.get_running_loop()

        async def turn() -> Json:
            answer: Json = {}
            async with aclosing(flows.chat(asked.prompt, asked.session_id)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        here.call_soon_threadsafe(ctx.send_chunk, piece)
                    else:
                        answer = piece
            return answer

        return await on_app_loop(turn())

    @ai.flow(name="summarize", description="Update a session's summary.")
    async def summarize(asked: SessionInput) -> Json:
        return await on_app_loop(flows.summarize(asked.session_id))

    @ai.flow(name="extract_memory", description="Update a session's structured memory.")
    async def extract_memory(asked: SessionInput) -> Json:
        return await on_app_loop(flows.extract_memory(asked.session_id))
