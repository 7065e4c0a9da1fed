"""Making the first administrator and other users."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.security.argon2_parameters import Argon2Parameters
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.administration import Administration
from chatbot.domain.errors import Conflict, InvalidInput, RateLimited
from chatbot.domain.identity import User
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission, Role
from chatbot.domain.ports.security import PasswordHasher

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PASSWORD = "mi perro ladra a las motos"


class InstantHasher(PasswordHasher):
    """Hashes immediately, but yields to other tasks as the real hasher does."""

    async def hash(self, password: str) -> str:
        await asyncio.sleep(0)
        return f"hash of {password}"

    async def verify(self, password: str, password_hash: str | None) -> bool:
        return password_hash == f"hash of {password}"

    def needs_rehash(self, password_hash: str) -> bool:
        return False

    async def aclose(self) -> None:
        """No-op: it holds no resources."""


def administration_of(
    storage: InMemoryStorage, hasher: PasswordHasher | None = None
) -> Administration:
    return Administration(
        storage,
        hasher or InstantHasher(),
        clock=lambda: NOW,
        new_id=lambda: secrets.token_hex(16),
    )


@pytest.fixture
def storage() -> InMemoryStorage:
    return InMemoryStorage()


@pytest.fixture
def administration(storage: InMemoryStorage) -> Administration:
    return administration_of(storage)


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
    storage: InMemoryStorage, administration: Administration
) -> None:
    user = await administration.create_first_admin(" Ana@ACME.es", PASSWORD)
    assert await stored(storage, "ana@acme.es") == user
    assert (user.roles, user.department, user.is_active) == (("admin",), "", True)
    assert (user.created_at, len(user.id)) == (NOW, 32)
    assert user.password_hash not in repr(user)


async def test_a_second_first_administrator_is_refused(
    storage: InMemoryStorage, administration: Administration
) -> None:
    await administration.create_first_admin("ana@acme.es", PASSWORD)
    with pytest.raises(Conflict):
        await administration.create_first_admin("eva@acme.es", PASSWORD)
    assert await stored(storage, "eva@acme.es") is None


async def test_of_50_concurrent_first_administrators_one_is_created(
    storage: InMemoryStorage, administration: Administration
) -> None:
    emails = [f"admin{number}@acme.es" for number in range(50)]
    outcomes = await asyncio.gather(
        *(administration.create_first_admin(email, PASSWORD) for email in emails),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 49
    assert sum([await stored(storage, email) is not None for email in emails]) == 1


async def test_of_50_concurrent_first_administrators_one_is_created_with_the_real_hasher(
    storage: InMemoryStorage, hasher: Argon2Hasher
) -> None:
    administration = administration_of(storage, hasher)
    outcomes = await asyncio.gather(
        *(administration.create_first_admin(f"a{n}@acme.es", PASSWORD) for n in range(50)),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Conflict | RateLimited) for outcome in outcomes) == 49


async def test_administrator_by_another_role_counts(storage: InMemoryStorage) -> None:
    boss = Role(name="boss", permissions=ROLE_PERMISSIONS)
    clerk = Role(name="admin", permissions=frozenset({Permission.CHAT}))
    administration = administration_of(InMemoryStorage({"boss": boss, "admin": clerk}))
    await administration.create_user("clerk@acme.es", "admin", "Ventas", PASSWORD)
    user = await administration.create_first_admin("ana@acme.es", PASSWORD)
    assert user.roles == ("boss",)
    with pytest.raises(Conflict):
        await administration.create_first_admin("eva@acme.es", PASSWORD)


async def test_first_administrator_requires_a_role_that_administers() -> None:
    clerk = Role(name="admin", permissions=frozenset({Permission.CHAT}))
    with pytest.raises(Conflict, match=r"users\.manage"):
        await administration_of(InMemoryStorage({"admin": clerk})).create_first_admin(
            "ana@acme.es", PASSWORD
        )


async def test_a_user_has_the_role_and_the_department_that_were_asked_for(
    storage: InMemoryStorage, administration: Administration
) -> None:
    user = await administration.create_user("Eva@acme.es", "employee", " Ventas ", PASSWORD)
    assert await stored(storage, "eva@acme.es") == user
    assert (user.roles, user.department) == (("employee",), "Ventas")
    assert user.password_hash == f"hash of {PASSWORD}"


async def test_email_address_is_unique_regardless_of_case(administration: Administration) -> None:
    await administration.create_user("eva@acme.es", "employee", "Ventas", PASSWORD)
    with pytest.raises(Conflict):
        await administration.create_user("EVA@acme.es", "employee", "Ventas", PASSWORD)


async def test_an_unknown_role_is_refused_with_the_names_of_the_known_ones(
    administration: Administration,
) -> None:
    with pytest.raises(InvalidInput, match="admin, employee") as refused:
        await administration.create_user("eva@acme.es", "superuser", "Ventas", PASSWORD)
    assert refused.value.where == ("role",)
    assert "superuser" not in str(refused.value)


@pytest.mark.parametrize(
    ("email", "department", "password", "field"),
    [
        ("no address", "Ventas", PASSWORD, "email"),
        ("eva@acme.es", "", PASSWORD, "department"),
        ("eva@acme.es", "x" * 101, PASSWORD, "department"),
        ("eva@acme.es", "Ven\ntas", PASSWORD, "department"),
        ("eva@acme.es", "Ventas", "short", "password"),
        ("eva@acme.es", "Ventas", "contraseña12345", "password"),
        ("eva.luna@acme.es", "Ventas", "Eva Luna Ventas 2024", "password"),
    ],
)
async def test_invalid_value_is_refused_by_the_name_of_its_field(
    administration: Administration, email: str, department: str, password: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await administration.create_user(email, "employee", department, password)
    assert refused.value.where == (field,)


async def test_the_first_administrators_password_is_checked_too(
    storage: InMemoryStorage, administration: Administration
) -> None:
    with pytest.raises(InvalidInput):
        await administration.create_first_admin("ana@acme.es", "ana@acme.es")
    assert await stored(storage, "ana@acme.es") is None
