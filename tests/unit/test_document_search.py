"""A passage that may not be read any more is not shown, whatever a search has found before."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from canaries import plant_document
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application import document_index
from chatbot.application.document_search import DocumentSearch
from chatbot.domain.authorization import of_client
from chatbot.domain.documents import Access
from chatbot.domain.identity import Client, ClientId, Owner, UserId
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.search import ReadTexts, Search, SearchIndex, Snapshot
from chatbot.domain.search import Hit, Passage, Reason, Scope

READER = of_client(
    Client(
        id=ClientId("app"),
        permissions=frozenset({Permission.DOCUMENTS_READ}),
        user_permissions=frozenset(),
    )
)


class EarlierSearch(Search):
    """Returns what it had found before something changed."""

    def __init__(self, hits: Sequence[Hit]) -> None:
        self._hits = hits

    def look(self, index: SearchIndex, scopes: Collection[Scope]) -> Snapshot:
        raise NotImplementedError

    async def messages(
        self,
        owner: Owner,
        query: str,
        *,
        limit: int,
        without: str | None = None,
        seen: Snapshot | None = None,
    ) -> Sequence[Hit]:
        raise NotImplementedError

    async def documents(
        self,
        atoms: Collection[str],
        query: str,
        *,
        limit: int,
        labels: Collection[str] = (),
        seen: Snapshot | None = None,
        texts: ReadTexts | None = None,
    ) -> Sequence[Hit]:
        return self._hits

    async def texts(
        self, query: str, passages: Mapping[str, Sequence[Passage]], *, limit: int
    ) -> Sequence[Hit]:
        raise NotImplementedError

    async def aclose(self) -> None:
        """No-op."""


async def test_passage_is_authorised_again_when_it_is_read() -> None:
    storage, ana = InMemoryStorage(), UserId("a" * 32)
    made = [
        await storage.transact(
            lambda tx, n=n: plant_document(
                tx, ana, f"text {n}", access=Access(public=True), number=n
            )  # type: ignore[misc] # a default
        )
        for n in range(3)
    ]
    hits = [Hit(parent=each.id, seq=1, score=1.0, why=Reason()) for each in reversed(made)]
    search = DocumentSearch(storage, EarlierSearch(hits))

    async def found() -> list[str]:
        return [each.title for each in await search.passages(READER, "text", limit=9)]

    assert await found() == ["text 2 title", "text 1 title", "text 0 title"]
    private = document_index.classified(replace(made[1], access=Access()))
    await storage.transact(lambda tx: document_index.change(tx, private, old=made[1]))
    assert await found() == ["text 2 title", "text 0 title"]
    await storage.transact(lambda tx: document_index.remove(tx, made[2]))
    assert await found() == ["text 0 title"]
