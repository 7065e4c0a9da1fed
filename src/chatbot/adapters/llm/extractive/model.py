"""`local/extractive` as a Genkit model."""

import asyncio
import json
import re
from collections.abc import Sequence

from genkit import ActionRunContext, Genkit, Part
from genkit.model import FinishReason, Message, ModelRequest, ModelResponse, ModelResponseChunk
from pydantic import BaseModel, JsonValue

from chatbot.adapters.llm.extractive.candidates import Passage
from chatbot.adapters.llm.extractive.language import CODES, language
from chatbot.adapters.llm.extractive.learning import learned
from chatbot.adapters.llm.extractive.replies import Conversation, reply
from chatbot.adapters.llm.extractive.summary import summarized
from chatbot.domain.memory_updates import update_from_json
from chatbot.domain.ports.model import Task

NAME = "local/extractive"

_BLOCK = re.compile(r"\A<data-[0-9a-f]{16}>\n([^\n]*)\n</data-[0-9a-f]{16}>\s*")
_MAX_CHARS = 4000  # of a message: what a person types; the rest is ignored
_MAX_MESSAGES = 40  # a batch of consolidation holds as many
_LOOP_CHARS = 2000  # more than this is read in a thread, beside the event loop


class _Recalled(BaseModel):
    by: str = ""
    text: str = ""


class _Block(BaseModel):
    memory: dict[str, JsonValue] = {}
    summary: str = ""
    max_words: int = 140
    messages: list[dict[str, JsonValue]] = []
    passages: list[Passage] | None = None
    recalled: list[_Recalled] = []


class Config(BaseModel):
    """The task, which no text of a request can change."""

    task: Task = Task.CHAT


def answer(
    task: str, messages: Sequence[tuple[str, str]], *, system: str = "", notice: bool = True
) -> str:
    """Perform the task for the newest of the (role, text) `messages`, in bounded time.

    Uses the first 4,000 characters of each message and the newest 40 messages.
    """
    *data, prompt = _BLOCK.split(messages[-1][1] if messages else "")
    block = _block(data[-1] if data else "{}")
    said = [
        str(each.get("text", ""))[:_MAX_CHARS]
        for each in block.messages[-_MAX_MESSAGES:]
        if each.get("role") != "assistant"
    ]
    memory = update_from_json(block.memory)
    if task == Task.SUMMARIZE:
        return summarized(block.summary, said, block.max_words)
    if task == Task.EXTRACT_MEMORY:
        return json.dumps(learned(said, memory).as_operations(), ensure_ascii=False)
    talk = Conversation(
        prompt=prompt[:_MAX_CHARS],
        earlier=[text for role, text in messages[:-1] if role == "user"][-_MAX_MESSAGES:],
        memory=memory,
        summary=block.summary,
        system=system,
        passages=block.passages,
        recalled=[each.text for each in block.recalled if each.by == "user"],
    )
    return reply(talk, notice=notice)


def _block(line: str) -> _Block:
    try:
        return _Block.model_validate_json(line)
    except ValueError:
        return _Block()


def define_extractive(ai: Genkit) -> None:
    """Register the model in a Genkit instance."""
    ai.define_model(NAME, _Model().run, config_schema=Config)


class _Model:
    """Processes long requests, and the first one, in a thread, off the event loop."""

    def __init__(self) -> None:
        self._is_warm = False

    async def run(self, request: ModelRequest[Config], ctx: ActionRunContext) -> ModelResponse:
        """Answer a Genkit request, word by word if it is streamed."""
        task = request.config.task if request.config else Task.CHAT
        turns = [(str(each.role), each.text) for each in request.messages if each.role != "system"]
        system = "\n".join(each.text for each in request.messages if each.role == "system")
        if self._is_warm and sum(len(text) for _, text in turns) <= _LOOP_CHARS:
            text = answer(task, turns, system=system)
        else:
            text = await asyncio.to_thread(self._warm_answer, task, turns, system)
        for word in re.findall(r"\s*\S+\s*", text) if ctx.is_streaming else ():
            ctx.send_chunk(ModelResponseChunk(role="model", content=[Part.from_text(word)]))
        message = Message(role="model", content=[Part.from_text(text)])
        return ModelResponse(message=message, finish_reason=FinishReason.STOP)

    def _warm_answer(self, task: str, turns: Sequence[tuple[str, str]], system: str) -> str:
        for code in CODES:  # neither is compiled on the event loop later
            language(code)
        self._is_warm = True
        return answer(task, turns, system=system)
