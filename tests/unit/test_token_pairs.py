"""Pairs of tokens: single use, lost answers, reuse."""

import asyncio
from datetime import timedelta

import pytest

from chatbot.application.token_pairs import COUNTED_EVERY, MOST_SIGN_INS
from chatbot.domain.audit import AUDIT
from chatbot.domain.errors import Conflict
from chatbot.domain.repositories.refresh_families import REFRESH_FAMILIES, RefreshFamilies
from chatbot.domain.repositories.users import USERS
from chatbot.domain.sign_in import RefreshFamily
from sign_in import LIFETIME, T0, WEB, SignInService, application


@pytest.fixture
async def service() -> SignInService:
    made = SignInService()
    for name in ("ana", "eva"):
        await made.add(name)
    return made


async def test_each_exchange_gives_a_new_pair_for_the_same_sign_in(service: SignInService) -> None:
    first = await service.login()
    assert (first.expires_in, first.refresh_expires_in) == (3600, LIFETIME.total_seconds())
    service.now += timedelta(minutes=5)
    second = await service.refresh(first)
    third = await service.refresh(second)
    assert len({p.refresh_token for p in (first, second, third)}) == 3
    assert len({p.access_token for p in (first, second, third)}) == 3
    assert len({(await service.who(p)).sign_in for p in (first, second, third)}) == 1
    assert third.refresh_expires_in == LIFETIME.total_seconds()


async def test_fifty_exchanges_of_one_token_at_once_give_one_pair(service: SignInService) -> None:
    first = await service.login()
    pairs = await asyncio.gather(*(service.refresh(first) for _ in range(50)))
    assert len(set(pairs)) == 1
    assert pairs[0] != first
    assert await service.events() == ["auth.login"]


