"""Where everything is stored."""

from typing import Annotated

from pydantic import Field, PlainValidator

from chatbot.domain.ports.backend import StorageUrl
from chatbot.entrypoints.settings.subject import File, Subject
from chatbot.entrypoints.storage_backends import parse_storage_url


class StorageSettings(Subject):
    """STORAGE_URL and POSTGRES_..."""

    url: Annotated[StorageUrl, PlainValidator(parse_storage_url)] = Field(
        default="json:data", validate_default=True, alias="storage_url"
    )
    url_file: File | None = Field(default=None, alias="storage_url_file")
    postgres_connections: int = Field(default=8, ge=1, le=200)
    postgres_prepared_statements: bool = True
