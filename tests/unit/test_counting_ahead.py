"""Requests that are counted while their callers are looked up."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.limit_counters import LimitChecks, StoreLimitCounters
from chatbot.application.limit_rules import LimitRules
from chatbot.application.request_limits import RequestLimits
from chatbot.domain.errors import InvalidToken, RateLimited
from chatbot.domain.identity import FamilyId, Principal, UserId
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.ports.storage import StoredCaller
from chatbot.domain.quotas import Period
from sign_in import T0, WEB, SignInService


class SlowStorage(InMemoryStorage):
    """Looks a caller up in more than one round of the event loop, and notes what it held then."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Mapping[str, int] = {}

    async def find_caller(self, user_id: UserId, family_id: FamilyId | None = None) -> StoredCaller:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.counted = await self.held()
        return await super().find_caller(user_id, family_id)

    async def held(self) -> Mapping[str, int]:
        return await self.transact(lambda tx: tx.counters.scan("rate", "", now=T0))


class Door:
    """What lets callers in."""

    def __init__(self, *, per_minute: int = 100, ahead: bool = True) -> None:
        self.storage = SlowStorage()
        self.service = SignInService(self.storage)
        self.rules = LimitRules(self.storage)
        checks = LimitChecks(StoreLimitCounters(self.storage))
        self.limits = RequestLimits(
            self.rules,
            minutes=checks,
            windows=checks,
            per_minute=per_minute,
            zone=UTC,
            clock=self.service.clock,
            ahead=ahead,
        )

    async def enter(self, raw_token: str | None) -> Principal:
        async with self.limits.counting() as counting:
            found = await self.service.authentication.identify(WEB, raw_token, counting)
            await counting.finish(found)
        return found

    async def held(self) -> list[int]:
        return sorted((await self.storage.held()).values())


@pytest.mark.parametrize("ahead", [True, False])
async def test_token_that_was_valid_before_is_counted_while_it_is_checked(ahead: bool) -> None:
    door = Door(ahead=ahead)
    await door.service.add("ana")
    token = (await door.service.login()).access_token
    await door.enter(token)
    assert not door.storage.counted
    await door.enter(token)
    assert list(door.storage.counted.values()) == [2 if ahead else 1]
    assert await door.held() == [2]


async def test_stolen_token_cannot_use_up_the_requests_of_its_owner_after_it_was_revoked() -> None:
    door = Door(per_minute=5)
    await door.service.add("ana")
    stolen = (await door.service.login()).access_token
    await door.enter(stolen)
    await door.service.authentication._storage.transact(
        lambda tx: tx.refresh_families.end_all(UserId("ana"), at=T0)
    )
    for _ in range(20):
        with pytest.raises(InvalidToken):
            await door.enter(stolen)
    assert await door.held() == [2], "one more, which was counted before it was known"
    own = (await door.service.login()).access_token
    await door.enter(own)


async def test_request_beyond_the_limit_is_refused_and_not_counted() -> None:
    door = Door(per_minute=2)
    await door.service.add("ana")
    token = (await door.service.login()).access_token
    for _ in range(2):
        await door.enter(token)
    for _ in range(3):
        with pytest.raises(RateLimited, match="limit of 2 requests") as refused:
            await door.enter(token)
        assert [each.name for each in refused.value.quotas] == ["requests per minute"]
    assert await door.held() == [2]


async def test_many_requests_at_once_never_exceed_the_limit() -> None:
    door = Door(per_minute=7)
    await door.service.add("ana")
    token = (await door.service.login()).access_token
    await door.enter(token)
    found = await asyncio.gather(*(door.enter(token) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(each, Principal) for each in found) == 6
    assert sum(isinstance(each, RateLimited) for each in found) == 14
    assert await door.held() == [7]


async def test_person_with_a_new_role_is_limited_by_it_from_the_next_request_on() -> None:
    door = Door(per_minute=0)
    ana = await door.service.add("ana")
    limit = Limit(
        id="auditors", subject=Subject.ROLE, name="auditor", kind=LimitKind.REQUESTS,
        per=Period.DAY, limit=1,
    )  # fmt: skip
    await door.storage.transact(lambda tx: tx.limits.put(limit, old=None))
    token = (await door.service.login()).access_token
    for _ in range(3):
        await door.enter(token)
    promoted = replace(ana, roles=("auditor",))
    await door.storage.transact(lambda tx: tx.users.replace(promoted, old=ana, roles={}))
    await door.enter(token)
    with pytest.raises(RateLimited):
        await door.enter(token)
    assert await door.held() == [1]


async def test_only_the_most_recent_tokens_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chatbot.application.request_limits._MOST_RECENT", 2)
    door = Door()
    await door.service.add("ana")
    tokens = [(await door.service.login()).access_token for _ in range(3)]
    for token in tokens:
        await door.enter(token)
    assert len(door.limits._recent) == 2
    await door.enter(tokens[0])
    assert await door.held() == [4]


async def test_caller_without_a_token_is_counted_once_it_is_known() -> None:
    door = Door(per_minute=1)
    await door.enter(None)
    with pytest.raises(RateLimited):
        await door.enter(None)
    assert await door.held() == [1]
