"""What is uploaded and what becomes of it."""

from dataclasses import dataclass
from pathlib import Path, PurePath

from chatbot.domain.documents import PRIVATE, Access, Document
from chatbot.domain.session_fields import MAX_TITLE_CHARS
from chatbot.domain.text import replace_unstorable

MAX_NAME_CHARS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was received. `digest` is the SHA-256 of its bytes in hexadecimal digits."""

    path: Path
    size: int
    digest: str
    name: str = ""
    media_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """What an uploader says about a document; without a title it is that in the file, or its name."""

    title: str | None = None
    access: Access = PRIVATE
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document, and whether nobody matches its access rule at the moment."""

    document: Document
    has_no_readers: bool = False


def clean_file_name(raw: str) -> str:
    """Return the name of a file as it is stored: without folders and invisible characters."""
    name = PurePath(replace_unstorable(raw.replace("\\", "/"))).name
    visible = "".join(char for char in name if char.isprintable())
    return visible[-MAX_NAME_CHARS:].strip()


def title_of(file_name: str) -> str:
    """Return the title of a document without one: the name of its file."""
    return PurePath(file_name).stem.strip()[:MAX_TITLE_CHARS] or "Untitled"
