"""The assistant: its name, language, instructions and notice."""

from collections.abc import Mapping
from functools import cached_property

from pydantic import Field

from chatbot.application.prompt_texts import Language
from chatbot.domain.memory import default_preferences
from chatbot.domain.text import NotUtf8
from chatbot.entrypoints.settings.subject import File, SettingsError, Subject, text_of


class AssistantSettings(Subject):
    """ASSISTANT_..., DEFAULT_LANGUAGE and MAX_PROMPT_CHARS."""

    name: str | None = Field(default=None, alias="assistant_name")
    instructions_file: File | None = Field(default=None, alias="assistant_instructions_file")
    language: Language | None = Field(default=None, alias="default_language")
    notice: str | None = Field(default=None, alias="assistant_notice")
    max_prompt_chars: int = Field(default=4000, ge=1)

    @property
    def default_preferences(self) -> Mapping[str, str]:
        """The preferences shown in an empty memory."""
        return default_preferences(self.language)

    @cached_property
    def instructions(self) -> str:
        """The company's own system text, verbatim, read once; empty if there is none.

        Raises:
            SettingsError: the file cannot be read.
        """
        if self.instructions_file is None:
            return ""
        try:
            return text_of(self.instructions_file)
        except (NotUtf8, OSError) as error:
            why = getattr(error, "strerror", None) or error
            raise SettingsError(
                f"ASSISTANT_INSTRUCTIONS_FILE: {self.instructions_file} cannot be read: {why}."
            ) from error
