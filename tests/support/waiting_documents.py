"""Documents for stores."""

from datetime import timedelta

from chatbot.domain.document_ids import document_id
from chatbot.domain.documents import Document, Version, scope_of
from samples import T0


def document(number: int, *, owner: str = "user:ana", readers: str = "public") -> Document:
    version = Version(number=1, media_type="text/plain", size=3, digest=f"{number:064x}")
    at = T0 + timedelta(seconds=number)
    return Document(
        id=document_id(at, f"{number:032x}"),
        title=f"Document {number}",
        scope=scope_of([readers], ()),
        uploaded_by=owner,
        digest=version.digest,
        created_at=at,
        updated_at=at,
        newest=version,
        live=version,
    )
