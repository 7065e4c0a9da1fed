"""Removes the thinking that some models write before their answer, as `<think>...</think>`."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from chatbot.adapters.llm.resilience import Wrapped
from chatbot.domain.chat import FinishReason
from chatbot.domain.errors import ModelError
from chatbot.domain.ports.model import Completion, ModelRequest

OUTPUT_SPENT = (
    "The language model used all its output tokens for thinking: increase MODEL_MAX_OUTPUT_TOKENS."
)

_TAGS = ("<think>", "<thinking>", "<thought>", "<reasoning>", "[think]")
_LONGEST_TAG = max(map(len, _TAGS))


class WithoutThinking(Wrapped):
    """Removes thinking at the start of each answer, with the whitespace around it.

    An answer that is only thinking is a `ModelError`. Other text is passed on as it arrives.
    """

    async def complete(self, request: ModelRequest) -> Completion:
        completion = await self._model.complete(request)
        head = _Head()
        return _without(completion, head.feed(completion.text) + head.flush())

    async def stream(self, request: ModelRequest) -> AsyncGenerator[str | Completion]:
        head, texts = _Head(), list[str]()
        async with aclosing(self._model.stream(request)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    texts.append(head.feed(piece))
                    yield texts[-1]
                    continue
                if rest := head.flush():
                    texts.append(rest)
                    yield rest
                yield _without(piece, "".join(texts))


class _Head:
    """Filters thinking from the start of an answer."""

    def __init__(self) -> None:
        self._held = ""
        self._end_tag = ""
        self._was_thinking = False
        self._is_over = False

    def feed(self, piece: str) -> str:
        """Return the text that is known to belong to the answer."""
        if self._is_over:
            return piece
        self._held += piece
        while self._step():
            pass
        return self._released()

    def flush(self) -> str:
        """Return the rest; unfinished thinking is dropped."""
        return "" if self._end_tag else self._taken()

    def _step(self) -> bool:
        """Consume one tag; return False if more text is needed."""
        if self._end_tag:
            # Not lower(): it may change the length, as with a Turkish capital I.
            end = re.search(re.escape(self._end_tag), self._held, re.IGNORECASE | re.ASCII)
            if end is None:  # an end tag may be split
                self._held = self._held[-len(self._end_tag) :]
                return False
            self._held = self._held[end.end() :]
            self._end_tag, self._was_thinking = "", True
            return True
        begun = self._held.lstrip()
        start = begun[:_LONGEST_TAG].lower()
        for tag in _TAGS:
            if start.startswith(tag):
                self._held = begun[len(tag) :]
                self._end_tag = f"{tag[0]}/{tag[1:]}"
                return True
        self._is_over = not any(tag.startswith(start) for tag in _TAGS)
        return False

    def _released(self) -> str:
        return self._taken() if self._is_over else ""

    def _taken(self) -> str:
        text = self._held.lstrip() if self._was_thinking else self._held
        self._held = ""
        return text


def _without(completion: Completion, text: str) -> Completion:
    """The completion with the remaining text.

    Raises:
        ModelError: there is none, although the model was not blocked.
    """
    is_spent = completion.text.strip() and not text.strip()
    if is_spent and completion.finish_reason is not FinishReason.BLOCKED:
        raise ModelError(OUTPUT_SPENT)
    return replace(completion, text=text)
