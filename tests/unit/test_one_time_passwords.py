"""A one-time password signs in to replace it, for seven days, and to nothing else."""

from datetime import timedelta

import pytest

from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.application.authentication import Authentication
from chatbot.application.own_password import OwnPassword
from chatbot.application.user_changes import NewUser, UserChange
from chatbot.application.user_passwords import ONE_TIME_TTL
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import InvalidCredentials, InvalidInput, InvalidToken
from chatbot.domain.identity import Client, ClientId, Principal, User
from chatbot.domain.permissions import DEFAULT_ROLES, ROLE_PERMISSIONS
from sign_in import audit_queue, token_pairs
from staff import HOST, NOW, InstantHasher, Staff

NEW_PASSWORD = "otra frase bastante larga"
APP = of_client(
    Client(id=ClientId("app"), permissions=frozenset(), user_permissions=ROLE_PERMISSIONS)
)
LAST_MOMENT = NOW + ONE_TIME_TTL - timedelta(microseconds=1)


class Company:
    """People who log in to a store in memory."""

    def __init__(self) -> None:
        self.staff = Staff()
        clock = lambda: self.staff.now  # noqa: E731 # shared by all parts
        storage, hasher, audit = self.staff.storage, InstantHasher(), self.staff.auditing
        tokens = JoseTokens("s" * 32, ttl_s=10**6, clock=lambda: NOW)
        pairs = token_pairs(storage, tokens, clock=clock)
        queue = audit_queue(storage, clock)
        self.authentication = Authentication(
            storage, hasher, tokens, pairs, audit, queue=queue, clock=clock
        )
        self.own = OwnPassword(storage, self.authentication, pairs, hasher, audit)

    async def hire(self) -> tuple[User, str]:
        new = NewUser(email="eva@acme.es", roles=["admin"], department="Sales")
        made = await self.staff.people.create(HOST, new)
        assert made.one_time_password is not None
        return made.user, made.one_time_password

    async def enter(self, password: str) -> Principal:
        pair = await self.authentication.login(APP, "eva@acme.es", password)
        return await self.authentication.identify(APP, pair.access_token)


async def test_it_gives_no_permission_until_it_is_replaced() -> None:
    company = Company()
    _, one_time = await company.hire()
    caller = await company.enter(one_time)
    assert caller.permissions == frozenset()
    pair = await company.own.change(caller, one_time, NEW_PASSWORD)
    renewed = await company.authentication.identify(APP, pair.access_token)
    assert renewed.permissions == DEFAULT_ROLES["admin"].permissions
    assert (await company.enter(NEW_PASSWORD)).permissions == renewed.permissions
    with pytest.raises(InvalidCredentials):
        await company.enter(one_time)


async def test_it_and_its_tokens_are_void_after_seven_days() -> None:
    company = Company()
    _, one_time = await company.hire()
    company.staff.now = LAST_MOMENT
    pair = await company.authentication.login(APP, "eva@acme.es", one_time)
    company.staff.now = NOW + ONE_TIME_TTL
    with pytest.raises(InvalidCredentials):
        await company.enter(one_time)
    with pytest.raises(InvalidToken):
        await company.authentication.identify(APP, pair.access_token)


async def test_it_is_not_kept_as_the_own_password() -> None:
    company = Company()
    _, one_time = await company.hire()
    caller = await company.enter(one_time)
    with pytest.raises(InvalidInput) as refused:
        await company.own.change(caller, one_time, one_time)
    assert refused.value.where == ("new_password",)


async def test_another_change_of_the_user_does_not_make_it_the_own_password() -> None:
    company = Company()
    user, one_time = await company.hire()
    for change in (
        UserChange(department="HR"),
        UserChange(is_active=False),
        UserChange(is_active=True),
    ):
        await company.staff.people.change(HOST, user.id, change)
    assert (await company.enter(one_time)).permissions == frozenset()


async def test_audit_records_the_change_without_the_password() -> None:
    company = Company()
    user, one_time = await company.hire()
    await company.own.change(await company.enter(one_time), one_time, NEW_PASSWORD)
    events = await company.staff.events()
    assert [each["action"] for each in events] == [
        "user.create",
        "auth.login",
        "password.change",
        "auth.login",
    ]
    assert events[2]["actor"] == {"client": "app", "user": user.id}
    assert not any(secret in str(events) for secret in (one_time, NEW_PASSWORD, user.email))
