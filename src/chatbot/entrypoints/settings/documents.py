"""The settings of documents."""

from typing import Literal

from pydantic import ConfigDict, Field

from chatbot.entrypoints.settings.subject import Subject


class DocumentSettings(Subject):
    """DOCUMENT_..."""

    model_config = ConfigDict(alias_generator="document_{}".format)

    max_mib: int = Field(default=25, ge=1, le=1024)
    ocr: Literal["off", "tesseract"] = "off"

    @property
    def max_bytes(self) -> int:
        return self.max_mib * 1024 * 1024
