"""A model that gives scripted answers, for tests, demonstrations and load tests."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass

from chatbot.domain.chat import FinishReason
from chatbot.domain.errors import ModelError, ModelFailure
from chatbot.domain.ports.model import ChatModel, Completion, ModelRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """An answer in pieces. After them it waits for `pause`, then fails or, without one, ends."""

    pieces: tuple[str, ...] = ()
    pause: Callable[[], Awaitable[object]] | None = None
    failure: ModelFailure | None = None


Answer = str | Completion | ModelFailure | Script


class ScriptedModel(ChatModel):
    """Returns its answers one after another, or those of a function of the request.

    `requests` records every request, `closed` whether the model was closed.
    """

    def __init__(
        self,
        answers: Iterable[Answer] | Callable[[ModelRequest], Answer],
        *,
        name: str = "local/scripted",
    ) -> None:
        self.name = name
        self.requests: list[ModelRequest] = []
        self.closed = False
        self._answer = answers if callable(answers) else _one_by_one(answers)

    async def complete(self, request: ModelRequest) -> Completion:
        script, completion = self._next(request)
        return await _end(script, completion)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        script, completion = self._next(request)
        for piece in script.pieces:
            yield piece
        yield await _end(script, completion)

    async def warm_up(self) -> None:
        """No-op."""

    async def aclose(self) -> None:
        self.closed = True

    def _next(self, request: ModelRequest) -> tuple[Script, Completion]:
        self.requests.append(request)
        answer = self._answer(request)
        match answer:
            case Completion():
                return Script(pieces=_words(answer.text)), answer
            case ModelFailure():
                answer = Script(failure=answer)
            case str():
                answer = Script(pieces=_words(answer))
        text = "".join(answer.pieces)
        return answer, Completion(text=text, finish_reason=FinishReason.STOP, usage=None)


def _one_by_one(answers: Iterable[Answer]) -> Callable[[ModelRequest], Answer]:
    left = iter(answers)
    return lambda _: next(left, ModelError("The script has no further answer."))


async def _end(script: Script, completion: Completion) -> Completion:
    if script.pause is not None:
        await script.pause()
    if script.failure is not None:
        raise script.failure
    return completion


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\s*\S+|\s+", text))
