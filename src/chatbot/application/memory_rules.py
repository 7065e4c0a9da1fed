"""When and how memory is made."""

from dataclasses import dataclass

from chatbot.application.prompt_texts import Language
from chatbot.domain.chat import Session
from chatbot.domain.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRules:
    """The settings `MEM_*`.

    `language` is that of our texts to the model; None = as the person writes.
    """

    window: int
    threshold: int
    extract_every: int
    idle_s: float
    summary_max_words: int
    max_items: int
    structured: bool
    language: Language | None
    max_output_tokens: int

    def summary_is_due(self, session: Session, memory: Memory) -> bool:
        """Whether more messages than the threshold are outside the summary."""
        is_over = 0 < self.threshold < session.last_seq - memory.summarized_to
        return is_over and session.last_seq >= memory.summary_setback.retry_at

    def extraction_is_due(self, session: Session, memory: Memory) -> bool:
        """Whether nothing was extracted yet, or enough turns, of two messages each, since then."""
        if not self.extraction_is_left(session, memory):
            return False
        is_first = memory.extracted_to <= session.reset_at
        is_over = is_first or session.last_seq - memory.extracted_to >= 2 * self.extract_every
        return is_over and session.last_seq >= memory.extraction_setback.retry_at

    def extraction_is_left(self, session: Session, memory: Memory) -> bool:
        """Whether there is anything to extract from, as for a session that has become idle."""
        return self.structured and session.last_seq > memory.extracted_to