async def test_exchange_that_comes_second_gets_the_pair_of_the_first(
    service: SignInService, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, store = await service.login(), RefreshFamilies.replace

    def lose(self: RefreshFamilies, family: RefreshFamily, *, old: RefreshFamily) -> None:
        monkeypatch.undo()
        store(self, family, old=old)  # by another process
        raise Conflict

    monkeypatch.setattr(RefreshFamilies, "replace", lose)
    second = await service.refresh(first)
    assert await service.refresh(first) == second
    assert not await service.is_refused(second)


async def test_answer_that_was_lost_is_given_again_for_ten_seconds(service: SignInService) -> None:
    first = await service.login()
    second = await service.refresh(first)
    for seconds in (0, 3, 10):
        service.now = T0 + timedelta(seconds=seconds)
        assert await service.refresh(first) == second
    service.now = T0 + timedelta(seconds=10, microseconds=1)
    assert await service.is_refused(first)
    assert await service.events() == ["auth.login", "token.reuse"]


async def test_lost_answer_is_not_given_again_once_the_next_exchange_was_made(
    service: SignInService,
) -> None:
    first = await service.login()
    second = await service.refresh(first)
    third = await service.refresh(second)
    assert await service.refresh(second) == third
    assert await service.is_refused(first)


async def test_reuse_ends_the_whole_sign_in_and_no_other(service: SignInService) -> None:
    first, elsewhere = await service.login(), await service.login()
    second = await service.refresh(first)
    third = await service.refresh(second)
    assert await service.is_refused(first)
    assert await service.is_refused(third)
    assert [await service.is_in(pair) for pair in (first, second, third)] == [False] * 3
    assert await service.is_in(elsewhere)
    assert await service.events() == ["auth.login", "auth.login", "token.reuse"]


@pytest.mark.parametrize("is_spent", [False, True])
async def test_another_application_cannot_exchange_a_token_and_ends_the_sign_in(
    service: SignInService, *, is_spent: bool
) -> None:
    pair = await service.login()
    newest = await service.refresh(pair) if is_spent else pair
    assert await service.is_refused(pair, application("other"))
    assert await service.is_refused(newest)
    assert await service.events() == ["auth.login", "token.reuse"]


@pytest.mark.parametrize(
    ("jump", "same"),
    [(-3600, False), (-11, False), (-10, True), (-1, True), (9, True), (11, False), (86400, False)],
)
async def test_clock_that_jumps_keeps_the_window_of_ten_seconds(
    service: SignInService, jump: int, *, same: bool
) -> None:
    first = await service.login()
    second = await service.refresh(first)
    service.now += timedelta(seconds=jump)
    if same:
        assert await service.refresh(first) == second
    else:
        assert await service.is_refused(first)


async def test_newest_token_is_exchanged_after_the_clock_was_set_back(
    service: SignInService,
) -> None:
    first = await service.login()
    service.now -= timedelta(days=1)
    second = await service.refresh(first)
    assert await service.is_in(second)
    service.now -= timedelta(days=1)
    assert await service.is_in(await service.refresh(second))


async def test_token_expires_when_it_was_not_exchanged_for_so_long(service: SignInService) -> None:
    first = await service.login()
    service.now += LIFETIME - timedelta(microseconds=1)
    second = await service.refresh(first)
    service.now += LIFETIME
    assert await service.is_refused(second)
    assert await service.events() == ["auth.login"], "waiting too long is no offence"


@pytest.mark.parametrize(
    "change",
    [
        {"is_active": False},
        {"password_hash": "another"},
        {"token_version": 1},
        {"expires_at": T0},
        {"one_time_until": T0},
    ],
    ids=["disabled", "password", "version", "expired", "one-time password void"],
)
async def test_user_whose_tokens_are_revoked_gets_no_new_ones(
    service: SignInService, change: dict[str, object]
) -> None:
    first = await service.login()
    second = await service.refresh(first)
    [user] = [u for u in await service.storage.transact(lambda tx: tx.users.all()) if u.id == "ana"]
    await service.change(user, **change)
    assert await service.is_refused(first), "within the time for lost answers"
    assert await service.is_refused(second)
    assert await service.events() == ["auth.login", "auth.refresh_refused"]


async def test_removed_user_gets_no_new_tokens(service: SignInService) -> None:
    first = await service.login()
    await service.storage.transact(lambda tx: tx.records.remove(USERS, "ana"))
    assert await service.is_refused(first)


async def test_token_that_is_newer_than_a_restored_store_is_refused(service: SignInService) -> None:
    first = await service.login()
    [old] = await service.storage.transact(lambda tx: tx.records.page(REFRESH_FAMILIES))
    third = await service.refresh(await service.refresh(first))
    [new] = await service.storage.transact(lambda tx: tx.records.page(REFRESH_FAMILIES))
    await service.storage.transact(lambda tx: tx.records.put(REFRESH_FAMILIES, old, expected=new))
    assert await service.is_refused(third)
    assert await service.is_refused(first)


async def test_sign_ins_that_have_expired_are_dropped_at_a_later_log_in(
    service: SignInService,
) -> None:
    await service.login()
    service.now += LIFETIME
    await service.login("eva@acme.es")
    families = await service.storage.transact(lambda tx: tx.records.page(REFRESH_FAMILIES))
    assert [family.user_id for family in families] == ["eva"]


async def test_user_has_a_limited_number_of_sign_ins_and_the_oldest_end_first(
    service: SignInService,
) -> None:
    pairs = []
    for _ in range(MOST_SIGN_INS + COUNTED_EVERY):
        service.now += timedelta(seconds=1)
        pairs.append(await service.login())
    await service.pairs.end(WEB, pairs[-1].refresh_token)
    for _ in range(COUNTED_EVERY):
        service.now += timedelta(seconds=1)
        pairs.append(await service.login())
    eva = await service.login("eva@acme.es")
    live = [await service.is_in(pair) for pair in pairs]
    ended = 2 * COUNTED_EVERY - 1
    assert live[:ended] == [False] * ended
    assert live[ended:].count(False) == 1, "the one that has ended was the first to be removed"
    assert sum(live) == MOST_SIGN_INS
    assert await service.is_in(eva)


async def test_failed_log_in_is_recorded_with_a_pseudonym_of_the_address(
    service: SignInService,
) -> None:
    for email in ("ana@acme.es", " ANA@acme.es", "nobody@acme.es"):
        with pytest.raises(Exception, match="wrong"):
            await service.authentication.login(WEB, email, "not the password")
    entries = await service.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9))
    assert {entry.content["action"] for entry in entries} == {"auth.login_failed"}
    objects = [entry.content["object"] for entry in entries]
    assert objects[0] == objects[1] != objects[2]
    assert "acme" not in str(entries)


async def test_sign_in_is_recorded_with_who_it_is(service: SignInService) -> None:
    pair = await service.login()
    [entry] = await service.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9))
    assert entry.content["actor"] == {"user": "ana", "client": "web"}
    assert entry.content["object"] == {"type": "sign_in", "id": (await service.who(pair)).sign_in}
    assert "acme" not in str(entry)
