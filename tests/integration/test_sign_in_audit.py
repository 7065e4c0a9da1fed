"""Every sign-in is recorded, on every store, however many there are at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from chatbot.application import authentication
from chatbot.domain.audit import AUDIT, mac_of
from chatbot.domain.errors import AuditUnavailable, InvalidCredentials, StorageFull
from chatbot.domain.ports.journal import entries_of
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.repositories.refresh_families import REFRESH_FAMILIES, RefreshFamilies
from chatbot.domain.sign_in import RefreshFamily
from chatbot.domain.transaction import Transaction
from sign_in import KEY, WEB, SignInService

USERS, EACH, WRONG_EVERY = 100, 10, 10


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


async def test_of_a_thousand_sign_ins_at_once_none_is_lost(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "TURN_WAIT_S", 120.0)
    processes = [SignInService(storage) for _ in range(2)]
    names = [f"user{number}" for number in range(USERS)]
    for name in names:
        await processes[0].add(name)

    async def sign_in(number: int) -> None:
        service, email = processes[number % 2], f"{names[number % USERS]}@acme.es"
        if number // USERS == 0 and number % WRONG_EVERY == 0:
            with pytest.raises(InvalidCredentials):
                await service.authentication.login(WEB, email, "not the password")
        else:
            await service.login(email)

    await asyncio.gather(*map(sign_in, range(USERS * EACH)))
    entries, families = await storage.transact(
        lambda tx: (list(entries_of(tx.journal, AUDIT)), tx.records.page(REFRESH_FAMILIES))
    )
    failed = USERS // WRONG_EVERY
    counts = Counter(entry.content["action"] for entry in entries)
    assert counts == {"auth.login": USERS * EACH - failed, "auth.login_failed": failed}
    recorded = {entry.content["object"]["id"] for entry in entries}  # type: ignore[index] # JSON
    assert {family.id for family in families} <= recorded
    prev = "0" * 64
    for entry in entries:
        assert entry.content["prev"] == prev
        prev = str(entry.content["mac"])
        assert prev == mac_of(entry.content, entry.seq, entry.at, key=KEY)


async def test_every_sign_in_and_refusal_has_an_event(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SignInService(storage)
    await service.add("ana")

    def full(*_: object, **__: object) -> None:
        raise StorageFull

    def break_journal(tx: Transaction) -> None:
        monkeypatch.setattr(type(tx.journal), "extend", full)

    await storage.transact(break_journal)
    with pytest.raises(AuditUnavailable):
        await service.login()
    with pytest.raises(AuditUnavailable):
        await service.authentication.login(WEB, "ana@acme.es", "not the password")
    assert not await storage.transact(lambda tx: tx.records.page(REFRESH_FAMILIES))


async def test_log_in_that_the_store_fails_is_recorded_as_failed_and_leaves_no_sign_in(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = SignInService(storage)
    await service.add("ana")

    def full(*_: object) -> None:
        raise StorageFull

    monkeypatch.setattr(RefreshFamilies, "add", full)
    with pytest.raises(StorageFull):
        await service.login()
    entries = await storage.transact(lambda tx: list(entries_of(tx.journal, AUDIT)))
    assert [(each.content["action"], each.content["outcome"]) for each in entries] == [
        ("auth.login", "allowed"),
        ("auth.login", "failed"),
    ]
    assert entries[0].content["object"] == entries[1].content["object"]
    assert not await storage.transact(lambda tx: tx.records.page(REFRESH_FAMILIES))


async def test_event_is_durable_before_the_sign_in_is_stored(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, found = SignInService(storage), list[bool]()
    await service.add("ana")
    add = RefreshFamilies.add

    def check(self: RefreshFamilies, family: RefreshFamily) -> None:
        last = transactions[-1].journal.last(AUDIT)
        found.append(
            last is not None and last.content["object"] == {"type": "sign_in", "id": family.id}
        )
        add(self, family)

    transactions = list[Transaction]()
    transact = storage.transact

    async def observed(work: Callable[[Transaction], Found]) -> Found:
        def noted(tx: Transaction) -> Found:
            transactions.append(tx)
            return work(tx)

        return await transact(noted)

    monkeypatch.setattr(RefreshFamilies, "add", check)
    monkeypatch.setattr(storage, "transact", observed)
    await service.login()
    assert found == [True]
    assert len(await service.events()) == 1
