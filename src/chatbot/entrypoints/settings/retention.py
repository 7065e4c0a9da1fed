"""How long conversations are kept."""

from pydantic import Field

from chatbot.entrypoints.settings.subject import Subject

_LONGEST_DAYS = 36_500


class RetentionSettings(Subject):
    """RETENTION_SESSIONS_DAYS and RETENTION_MESSAGES_DAYS; 0 = for ever."""

    sessions_days: int = Field(default=0, ge=0, le=_LONGEST_DAYS, alias="retention_sessions_days")
    messages_days: int = Field(default=0, ge=0, le=_LONGEST_DAYS, alias="retention_messages_days")
