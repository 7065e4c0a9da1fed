"""The log on stderr."""

from typing import Literal

from pydantic import Field

from chatbot.entrypoints.settings.subject import Subject


class LogSettings(Subject):
    """LOG_..."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", alias="log_level")
    format: Literal["text", "json"] | None = Field(default=None, alias="log_format")
