"""Shared by the settings of all subjects."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chatbot.domain.text import decode_utf8


class SettingsError(Exception):
    """The settings are invalid; each line names one setting and its fix, never a value."""


class Subject(BaseModel):
    """The settings of one subject. A field's alias is the setting's name in lower case."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)


def absolute(path: Path) -> Path:
    """Resolves a path against the folder of `.env`, which is the working directory."""
    return path if path.is_absolute() else Path.cwd() / path


def text_of(path: Path) -> str:
    """Returns the text of a file, with line endings normalised to LF.

    Raises:
        NotUtf8: the file has another encoding.
        OSError: the file cannot be read.
    """
    return decode_utf8(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


File = Annotated[Path, AfterValidator(absolute)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
