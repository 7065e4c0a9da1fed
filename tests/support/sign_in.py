"""Parts of signing in, for tests that build the use cases themselves."""

import secrets
from dataclasses import replace
from datetime import timedelta

from chatbot.adapters.security.refresh_tokens import HmacRefreshTokens
from chatbot.application.auditing import Auditing
from chatbot.application.token_pairs import TokenPairs
from chatbot.domain.authorization import of_client
from chatbot.domain.identity import Client, ClientId, FamilyId, Principal, Source, User
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.security import Tokens
from chatbot.domain.ports.storage import Storage
from chatbot.domain.sign_in import RefreshFamily

SECRET = "s" * 32
LIFETIME = timedelta(days=14)


def application(name: str = "default") -> Principal:
    """An application that calls for itself, with the right to chat."""
    rights = frozenset({Permission.CHAT})
    return of_client(Client(id=ClientId(name), permissions=rights, user_permissions=rights))


def calling_from(address: str, caller: Principal | None = None) -> Principal:
    return replace(caller or application(), source=Source(address=address))


def auditing(clock: Clock) -> Auditing:
    return Auditing(b"k" * 32, clock)


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
