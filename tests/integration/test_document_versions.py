"""How many versions of a document are kept."""

from chatbot.domain.document_passages import folder_of
from chatbot.domain.documents import MAX_OLDER_VERSIONS, DocumentId
from document_calls import serving_documents

COUNT = MAX_OLDER_VERSIONS + 3


async def test_a_document_keeps_its_newest_versions_however_often_it_is_replaced() -> None:
    async with serving_documents() as library:
        document_id = await library.ready("ana", "Version 1.", access={"public": True})
        for number in range(2, COUNT + 1):
            body = {"text": f"Version {number}."}
            await library.call("ana", "PUT", f"/documents/{document_id}/content", json=body)
            assert (await library.settled("ana", document_id))["answering_version"] == number
        found = {}
        for number in range(1, COUNT + 1):
            path = f"/documents/{document_id}/content?version={number}"
            answer = await library.call("ben", "GET", path)
            found[number] = answer.text if answer.is_success else answer.status_code
        kept = range(COUNT - MAX_OLDER_VERSIONS, COUNT + 1)
        assert found == {1: 404, 2: 404} | {number: f"Version {number}." for number in kept}
        folder = folder_of(DocumentId(document_id))
        names = await library.service.use.storage.transact(lambda tx: tx.blobs.names(folder))
        assert {int(name.split("/")[2]) for name in names} == {*kept}
