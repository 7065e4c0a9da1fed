"""The data block of a prompt: memory, recalled messages and passages, each with a share of the
budget.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

from chatbot.application.data_blocks import (
    json_line,
    memory_content,
    message_content,
    passage_content,
)
from chatbot.application.prompt_history import LeftOut, Scope
from chatbot.domain.answer_details import PromptPart
from chatbot.domain.memory import RecalledItem
from chatbot.domain.recall import KnownItem, PastMessage, Recalled, RecalledPassage

# Shares of the prompt's budget; the conversation itself needs the rest.
_MEMORY_SHARE = 0.25
_MESSAGES_SHARE = 0.1
_PASSAGES_SHARE = 0.2
_OF_PREFIX = 0.18
"""So that 70 of 100 tokens of a long conversation's prompts are a prefix of the one before."""

Found = TypeVar("Found", PastMessage, RecalledPassage)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptData:
    """The content of a data block. Passages are numbered from 1; None: no documents were searched."""

    summary: str = ""
    items: tuple[KnownItem, ...] = ()
    messages: tuple[PastMessage, ...] = ()
    passages: tuple[RecalledPassage, ...] | None = None

    @property
    def content(self) -> dict[str, object]:
        """Return the content as the model sees it."""
        found = memory_content(self.summary, self.items)
        if self.messages:
            found["recalled"] = [message_content(each) for each in self.messages]
        if self.passages is not None:
            numbered = enumerate(self.passages, start=1)
            found["passages"] = [passage_content(n, each) for n, each in numbered]
        return found

    @property
    def memory_used(self) -> tuple[RecalledItem, ...]:
        """Return what is reported to the caller."""
        summary = [RecalledItem(id="summary", kind="summary", text=self.summary)]
        items = (each.as_recalled for each in self.items)
        messages = (each.as_recalled for each in self.messages)
        return (*(summary if self.summary else ()), *items, *messages)


class DataShares:
    """Selects as much of each kind as fits into its share of the budget.

    Args:
        tokens: estimates the tokens of texts.
    """

    def __init__(self, tokens: Callable[..., int]) -> None:
        self._tokens = tokens

    def within(
        self, budget: float, summary: str, recalled: Recalled, scope: Scope, *, prefix: int | None
    ) -> PromptData:
        """Return the content for a prompt with this budget.

        `prefix` are the tokens of system text and history in a long conversation: recalled messages
        and passages, which change with each turn, take less than a fifth of them, but for the best passage.
        """
        if scope not in {Scope.WHOLE, Scope.NO_PASSAGES}:
            return PromptData()
        data = self._memory(summary, recalled.items, budget * _MEMORY_SHARE)
        if scope is Scope.NO_PASSAGES:
            return data
        most = budget if prefix is None else _OF_PREFIX * prefix
        room = min(budget * _MESSAGES_SHARE, most / 4)
        data = replace(data, messages=self._best(recalled.messages, message_content, room))
        if recalled.passages is None:
            return data
        content = partial(passage_content, 1)
        first = self._best(recalled.passages[:1], content, budget * _PASSAGES_SHARE)
        taken = self._tokens(*(json_line(content(each)) for each in first))
        room = min(budget * _PASSAGES_SHARE, most) - taken
        return replace(data, passages=first + self._best(recalled.passages[1:], content, room))

    def _memory(self, summary: str, items: tuple[KnownItem, ...], limit: float) -> PromptData:
        while self._tokens(json_line(memory_content(summary, items))) > limit:
            shorter = _shortened(items)
            if shorter is None:
                summary = summary[: len(summary) // 2]
            else:
                items = shorter
        return PromptData(summary=summary, items=items)

    def _best(
        self,
        found: Sequence[Found],
        content: Callable[[Found], Mapping[str, object]],
        room: float,
    ) -> tuple[Found, ...]:
        kept: list[Found] = []
        for each in found:
            size = self._tokens(json_line(content(each)))
            if size <= room:
                kept.append(each)
                room -= size
        return tuple(kept)

    def parts(
        self, kept: PromptData, summary: str, recalled: Recalled, scope: Scope
    ) -> tuple[PromptPart, ...]:
        """Return everything that was found as parts of the prompt, included or left out."""
        given = {each.id for each in kept.items}
        given |= {each.id for each in kept.messages} | {each.id for each in kept.passages or ()}

        def part(
            kind: Literal["item", "recalled", "passage"], key: str, text: str, rank: int | None
        ) -> PromptPart:
            why = None if key in given else _reason(kind, scope)
            return PromptPart(kind=kind, id=key, tokens=self._tokens(text), rank=rank, reason=why)

        whole = PromptPart(
            kind="summary",
            tokens=self._tokens(summary),
            reason=None if kept.summary == summary else _reason("summary", scope),
        )
        return (
            *((whole,) if summary else ()),
            *(part("item", each.id, each.as_recalled.text, each.rank) for each in recalled.items),
            *(part("recalled", each.id, each.text, each.rank) for each in recalled.messages),
            *(part("passage", each.id, each.text, each.rank) for each in recalled.passages or ()),
        )


def _reason(kind: str, scope: Scope) -> LeftOut:
    """Return why a part of this kind that was found is not in the prompt."""
    kinds_left_out = {
        Scope.WHOLE: frozenset[str](),
        Scope.NO_PASSAGES: frozenset({"recalled", "passage"}),
    }
    is_by_scope = scope not in kinds_left_out or kind in kinds_left_out[scope]
    return LeftOut.RETRY if is_by_scope else LeftOut.BUDGET


def _shortened(items: tuple[KnownItem, ...]) -> tuple[KnownItem, ...] | None:
    """The items without the first fact or task; without them, without the newest key.

    None if there are no items.
    """
    counts = {kind: sum(each.kind == kind for each in items) for kind in _KINDS}
    if counts["fact"] or counts["todo"]:
        kind = "fact" if counts["fact"] > counts["todo"] else "todo"
        index = next(i for i, each in enumerate(items) if each.kind == kind)
    elif counts["preference"] or counts["profile"]:
        kind = "preference" if counts["preference"] > counts["profile"] else "profile"
        index = max(i for i, each in enumerate(items) if each.kind == kind)
    else:
        return None
    return items[:index] + items[index + 1 :]


_KINDS = ("profile", "preference", "fact", "todo")
