"""Documents over HTTP: uploaded, searched, read, changed and deleted."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from document_calls import Library, serving_documents
from plain_extractor import BROKEN, PlainExtractor
from service import code_of, said_by

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRAVEL = "# Travel\n\nReceipts are due within thirty days.\n\n# Hotels\n\nHotels cost at most 120."
UNKNOWN = "0" * 32


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library() -> AsyncGenerator[Library]:
    async with serving_documents() as found:
        yield found


async def test_uploaded_document_is_searched_and_read(library: Library) -> None:
    answer = await library.upload(
        "ana", TRAVEL, name="travel rules.md", access={"departments": ["Sales"]}, labels="Rules"
    )
    assert answer.status_code == 202
    document = answer.json()["document"]
    assert document["status"] in {"queued", "processing", "ready"}
    assert document["title"] == "travel rules"
    assert document["labels"] == ["rules"]
    assert document["uploaded_by"] == library.ids["ana"]
    settled = await library.settled("ana", document["id"])
    assert settled["status"] == "ready"
    assert settled["passages"] == 4
    found = await library.search("ben", "When are receipts due?")
    assert found[0]["document_id"] == document["id"]
    assert found[0]["text"] == "Receipts are due within thirty days."
    assert found[0]["heading"] == "Travel"
    assert (found[0]["version"], found[0]["title"]) == (1, "travel rules")
    assert found[0].keys() == {
        *("document_id", "version", "title", "heading", "text", "start", "end")
    }
    assert TRAVEL[found[0]["start"] : found[0]["end"]] == found[0]["text"]
    content = await library.call("ben", "GET", f"/documents/{document['id']}/content")
    assert content.text == TRAVEL
    assert content.headers["content-disposition"].startswith("attachment;")
    assert content.headers["content-type"] == "application/octet-stream"
    assert content.headers["x-content-type-options"] == "nosniff"


async def test_text_in_json_is_a_document(library: Library) -> None:
    body = {"title": "Café", "text": "Coffee is free.", "labels": ["food"], "access": {}}
    answer = await library.call("ana", "POST", "/documents", json=body)
    assert answer.status_code == 202
    found = await library.settled("ana", answer.json()["document"]["id"])
    assert (found["title"], found["media_type"], found["status"]) == ("Café", "text/plain", "ready")
    assert (await library.search("ana", "coffee"))[0]["title"] == "Café"


async def test_document_without_access_is_for_the_uploader_and_managers(library: Library) -> None:
    document_id = await library.ready("ana", "Anas private umbrella.", title="Mine")
    for reader in ("ana", "admin", "lead"):
        content = await library.call(reader, "GET", f"/documents/{document_id}/content")
        assert content.text == "Anas private umbrella."
        assert (await library.search(reader, "umbrella"))[0]["document_id"] == document_id
    for stranger in ("ben", "eva", "app"):
        assert await library.search(stranger, "umbrella") == []
        answers = [
            await library.call(stranger, method, path.format(each), **given)
            for each in (document_id, UNKNOWN, "x")
            for method, path, given in (
                ("GET", "/documents/{}", {}),
                ("GET", "/documents/{}/content", {}),
                ("PATCH", "/documents/{}", {"json": {"title": "x"}}),
                ("PUT", "/documents/{}/content", {"json": {"text": "x"}}),
                ("DELETE", "/documents/{}", {}),
            )
        ]
        assert {code_of(answer) for answer in answers} == {(404, "not_found")}
        assert len({said_by(answer) for answer in answers}) == 1


async def test_reader_who_did_not_upload_it_may_not_change_it(library: Library) -> None:
    document_id = await library.ready("eva", "The zebra rule.", access={"departments": ["Sales"]})
    for reader in ("ana", "lead"):
        answer = await library.call(
            reader, "PATCH", f"/documents/{document_id}", json={"title": "x"}
        )
        assert code_of(answer) == (403, "forbidden")
        answer = await library.call(reader, "DELETE", f"/documents/{document_id}")
        assert code_of(answer) == (403, "forbidden")
    answer = await library.call("admin", "PATCH", f"/documents/{document_id}", json={"title": "Z"})
    assert answer.json()["document"]["title"] == "Z"


async def test_change_of_access_applies_to_the_next_request(library: Library) -> None:
    document_id = await library.ready("ana", "The walrus rule.")
    assert await library.search("eva", "walrus") == []
    path = f"/documents/{document_id}"
    answer = await library.call("ana", "PATCH", path, json={"access": {"departments": ["hr"]}})
    assert answer.status_code == 200
    assert "notice" not in answer.json()
    assert (await library.search("eva", "walrus"))[0]["document_id"] == document_id
    assert (await library.call("eva", "GET", path)).status_code == 200
    await library.call("ana", "PATCH", path, json={"access": {}})
    assert await library.search("eva", "walrus") == []
    assert (await library.call("eva", "GET", path)).status_code == 404
    assert (await library.search("ana", "walrus"))[0]["document_id"] == document_id


async def test_rule_without_readers_is_allowed_and_reported(library: Library) -> None:
    for access in ({"departments": ["Nowhere"]}, {"roles": ["nobody"]}, {"users": ["x"]}):
        answer = await library.upload("ana", f"For {access}.", access=access)
        assert answer.status_code == 202
        assert answer.json()["notice"].startswith("No active user except the uploader")
    eva = library.ids["eva"]
    for matched in ({"departments": ["hr"]}, {"public": True}, {"users": [eva]}, {}):
        answer = await library.upload("ana", f"For {matched}.", access=matched)
        assert "notice" not in answer.json()


async def test_new_version_answers_once_it_is_ready(library: Library) -> None:
    document_id = await library.ready("ana", "The otter costs ten euros.", name="otter.md")
    path = f"/documents/{document_id}"
    answer = await library.call(
        "ana", "PUT", f"{path}/content", json={"text": "The otter is free."}
    )
    assert answer.status_code == 202
    assert answer.json()["document"]["version"] == 2
    found = await library.settled("ana", document_id)
    assert (found["version"], found["answering_version"]) == (2, 2)
    passages = await library.search("ana", "otter")
    assert [each["text"] for each in passages] == ["The otter is free."]
    assert passages[0]["version"] == 2
    old = await library.call("ana", "GET", f"{path}/content?version=1")
    assert old.text == "The otter costs ten euros."
    newest = await library.call("ana", "GET", f"{path}/content")
    assert newest.text == "The otter is free."
    unknown = await library.call("ana", "GET", f"{path}/content?version=3")
    assert code_of(unknown) == (404, "not_found")


async def test_raw_body_is_a_new_version(library: Library) -> None:
    document_id = await library.ready("ana", "Pelican one.")
    answer = await library.call(
        *("ana", "PUT", f"/documents/{document_id}/content"),
        content=b"Pelican two.",
        headers={"Content-Type": "text/markdown"},
    )
    assert answer.json()["document"]["media_type"] == "text/markdown"
    await library.settled("ana", document_id)
    assert (await library.search("ana", "pelican"))[0]["text"] == "Pelican two."


async def test_version_that_fails_leaves_the_one_before(library: Library) -> None:
    document_id = await library.ready("ana", "The heron waits.")
    body = {"text": BROKEN.decode()}
    await library.call("ana", "PUT", f"/documents/{document_id}/content", json=body)
    found = await library.settled("ana", document_id)
    assert (found["status"], found["version"], found["answering_version"]) == ("failed", 2, 1)
    assert found["reason"] == "The file is damaged or incomplete."
    assert (await library.search("ana", "heron"))[0]["version"] == 1
    names = await library.service.use.storage.transact(
        lambda tx: tx.blobs.names(f"documents/{document_id}")
    )
    assert not [name for name in names if name.startswith(f"documents/{document_id}/2/")]


async def test_failed_document_leaves_its_row_and_nothing_else(library: Library) -> None:
    answer = await library.upload("ana", BROKEN)
    document_id = answer.json()["document"]["id"]
    found = await library.settled("ana", document_id)
    assert (found["status"], found["answering_version"], found["passages"]) == ("failed", None, 0)
    storage = library.service.use.storage
    assert await storage.transact(lambda tx: tx.blobs.names(f"documents/{document_id}")) == []
    content = await library.call("ana", "GET", f"/documents/{document_id}/content")
    assert code_of(content) == (404, "not_found")


async def test_deleted_document_leaves_nothing(library: Library) -> None:
    document_id = await library.ready("ana", "The badger digs.", access={"public": True})
    assert (await library.call("ben", "GET", f"/documents/{document_id}")).status_code == 200
    answer = await library.call("ana", "DELETE", f"/documents/{document_id}")
    assert answer.json() == {"id": document_id, "deleted": True}
    assert await library.search("ben", "badger") == []
    assert (await library.call("ana", "GET", f"/documents/{document_id}")).status_code == 404
    storage = library.service.use.storage
    assert await storage.transact(lambda tx: tx.blobs.names(f"documents/{document_id}")) == []


async def test_same_file_under_the_same_access_is_one_document(library: Library) -> None:
    document_id = await library.ready("ana", "Only once.", access={"departments": ["HR", "Sales"]})
    access = {"departments": ["sales", "hr"]}
    for uploader in ("ben", "eva"):
        answer = await library.upload(uploader, "Only once.", access=access)
        assert code_of(answer) == (409, "conflict")
        assert answer.json()["document_id"] == document_id
    other = await library.upload("eva", "Only once.", access={"departments": ["HR"]})
    assert other.status_code == 202
    forced = await library.upload("ben", "Only once.", query="?force=true", access=access)
    assert forced.status_code == 202


async def test_duplicate_that_the_uploader_may_not_read_is_not_mentioned(library: Library) -> None:
    await library.ready("ana", "Secret twin.", access={"departments": ["Legal"]})
    answer = await library.upload("eva", "Secret twin.", access={"departments": ["Legal"]})
    assert answer.status_code == 202
    mine = await library.upload("eva", "My own twin.")
    assert mine.status_code == 202
    theirs = await library.upload("admin", "My own twin.")
    assert theirs.status_code == 202, "private documents of two people are two documents"


async def test_documents_are_listed_by_label_status_and_title(library: Library) -> None:
    for n in range(5):
        await library.ready("lead", f"Kiwi {n}.", title=f"Kiwi {n}", labels=f"kiwi,part {n % 2}")
    assert await library.titles("lead", "?label=KIWI") == [f"Kiwi {n}" for n in (4, 3, 2, 1, 0)]
    assert await library.titles("lead", "?label=part%201") == ["Kiwi 3", "Kiwi 1"]
    assert await library.titles("lead", "?query=kiwi%203&status=ready") == ["Kiwi 3"]
    assert await library.titles("lead", "?query=kiwi&status=failed") == []
    assert await library.titles("ben", "?label=kiwi") == []
    page = (await library.call("lead", "GET", "/documents?label=kiwi&limit=2")).json()
    assert [each["title"] for each in page["documents"]] == ["Kiwi 4", "Kiwi 3"]
    later = await library.titles("lead", f"?label=kiwi&limit=2&after={page['next']}")
    assert later == ["Kiwi 2", "Kiwi 1"]
    assert await library.search("lead", "kiwi", labels=["part 0"], limit=9)
    titles = {each["title"] for each in await library.search("lead", "kiwi", labels=["part 0"])}
    assert titles == {"Kiwi 0", "Kiwi 2", "Kiwi 4"}


async def test_change_applies_only_to_what_was_seen(library: Library) -> None:
    answer = await library.upload("ana", "The stork lands.")
    tag, document_id = answer.headers["etag"], answer.json()["document"]["id"]
    await library.settled("ana", document_id)
    path, seen = f"/documents/{document_id}", {"If-Match": tag}
    first = await library.call("ana", "PATCH", path, json={"title": "One"}, headers=seen)
    assert first.status_code == 200, "that its extraction has ended is no change"
    second = await library.call("ana", "PATCH", path, json={"title": "Two"}, headers=seen)
    assert code_of(second) == (412, "changed_meanwhile")
    again = await library.call(
        "ana", "PATCH", path, json={"title": "Two"}, headers={"If-Match": first.headers["etag"]}
    )
    assert again.json()["document"]["title"] == "Two"
    gone = await library.call("ana", "DELETE", path, headers=seen)
    assert code_of(gone) == (412, "changed_meanwhile")


async def test_application_has_documents_of_its_own(library: Library) -> None:
    document_id = await library.ready("app", "The robot sings.")
    assert (await library.search("app", "robot"))[0]["document_id"] == document_id
    assert await library.search("ana", "robot") == []
    found = (await library.call("admin", "GET", f"/documents/{document_id}")).json()["document"]
    assert found["uploaded_by"] == "application default"


async def test_unsupported_file_is_refused_before_it_is_stored(library: Library) -> None:
    answer = await library.upload("ana", "MZ", name="virus.exe")
    assert code_of(answer) == (415, "unsupported_media_type")


async def test_refusal_of_a_file_lists_the_supported_formats() -> None:
    async with serving_documents(extractor=SubprocessExtractor(max_bytes=100)) as library:
        files = {"file": ("a.exe", b"MZ", "application/octet-stream")}
        answer = await library.call("ana", "POST", "/documents", files=files)
    assert answer.status_code == 415
    assert "Supported: txt, md, html, csv, json, eml" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        ("text/markdown", {}, "text/markdown"),
        ("application/json", {}, "application/json"),
        ("application/pdf", {}, "text/plain"),
        ("text/markdown", {"media_type": "text/html"}, "text/html"),
    ],
)
async def test_new_text_without_a_media_type_keeps_that_of_a_text_document(
    library: Library, before: str, given: dict[str, str], after: str
) -> None:
    body = {"title": "Umbrellas", "text": "# Blue", "media_type": before}
    made = await library.call("ana", "POST", "/documents?force=true", json=body)
    path = f"/documents/{made.json()['document']['id']}/content"
    answer = await library.call("ana", "PUT", path, json={"text": "# Red", **given})
    assert answer.json()["document"]["media_type"] == after


async def test_quota_of_documents_is_for_each_uploader() -> None:
    async with serving_documents(max_documents_per_user=2) as library:
        for n in range(2):
            assert (await library.upload("ana", f"{n}")).status_code == 202
        answer = await library.upload("ana", "3")
        assert code_of(answer) == (409, "too_many_documents")
        assert (await library.upload("ben", "3")).status_code == 202


async def test_quota_of_bytes_is_for_all_documents_and_does_not_tell_how_many_are_left() -> None:
    """A large file is accepted up to the limit, as is a small one: only the limit is noticed."""
    async with serving_documents(max_document_bytes_total=100) as library:
        assert (await library.upload("ana", "x" * 60)).status_code == 202
        assert (await library.upload("ben", "y" * 60)).status_code == 202
        for size in (1, 1000):
            answer = await library.upload("ben", "z" * size)
            assert code_of(answer) == (409, "too_many_documents")


async def test_sharing_can_be_left_to_managers() -> None:
    async with serving_documents(document_sharing="managers") as library:
        assert (await library.upload("ana", "1")).status_code == 202
        for who, access in (
            ("ana", {"departments": ["Sales"]}),
            ("ana", {"public": True}),
            ("lead", {"departments": ["HR"]}),
            ("lead", {"public": True}),
        ):
            answer = await library.upload(who, f"{who} {access}", access=access)
            assert code_of(answer) == (403, "forbidden")
        assert (await library.upload("lead", "2", access={"departments": ["sales"]})).is_success
        assert (await library.upload("admin", "3", access={"public": True})).is_success


async def test_old_version_answers_while_the_new_one_is_worked_on() -> None:
    extractor = PlainExtractor()
    async with serving_documents(extractor) as library:
        document_id = await library.ready("ana", "The lynx is grey.")
        extractor.pause = True
        body = {"text": "The lynx is red."}
        await library.call("ana", "PUT", f"/documents/{document_id}/content", json=body)
        assert [e["text"] for e in await library.search("ana", "lynx")] == ["The lynx is grey."]
        third = {"text": "The lynx is blue."}
        await library.call("ana", "PUT", f"/documents/{document_id}/content", json=third)
        extractor.go_on.set()
        found = await library.settled("ana", document_id)
        assert found["version"] == 3
        assert [e["text"] for e in await library.search("ana", "lynx")] == ["The lynx is blue."]
        old = await library.call("ana", "GET", f"/documents/{document_id}/content?version=2")
        assert old.status_code == 404, "it has never answered"
