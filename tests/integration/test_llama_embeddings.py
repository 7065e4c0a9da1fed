"""Embeddings by llama.cpp's server: a provider that nobody here wrote."""

from collections.abc import AsyncIterator, Iterator

import pytest

from chatbot.adapters.llm.provider import TransportName
from chatbot.application.passage_vectors import PassageVectors
from chatbot.domain.ports.embedder import Embedder
from document_calls import serving_documents
from embedding_calls import embedder_at
from llama_server import MODEL, llama_server
from tiny_model import WORDS


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with llama_server(tmp_path_factory.mktemp("llama"), embeds=True) as address:
        yield address


@pytest.fixture(params=["aiohttp", "sdk"])
async def embedder(request: pytest.FixtureRequest, address: str) -> AsyncIterator[Embedder]:
    transport: TransportName = request.param
    made = embedder_at(f"{address}/v1", model=f"openai/{MODEL}", transport=transport)
    yield made
    await made.aclose()


async def test_its_vectors_are_in_the_order_of_the_texts(embedder: Embedder) -> None:
    texts = [*WORDS[:3], "Hola, señora"]
    together = await embedder.embed(texts)
    assert len({len(each) for each in together}) == 1
    for text, vector in zip(texts, together, strict=True):
        [alone] = await embedder.embed([text])
        assert list(vector) == pytest.approx(list(alone), abs=0.02)


async def test_a_text_that_it_refuses_as_too_long_is_cut_and_the_others_are_embedded(
    embedder: Embedder,
) -> None:
    found = await PassageVectors(embedder).of_texts(["Hola", "hola " * 3000, "señora"])
    assert None not in found


async def test_the_whole_service_finds_by_its_vectors(address: str) -> None:
    given = {"embedding_model": f"openai/{MODEL}", "embedding_base_url": f"{address}/v1"}
    async with serving_documents(None, "Of course.", **given) as library:
        document = await library.ready(
            "ana", "Everybody gets 23 days off.", access={"public": True}
        )
        scope = (await library.service.use.storage.transact(lambda tx: tx.documents.all()))[0].scope
        there = await library.service.use.storage.transact(
            lambda tx: tx.index.vectors_of(scope, f"openai/{MODEL}")
        )
        assert there == {document: frozenset({1})}
        answer = await library.call("ana", "POST", "/search", json={"query": "days off"})
        assert len(answer.json()["passages"]) == 1
