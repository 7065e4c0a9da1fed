"""A record kind that exists only in tests and uses every feature of a declaration."""

from dataclasses import dataclass, field
from datetime import datetime

from chatbot.domain.ports.records import Kind, Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    shelf: str
    name: str
    label: str = field(default="")
    topic: str = ""
    pages: int = 0
    expires_at: datetime | None = None

    @property
    def topic_key(self) -> str:
        return self.topic.casefold()

    @property
    def page_count(self) -> str:
        return f"{self.pages:04}"


def kind_of_notes(layout: Layout) -> "Kind[Note]":
    return Kind(
        name="notes",
        singular="note",
        type=Note,
        key=("shelf", "name"),
        unique=("label",),
        indexed=("topic",),
        derived=("topic_key", "page_count"),
        expires_at="expires_at",
        layout=layout,
    )


NOTES = kind_of_notes(Layout.SHARDS)
LISTED_NOTES = kind_of_notes(Layout.LIST)
