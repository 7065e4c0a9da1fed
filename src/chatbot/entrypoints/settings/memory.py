"""When and how much the assistant summarises and remembers."""

from typing import Self

from pydantic import Field, model_validator

from chatbot.entrypoints.settings.subject import Seconds, Subject


class MemorySettings(Subject):
    """MEM_..."""

    window_messages: int = Field(default=12, alias="mem_window_messages", ge=2)
    summarize_threshold: int = Field(default=20, alias="mem_summarize_threshold", ge=0)
    summary_max_words: int = Field(default=140, alias="mem_summary_max_words", ge=10, le=600)
    structured_enable: bool = Field(default=True, alias="mem_structured_enable")
    structured_max_items: int = Field(default=20, alias="mem_structured_max_items", ge=1, le=200)
    extract_every: int | None = Field(default=None, alias="mem_extract_every", ge=1)
    idle_seconds: Seconds = Field(default=60, alias="mem_idle_seconds")

    @model_validator(mode="after")
    def _summarise_more_than_the_window(self) -> Self:
        if 0 < self.summarize_threshold < self.window_messages:
            raise ValueError("MEM_SUMMARIZE_THRESHOLD: must be 0 or at least MEM_WINDOW_MESSAGES")
        return self

    def extract_every_for(self, model_name: str) -> int:
        """Number of user messages between two extractions; 1 for the embedded model, which is
        free.
        """
        return self.extract_every or (1 if model_name.startswith("local/") else 3)
