"""The settings of what a turn may recall besides its session."""

from typing import Literal

from pydantic import Field

from chatbot.application.recall_plan import MemoryRecall
from chatbot.entrypoints.settings.subject import Subject


class RecallSettings(Subject):
    """MEMORY_DEFAULT, MEMORY_RECALL and DOCUMENTS_IN_CHAT."""

    memory_default: Literal["on", "off"] = Field(default="on", alias="memory_default")

    memory: MemoryRecall = Field(default=MemoryRecall.ITEMS_AND_MESSAGES, alias="memory_recall")
    documents: Literal["auto", "off"] = Field(default="auto", alias="documents_in_chat")
