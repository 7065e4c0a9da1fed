"""Fifty administrators who act on each other at once leave one, on every store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from chatbot.application.user_changes import UserChange
from chatbot.domain.errors import ChatbotError, Conflict, Forbidden, InvalidToken, LastAdministrator
from chatbot.domain.identity import Principal, User
from chatbot.domain.permissions import DEFAULT_ROLES, Permission, Role
from chatbot.domain.ports.storage import Storage
from staff import Staff

MANY = 50
Act = Callable[[Staff, Principal, User], Awaitable[object]]
HARMLESS = Role(name="admin", permissions=frozenset({Permission.ROLES_MANAGE, Permission.CHAT}))
ACTS: dict[str, Act] = {
    "demote": lambda s, p, u: s.people.change(p, u.id, UserChange(roles=["employee"])),
    "disable": lambda s, p, u: s.people.change(p, u.id, UserChange(is_active=False)),
    "expire": lambda s, p, u: s.people.change(p, u.id, UserChange(expires_at=s.now)),
    "reset password": lambda s, p, u: s.passwords.reset(p, u.id),
    "erase": lambda s, p, u: s.people.erase(p, u.id),
    "change the role": lambda s, p, _: s.roles.put(p, HARMLESS),
}


@pytest.fixture(params=["in_memory", "json_files", "sqlite", "postgres"])
async def staff(
    request: pytest.FixtureRequest, make_storage: Callable[[str], Storage]
) -> AsyncIterator[Staff]:
    async with make_storage(request.param) as storage:
        yield Staff(storage)


async def outcome(work: Awaitable[object]) -> type[ChatbotError] | None:
    try:
        await work
    except (Conflict, Forbidden, InvalidToken) as error:
        return type(error)
    return None


@pytest.mark.parametrize("mixed", [["demote"], ["disable", "expire"], list(ACTS)], ids=str)
async def test_of_fifty_who_act_on_each_other_one_is_left(staff: Staff, mixed: list[str]) -> None:
    admins = [await staff.add(f"admin{n:02}", "admin") for n in range(MANY)]
    callers = [await staff.acting(each) for each in admins]
    works = [
        ACTS[mixed[n % len(mixed)]](staff, caller, admins[(n + 1) % MANY])
        for n, caller in enumerate(callers)
    ]
    outcomes = await asyncio.gather(*map(outcome, works))
    assert None in outcomes
    left = await staff.storage.transact(
        lambda tx: [user.email for user in tx.users.administrators(tx.roles.all())]
    )
    assert left
    if mixed == ["demote"]:
        assert len(left) == MANY - outcomes.count(None)


async def test_the_last_two_cannot_both_be_removed_at_once(staff: Staff) -> None:
    for attempt in range(5):
        pair = [await staff.add(f"admin{attempt}{n}", "admin") for n in range(2)]
        if attempt:  # those of the attempt before are in the way
            for user in await staff.storage.transact(lambda tx: list(tx.users.all())):
                if user not in pair and user.roles == ("admin",):
                    await staff.people.change(
                        await staff.acting(pair[0]), user.id, UserChange(roles=[])
                    )
        callers = [await staff.acting(each) for each in pair]
        own = [
            outcome(staff.people.change(caller, user.id, UserChange(is_active=False)))
            for caller, user in zip(callers, pair, strict=True)
        ]
        outcomes = await asyncio.gather(*own)
        assert sorted(map(str, outcomes)) == sorted([str(None), str(LastAdministrator)])


async def test_right_of_the_last_administrator_may_come_from_two_roles(staff: Staff) -> None:
    parts = {
        "people_lead": frozenset({Permission.USERS_MANAGE, Permission.USERS_READ}),
        "role_lead": DEFAULT_ROLES["admin"].permissions - {Permission.USERS_MANAGE},
    }
    admin = await staff.acting(await staff.add("first", "admin"))
    for name, permissions in parts.items():
        await staff.roles.put(admin, Role(name=name, permissions=permissions))
    second = await staff.add("second", *parts)
    [first] = await staff.storage.transact(lambda tx: [tx.users.by_email("first@acme.es")])
    assert first is not None
    caller = await staff.acting(second)
    await staff.people.change(caller, first.id, UserChange(is_active=False))
    for change in (UserChange(roles=["role_lead"]), UserChange(roles=["people_lead"])):
        with pytest.raises(LastAdministrator):
            await staff.people.change(caller, second.id, change)
    for name in parts:
        with pytest.raises(LastAdministrator):
            await staff.roles.put(caller, Role(name=name, permissions=frozenset()))
