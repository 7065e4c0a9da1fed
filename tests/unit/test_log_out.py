"""Log-out: of one sign-in, and of all."""

import pytest

from chatbot.domain.audit import Action
from chatbot.domain.errors import InvalidToken, Unauthenticated
from sign_in import WEB, SignInService, application


@pytest.fixture
async def service() -> SignInService:
    made = SignInService()
    for name in ("ana", "eva"):
        await made.add(name)
    return made


async def test_log_out_ends_the_sign_in_of_the_refresh_token(service: SignInService) -> None:
    first, elsewhere = await service.login(), await service.login()
    second = await service.refresh(first)
    await service.pairs.end(WEB, first.refresh_token)
    assert await service.is_refused(second)
    assert not await service.is_in(second)
    assert await service.is_in(elsewhere)
    await service.pairs.end(WEB, second.refresh_token)
    assert await service.events() == ["auth.login", "auth.login", "auth.logout"]


async def test_log_out_without_a_refresh_token_ends_the_sign_in_of_the_access_token(
    service: SignInService,
) -> None:
    pair, elsewhere = await service.login(), await service.login()
    await service.pairs.end(await service.who(pair), None)
    assert not await service.is_in(pair)
    assert await service.is_refused(pair)
    assert await service.is_in(elsewhere)


async def test_log_out_needs_a_token(service: SignInService) -> None:
    with pytest.raises(Unauthenticated):
        await service.pairs.end(WEB, None)
    with pytest.raises(InvalidToken):
        await service.pairs.end(WEB, "garbage")


async def test_users_cannot_log_each_other_out(service: SignInService) -> None:
    ana, eva = await service.login(), await service.login("eva@acme.es")
    with pytest.raises(InvalidToken):
        await service.pairs.end(await service.who(eva), ana.refresh_token)
    with pytest.raises(InvalidToken):
        await service.pairs.end(application("other"), ana.refresh_token)
    assert await service.is_in(ana)
    assert not await service.is_refused(ana)


async def test_log_out_everywhere_ends_every_sign_in_of_the_user_only(
    service: SignInService,
) -> None:
    pairs = [await service.login() for _ in range(3)]
    eva = await service.login("eva@acme.es")
    caller = await service.who(pairs[0])
    assert caller.user
    await service.pairs.end_all(caller, caller.user)
    assert [await service.is_in(pair) for pair in pairs] == [False] * 3
    assert [await service.is_refused(pair) for pair in pairs] == [True] * 3
    assert await service.is_in(eva)
    assert await service.is_in(await service.login())
    assert Action.LOGOUT_ALL in await service.events()
