"""Postgres behind a PgBouncer in transaction mode, beyond the storage contract."""

import asyncio

import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.errors import StorageUnavailable
from service import serving, settings_for_tests


def replica(url: str, *, prepared: bool) -> SqlStorage:
    return SqlStorage(PostgresDatabase(url, connections=1, prepared=prepared), replica="test")


async def test_replicas_share_a_connection_of_pgbouncer(pgbouncer_store: str) -> None:
    one, other = replica(pgbouncer_store, prepared=False), replica(pgbouncer_store, prepared=False)
    async with one, other:
        for _ in range(10):  # psycopg prepares a statement when it is run for the fifth time
            for storage in (one, other):
                await storage.check()


async def test_start_without_the_setting_names_it(pgbouncer_store: str) -> None:
    with pytest.raises(StorageUnavailable, match="POSTGRES_PREPARED_STATEMENTS=false"):
        await replica(pgbouncer_store, prepared=True).__aenter__()


async def test_turns_are_answered_and_stored_through_pgbouncer(pgbouncer_store: str) -> None:
    settings = settings_for_tests(storage_url=pgbouncer_store, postgres_prepared_statements=False)
    model = ScriptedModel(lambda _: "hello")
    async with (
        serving(settings, model=model) as first,
        serving(settings, model=model) as second,
    ):
        begun = await first.client.post("/sessions/new")
        body = {"prompt": "hi", "session_id": begun.json()["session_id"]}
        clients = (first.client, second.client) * 6
        answers = await asyncio.gather(*(client.post("/chat", json=body) for client in clients))
        assert [answer.status_code for answer in answers] == [200] * 12
        stored = await second.client.get(f"/sessions/{body['session_id']}")
    messages = stored.json()["messages"]
    assert [message["seq"] for message in messages] == list(range(1, 25))
    assert [message["content"] for message in messages] == ["hi", "hello"] * 12
