"""Making the first administrator."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.security.argon2_parameters import Argon2Parameters
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.people import People
from chatbot.domain.errors import Conflict, InvalidInput, RateLimited
from chatbot.domain.identity import User
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission, Role
from staff import HOST, NOW, PASSWORD, Staff


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


@pytest.fixture
def people(storage: InMemoryStorage) -> People:
    return Staff(storage).people


@pytest.fixture
async def hasher() -> AsyncIterator[Argon2Hasher]:
    made = Argon2Hasher(
        Argon2Parameters(memory_kib=64, time_cost=1, parallelism=1), below_minimum_for_tests=True
    )
    yield made
    await made.aclose()


async def stored(storage: InMemoryStorage, email: str) -> User | None:
    return await storage.transact(lambda tx: tx.users.by_email(email))


async def test_the_first_administrator_may_do_everything_and_belongs_to_no_department(
    storage: InMemoryStorage, people: People
) -> None:
    user = await people.create_first_admin(HOST, " Ana@ACME.es", PASSWORD)
    assert await stored(storage, "ana@acme.es") == user
    assert (user.roles, user.department, user.is_active) == (("admin",), "", True)
    assert (user.created_at, len(user.id)) == (NOW, 32)
    assert user.password_hash not in repr(user)


async def test_a_second_first_administrator_is_refused(
    storage: InMemoryStorage, people: People
) -> None:
    await people.create_first_admin(HOST, "ana@acme.es", PASSWORD)
    with pytest.raises(Conflict):
        await people.create_first_admin(HOST, "eva@acme.es", PASSWORD)
    assert await stored(storage, "eva@acme.es") is None


async def test_of_50_concurrent_first_administrators_one_is_created(
    storage: InMemoryStorage, people: People
) -> None:
    emails = [f"admin{number}@acme.es" for number in range(50)]
    outcomes = await asyncio.gather(
        *(people.create_first_admin(HOST, email, PASSWORD) for email in emails),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 49
    assert sum([await stored(storage, email) is not None for email in emails]) == 1


async def test_of_50_concurrent_first_administrators_one_is_created_with_the_real_hasher(
    storage: InMemoryStorage, hasher: Argon2Hasher
) -> None:
    people = Staff(storage, hasher=hasher).people
    outcomes = await asyncio.gather(
        *(people.create_first_admin(HOST, f"a{n}@acme.es", PASSWORD) for n in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict | RateLimited) for outcome in outcomes) == 49


async def test_administrator_by_another_role_counts() -> None:
    boss = Role(name="boss", permissions=ROLE_PERMISSIONS)
    clerk = Role(name="admin", permissions=frozenset({Permission.CHAT}))
    staff = Staff(roles={"boss": boss, "admin": clerk})
    await staff.add("clerk", "admin")
    people = staff.people
    user = await people.create_first_admin(HOST, "ana@acme.es", PASSWORD)
    assert user.roles == ("boss",)
    with pytest.raises(Conflict):
        await people.create_first_admin(HOST, "eva@acme.es", PASSWORD)


async def test_first_administrator_requires_a_role_that_administers() -> None:
    clerk = Role(name="admin", permissions=frozenset({Permission.CHAT}))
    with pytest.raises(Conflict, match=r"users\.manage"):
        await Staff(roles={"admin": clerk}).people.create_first_admin(HOST, "ana@acme.es", PASSWORD)


async def test_the_first_administrators_password_is_checked_too(
    storage: InMemoryStorage, people: People
) -> None:
    with pytest.raises(InvalidInput):
        await people.create_first_admin(HOST, "ana@acme.es", "ana@acme.es")
    assert await stored(storage, "ana@acme.es") is None
