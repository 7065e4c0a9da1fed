"""Postgres behind a PgBouncer in transaction mode; the contract of storage is tested elsewhere."""

from contextlib import AsyncExitStack

import pytest

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.errors import StorageUnavailable


def replica(url: str, *, prepared: bool) -> SqlStorage:
    database = PostgresDatabase(url, connections=1, prepared=prepared)
    return SqlStorage(database, replica="test")


async def ask_in_turn(url: str, *, prepared: bool) -> None:
    """Two replicas, on the same connection of PgBouncer's, do the same a number of times."""
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(replica(url, prepared=prepared)) for _ in range(2)]
        for _ in range(10):
            for storage in both:
                await storage.check()


async def test_without_prepared_statements_replicas_share_a_connection(
    pgbouncer_store: str,
) -> None:
    await ask_in_turn(pgbouncer_store, prepared=False)


async def test_prepared_statements_of_replicas_collide(pgbouncer_store: str) -> None:
    """Why there is a setting. A PgBouncer of version 1.21 or newer can be told to track them."""
    with pytest.raises(StorageUnavailable):
        await ask_in_turn(pgbouncer_store, prepared=True)
