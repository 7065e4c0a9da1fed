"""People and roles in memory, with the use cases that manage them."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.auditing import Auditing
from chatbot.application.erasure import Erasures
from chatbot.application.people import People
from chatbot.application.roles import RoleEditor
from chatbot.application.user_changes import NewUser
from chatbot.application.user_passwords import UserPasswords
from chatbot.application.user_writer import UserWriter
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_client, of_host, on_behalf_of
from chatbot.domain.identity import Client, ClientId, Principal, User
from chatbot.domain.permissions import DEFAULT_ROLES, ROLE_PERMISSIONS, Permission, Role
from chatbot.domain.ports.journal import Content
from chatbot.domain.ports.security import PasswordHasher
from chatbot.domain.ports.storage import Storage

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PASSWORD = "mi perro ladra a las motos"
HOST = of_host("root")


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


class Staff:
    """The use cases on a store; time stands still unless a test moves `now`."""

    def __init__(
        self,
        storage: Storage | None = None,
        *,
        roles: Mapping[str, Role] = DEFAULT_ROLES,
        hasher: PasswordHasher | None = None,
    ) -> None:
        self.now = NOW
        self.storage = storage or InMemoryStorage(roles)
        hasher = hasher or InstantHasher()
        self.auditing = auditing = Auditing(b"k" * 32, clock=lambda: self.now)
        writer = UserWriter(
            self.storage, auditing, clock=lambda: self.now, new_id=lambda: secrets.token_hex(16)
        )
        erasures = Erasures(
            self.storage,
            auditing,
            key=b"k" * 32,
            clock=lambda: self.now,
            new_id=lambda: secrets.token_hex(16),
            forget=lambda: None,
        )
        self.people = People(
            self.storage,
            hasher,
            writer,
            erasures,
            clock=lambda: self.now,
            new_password=lambda: secrets.token_hex(12),
        )
        self.passwords = UserPasswords(
            hasher, writer, clock=lambda: self.now, new_password=lambda: secrets.token_hex(12)
        )
        self.roles = RoleEditor(self.storage, auditing, lambda: self.now)

    async def add(
        self, name: str, *roles: str, department: str = "Sales", by: Principal = HOST
    ) -> User:
        new = NewUser(
            email=f"{name}@acme.es", roles=roles, department=department, password=PASSWORD
        )
        return (await self.people.create(by, new)).user

    async def stored(self, user: User) -> User:
        found = await self.storage.transact(lambda tx: tx.users.by_id(user.id))
        assert found is not None
        return found

    async def acting(
        self, user: User, *, through: Iterable[Permission] = ROLE_PERMISSIONS
    ) -> Principal:
        """The user as a caller, through a client with these permissions."""
        client = Client(
            id=ClientId("app"), permissions=frozenset(), user_permissions=frozenset(through)
        )
        stored = await self.stored(user)
        roles = await self.storage.transact(lambda tx: tx.roles.all())
        return on_behalf_of(stored, roles, of_client(client))

    async def events(self) -> list[Content]:
        """What the audit holds of changes that are done, without the chain."""
        found = await self.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=1000))
        return [each.content for each in found if each.content.get("stage") != "intent"]
