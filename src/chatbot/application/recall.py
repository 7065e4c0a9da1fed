"""What a turn recalls besides the messages of its session."""

from chatbot.application.turn import Turn
from chatbot.domain.chat import TurnContext
from chatbot.domain.recall import Recalled, items_of


async def recall_session(_: Turn, asked: TurnContext) -> Recalled:
    """Return the items of the session's own memory."""
    return Recalled(items=items_of(asked.memory))
