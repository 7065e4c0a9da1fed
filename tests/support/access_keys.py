"""The API keys and assertions of the callers in docs/access.md."""

import time
from datetime import timedelta

from assertions import assertion
from chatbot.application.api_keys import MadeKey
from chatbot.domain.credentials import make_key
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission
from service import HOST, Service

Headers = dict[str, str]
ASSERTION = "X-End-User"
FRESH = "a new assertion for each call, of "


class Portal:
    """An application that may do everything for users, whom it names in assertions."""

    def __init__(self, made: MadeKey) -> None:
        self._made = made

    def for_user(self, user_id: str, raw_assertion: str = "") -> Headers:
        """The headers of calls for a user."""
        return {
            "X-API-Key": self._made.raw_key,
            ASSERTION: raw_assertion or f"{FRESH}{user_id}",
        }

    def signed(self, headers: Headers) -> Headers:
        """The headers, with a new assertion if they ask for one."""
        before, asks, user_id = headers.get(ASSERTION, "").partition(FRESH)
        return headers | {ASSERTION: self._sign(user_id)} if asks and not before else headers

    async def bad(self, service: Service, user_id: str) -> list[Headers]:
        """With assertions that are replayed, foreign, expired and forged."""
        replayed, other = self._sign(user_id), await service.add_key(Permission.ACT_FOR_USERS)
        headers = self.for_user(user_id, replayed)
        answer = await service.anonymous.get("/me", headers=headers)
        assert answer.status_code == 200, "the others differ only in what their names say"
        client, now = self._made.line.client, int(time.time())
        found = (
            replayed,
            assertion(other.assertion_secret, other.line.client, sub=user_id),
            self._sign(user_id, iat=now - 200, exp=now - 100),
            assertion(other.assertion_secret, client, sub=user_id),
        )
        return [self.for_user(user_id, raw) for raw in found]

    def _sign(self, user_id: str, **changed: object) -> str:
        made = self._made
        return assertion(made.assertion_secret, made.line.client, sub=user_id, **changed)


async def portal(service: Service) -> Portal:
    scopes = (*ROLE_PERMISSIONS, Permission.ACT_FOR_USERS)
    return Portal(await service.add_key(*scopes, client="portal"))


async def key_without_scopes(service: Service) -> Headers:
    """A key that allows nothing by itself. Its first use of the day is noted already."""
    made = await service.add_key(Permission.ACT_FOR_USERS)
    headers = {"X-API-Key": made.raw_key}
    await service.anonymous.get("/me", headers=headers)
    await service.use.key_use.aclose()
    return headers


async def ended_keys(service: Service) -> list[Headers]:
    """An expired key, a revoked one, and one that this store never had."""
    expired, revoked = [await service.add_key() for _ in range(2)]
    await service.use.api_keys.rotate(HOST, expired.line.id, overlap=timedelta(0))
    await service.use.api_keys.revoke(HOST, revoked.line.id)
    _, unknown = make_key(lambda size: b"k" * size)
    return [{"X-API-Key": key} for key in (expired.raw_key, revoked.raw_key, unknown)]
