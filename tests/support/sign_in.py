"""Signing in, for tests that build the use cases themselves."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.adapters.security.refresh_tokens import HmacRefreshTokens
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.audit_queue import AuditQueue
from chatbot.application.auditing import Auditing
from chatbot.application.authentication import Authentication
from chatbot.application.token_pairs import TokenPair, TokenPairs
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import InvalidToken
from chatbot.domain.identity import Client, ClientId, FamilyId, Principal, Source, User, UserId
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import PasswordHasher, Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.users import USERS
from chatbot.domain.sign_in import RefreshFamily

T0 = datetime(2030, 1, 1, tzinfo=UTC)
SECRET, KEY = "s" * 32, b"k" * 32
PASSWORD = "violet kettle drums at noon"
LIFETIME = timedelta(days=14)


def application(name: str = "default") -> Principal:
    """An application that calls for itself, with the right to chat."""
    rights = frozenset({Permission.CHAT})
    return of_client(Client(id=ClientId(name), permissions=rights, user_permissions=rights))


def calling_from(address: str, caller: Principal | None = None) -> Principal:
    return replace(caller or application(), source=Source(address=address))


def auditing(clock: Clock) -> Auditing:
    return Auditing(KEY, clock)


def audit_queue(storage: Storage, clock: Clock) -> AuditQueue:
    return AuditQueue(storage, auditing(clock))


def new_id() -> str:
    return secrets.token_hex(16)


def token_pairs(
    storage: Storage, tokens: Tokens, clock: Clock, *, secret: str = SECRET
) -> TokenPairs:
    return TokenPairs(
        storage,
        tokens,
        HmacRefreshTokens(secret),
        auditing(clock),
        audit_queue(storage, clock),
        clock=clock,
        new_id=new_id,
        lifetime=LIFETIME,
    )


async def signed_in(storage: Storage, user: User, clock: Clock) -> FamilyId:
    """The id of a new sign-in of the user."""
    family = RefreshFamily(
        id=FamilyId(new_id()),
        user_id=user.id,
        client_id=application().client.id,
        number=1,
        renewed_at=clock(),
        expires_at=clock() + LIFETIME,
        token_stamp=user.token_stamp,
    )
    await storage.transact(lambda tx: tx.refresh_families.add(family))
    return family.id


WEB = application("web")


class _Hasher(PasswordHasher):
    async def hash(self, password: str) -> str:
        return password

    async def verify(self, password: str, password_hash: str | None) -> bool:
        return password == password_hash

    def needs_rehash(self, password_hash: str) -> bool:
        return not password_hash

    async def aclose(self) -> None: ...


class SignInService:
    """The use cases on a store, in memory by default, with a clock that tests set."""

    def __init__(self, storage: Storage | None = None) -> None:
        self.now = T0
        self.storage = storage or InMemoryStorage()
        tokens = JoseTokens(SECRET, ttl_s=3600, clock=self.clock)
        self.pairs = token_pairs(self.storage, tokens, self.clock)
        self.authentication = Authentication(
            self.storage,
            _Hasher(),
            tokens,
            self.pairs,
            auditing(self.clock),
            queue=audit_queue(self.storage, self.clock),
            clock=self.clock,
        )

    def clock(self) -> datetime:
        return self.now

    async def login(self, email: str = "ana@acme.es", caller: Principal = WEB) -> TokenPair:
        return await self.authentication.login(caller, email, PASSWORD)

    async def refresh(self, pair: TokenPair, caller: Principal = WEB) -> TokenPair:
        return await self.pairs.refresh(caller, pair.refresh_token)

    async def is_refused(self, pair: TokenPair, caller: Principal = WEB) -> bool:
        try:
            await self.refresh(pair, caller)
        except InvalidToken:
            return True
        return False

    async def who(self, pair: TokenPair) -> Principal:
        return await self.authentication.identify(WEB, pair.access_token)

    async def is_in(self, pair: TokenPair) -> bool:
        """Whether the access token is valid."""
        try:
            await self.who(pair)
        except InvalidToken:
            return False
        return True

    async def events(self) -> list[str]:
        entries = await self.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=100))
        return [str(entry.content["action"]) for entry in entries]

    async def add(self, name: str) -> User:
        user = User(
            id=UserId(name),
            email=f"{name}@acme.es",
            password_hash=PASSWORD,
            roles=("employee",),
            department="Ventas",
            created_at=T0,
        )
        await self.storage.transact(lambda tx: tx.users.add(user))
        return user

    async def change(self, user: User, **changes: object) -> None:
        new = replace(user, **changes)  # type: ignore[arg-type] # fields of a user
        await self.storage.transact(lambda tx: tx.records.put(USERS, new, expected=user))
