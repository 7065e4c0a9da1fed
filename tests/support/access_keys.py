"""The API keys and assertions of the callers in docs/access.md."""

import time
from datetime import timedelta

from assertions import assertion
from chatbot.application.api_keys import MadeKey
from chatbot.domain.authorization import of_host
from chatbot.domain.credentials import make_key
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission
from service import Service

Headers = dict[str, str]
ASSERTION = "X-End-User"
FRESH = "a new assertion for each call"
_ROOT = of_host("root")


class Portal:
    """An application that may do everything for a user, whom it names in assertions."""

    def __init__(self, made: MadeKey, user_id: str) -> None:
        self._made, self._user_id = made, user_id
        self.good: Headers = {"X-API-Key": made.raw_key, ASSERTION: FRESH}

    def signed(self, headers: Headers) -> Headers:
        """The headers, with a new assertion if they ask for one."""
        return headers | {ASSERTION: self._sign()} if headers.get(ASSERTION) == FRESH else headers

    async def bad(self, service: Service) -> list[Headers]:
        """With assertions that are replayed, foreign, expired and forged."""
        replayed, other = self._sign(), await service.add_key(Permission.ACT_FOR_USERS)
        answer = await service.anonymous.get("/me", headers=self.good | {ASSERTION: replayed})
        assert answer.status_code == 200, "the others differ only in what their names say"
        client, now = self._made.line.client, int(time.time())
        found = (
            replayed,
            assertion(other.assertion_secret, other.line.client, sub=self._user_id),
            self._sign(iat=now - 200, exp=now - 100),
            assertion(other.assertion_secret, client, sub=self._user_id),
        )
        return [self.good | {ASSERTION: raw} for raw in found]

    def _sign(self, **changed: object) -> str:
        made = self._made
        return assertion(made.assertion_secret, made.line.client, sub=self._user_id, **changed)


async def portal(service: Service, user_id: str) -> Portal:
    made = await service.add_key(*ROLE_PERMISSIONS, Permission.ACT_FOR_USERS, client="portal")
    return Portal(made, user_id)


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
    await service.use.api_keys.rotate(_ROOT, expired.line.id, overlap=timedelta(0))
    await service.use.api_keys.revoke(_ROOT, revoked.line.id)
    _, unknown = make_key(lambda size: b"k" * size)
    return [{"X-API-Key": key} for key in (expired.raw_key, revoked.raw_key, unknown)]
