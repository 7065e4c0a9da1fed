"""The settings of documents."""

from typing import Literal

from pydantic import Field

from chatbot.entrypoints.settings.subject import Subject

_LARGEST_MIB = 64  # a backup holds each file as one line, and some of them in memory
_MIB = 1 << 20


class DocumentSettings(Subject):
    """DOCUMENT_..., MAX_DOCUMENTS_PER_USER and MAX_DOCUMENT_BYTES_TOTAL."""

    max_mib: int = Field(default=25, ge=1, le=_LARGEST_MIB, alias="document_max_mib")
    ocr: Literal["off", "tesseract"] = Field(default="off", alias="document_ocr")
    workers: int = Field(default=1, ge=1, le=16, alias="document_workers")
    sharing: Literal["everyone", "managers"] = Field(default="everyone", alias="document_sharing")
    max_per_user: int = Field(default=1000, ge=0, le=1_000_000, alias="max_documents_per_user")
    max_bytes_total: int = Field(
        default=10 * 1024**3, ge=0, le=2**50, alias="max_document_bytes_total"
    )

    @property
    def max_bytes(self) -> int:
        """The size of the largest file."""
        return self.max_mib * _MIB
