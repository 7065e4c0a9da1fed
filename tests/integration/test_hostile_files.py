"""Files that attack: each is read within the limits or fails with a reason, and the next one is read."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatbot.adapters.extraction.subprocess_extractor import SubprocessExtractor
from chatbot.domain.document_passages import folder_of
from chatbot.domain.documents import DocumentId
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed
from document_calls import Library, serving_documents
from hostile_archives import OFFICE
from hostile_files import TOO_LONG, Hostile
from hostile_pdfs import PDFS, WRONG_TYPES
from hostile_texts import TEXTS

MAX_BYTES = 25 * 1024 * 1024


@pytest.fixture
async def extractor(file: Hostile) -> AsyncIterator[SubprocessExtractor]:
    """One that gives up sooner where it is expected to."""
    timeout_s = 1.5 if TOO_LONG in file.outcomes else 60.0
    made = SubprocessExtractor(max_bytes=MAX_BYTES, timeout_s=timeout_s)
    yield made
    await made.aclose()


async def outcome(extractor: SubprocessExtractor, path: Path, name: str) -> FailureReason | None:
    try:
        await extractor.extract(path, "", name)
    except ExtractionFailed as error:
        return error.reason
    return None


def named(file: Hostile) -> str:
    return file.name


@pytest.mark.parametrize("file", [*TEXTS, *OFFICE, *PDFS, *WRONG_TYPES], ids=named)
async def test_hostile_file_ends_as_expected_and_the_next_one_is_read(
    file: Hostile, extractor: SubprocessExtractor, tmp_path: Path
) -> None:
    hostile, harmless = tmp_path / "hostile", tmp_path / "harmless"
    made = file.make()
    hostile.write_bytes(made.encode() if isinstance(made, str) else made)
    harmless.write_text("Receipts are due.", encoding="utf-8")
    began = time.process_time()
    found = await outcome(extractor, hostile, file.name)
    used_s = time.process_time() - began
    assert found in file.outcomes
    assert used_s < 1, "the service itself works only a little"
    assert await outcome(extractor, harmless, "a.txt") is None


async def test_people_chat_while_hostile_files_are_read_and_nothing_is_left_of_these() -> None:
    chosen = {"comments.html", "nested.json", "far-cell.xlsx", "tables.docx"}
    files = [each for each in (*TEXTS, *OFFICE) if each.name in chosen]
    assert len(files) == len(chosen)
    async with serving_documents(
        SubprocessExtractor(max_bytes=MAX_BYTES, timeout_s=1.5), document_workers=2
    ) as library:
        ids = [await upload(library, file) for file in files]
        harmless = (await library.upload("ben", "Receipts are due.")).json()["document"]["id"]
        body = {"prompt": "Hello"}
        answer = await library.call("ana", "POST", "/chat", json=body)
        assert answer.is_success
        for file, document_id in zip(files, ids, strict=True):
            found = await library.settled("ana", document_id)
            assert found["reason"] in {each.sentence for each in file.outcomes if each}
            folder = folder_of(DocumentId(document_id))
            storage = library.service.use.storage
            assert await storage.transact(lambda tx, f=folder: tx.blobs.names(f)) == []  # type: ignore[misc] # a default
        assert (await library.settled("ben", harmless))["status"] == "ready"


async def upload(library: Library, file: Hostile) -> str:
    made = file.make()
    raw = made.encode() if isinstance(made, str) else made
    sent = {"file": (file.name, raw, "application/octet-stream")}
    answer = await library.call("ana", "POST", "/documents", files=sent)
    return str(answer.raise_for_status().json()["document"]["id"])
