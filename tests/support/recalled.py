"""What a turn recalls, for tests of prompts and answers."""

from chatbot.application.chat import Recall
from chatbot.application.turn import Turn
from chatbot.domain.chat import MessageRole, TurnContext
from chatbot.domain.recall import KnownItem, PastMessage, Recalled, RecalledPassage
from conversation import START

SESSION = "5" * 32


def passage(number: int, text: str = "", *, chars: int = 0) -> RecalledPassage:
    """A passage of the document with this number."""
    text = (text or f"Passage {number} of the rules.").ljust(chars, "x")
    return RecalledPassage(
        document_id=f"{number:032x}",
        version=1,
        seq=number,
        title=f"Document {number}",
        heading="Rules",
        text=text,
        start=1000 * number,
        end=1000 * number + len(text),
        rank=number,
    )


def past(number: int, text: str = "", *, chars: int = 0, session_id: str = SESSION) -> PastMessage:
    """A message of another session."""
    return PastMessage(
        session_id=session_id,
        seq=number,
        role=MessageRole.USER,
        text=(text or f"Said {number}.").ljust(chars, "x"),
        ts=START,
        rank=number,
    )


def fact(number: int, text: str = "") -> KnownItem:
    """An item that a message of another session has taught."""
    return KnownItem(
        id=f"item{number}",
        kind="fact",
        text=text or f"Fact {number}.",
        session_id=SESSION,
        seq=number,
    )


def always(recalled: Recalled) -> Recall:
    """Every turn recalls the same."""

    async def recall(_: Turn, __: TurnContext) -> Recalled:
        return recalled

    return recall
