"""Who may make, rotate and revoke API keys, with which scopes."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations

import pytest

from chatbot.application.new_keys import NewKey
from chatbot.domain.authorization import of_client, on_behalf_of
from chatbot.domain.credentials import KeyState
from chatbot.domain.errors import (
    Forbidden,
    InvalidToken,
)
from chatbot.domain.identity import Client, ClientId, Principal, User
from chatbot.domain.permissions import (
    ADMINISTERING,
    DEFAULT_ROLES,
    KEY_ONLY,
    ROLE_PERMISSIONS,
    Permission,
    Role,
)
from chatbot.domain.repositories.users import USERS
from key_world import CHAT, DAY, ROOT, WANTED, World
from samples import user


@pytest.fixture
def world() -> World:
    return World()


def holder(permissions: Iterable[Permission]) -> Principal:
    client = Client(
        id=ClientId("app"), permissions=frozenset(permissions), user_permissions=frozenset()
    )
    return of_client(client)


@pytest.mark.parametrize("permission", sorted(ROLE_PERMISSIONS - {Permission.KEYS_MANAGE}))
async def test_callers_cannot_grant_a_scope_that_they_lack(
    world: World, permission: Permission
) -> None:
    wanted = NewKey(client="partner", scopes=frozenset({permission}))
    held = ROLE_PERMISSIONS - {permission}
    with pytest.raises(Forbidden, match=permission.value):
        await world.keys.create(holder(held), wanted)
    made = await world.keys.create(ROOT, wanted)
    with pytest.raises(Forbidden, match=permission.value):
        await world.keys.rotate(holder(held), made.line.id, overlap=DAY)
    assert await world.states() == [KeyState.ACTIVE]
    await world.keys.revoke(holder(held), made.line.id)  # taking away needs no scope


async def test_only_those_who_manage_all_users_and_roles_make_keys_that_act_for_users(
    world: World,
) -> None:
    """With such a key they would read the conversations of people with more rights."""
    wanted = NewKey(client="partner", scopes=CHAT | {Permission.ACT_FOR_USERS})
    held = {Permission.KEYS_MANAGE, Permission.CHAT}
    for lacking, other in permutations((Permission.USERS_MANAGE, Permission.ROLES_MANAGE)):
        with pytest.raises(Forbidden, match=lacking.value):
            await world.keys.create(holder(held | {other}), wanted)
    made = await world.keys.create(holder(held | ADMINISTERING), wanted)
    with pytest.raises(Forbidden, match=r"roles\.manage"):
        await world.keys.rotate(holder(held | {Permission.USERS_MANAGE}), made.line.id, overlap=DAY)


async def test_right_within_a_department_is_not_given_to_a_key(world: World) -> None:
    person = user(roles=("department_admin", "keys"))
    keys = Role(name="keys", permissions=frozenset({Permission.KEYS_MANAGE}))
    roles = {**DEFAULT_ROLES, "keys": keys}
    caller = Client(
        id=ClientId("default"), permissions=frozenset(), user_permissions=ROLE_PERMISSIONS
    )
    principal = on_behalf_of(person, roles, of_client(caller))
    assert Permission.USERS_READ in principal.permissions
    wanted = NewKey(client="partner", scopes=frozenset({Permission.USERS_READ}))
    with pytest.raises(Forbidden, match=r"users\.read"):
        await world.keys.create(principal, wanted)


async def test_every_method_needs_the_permission_to_manage_keys(world: World) -> None:
    made = await world.keys.create(ROOT, WANTED)
    other = holder(set(Permission) - {Permission.KEYS_MANAGE})
    for call in (
        world.keys.create(other, WANTED),
        world.keys.page(other, limit=1, after=None),
        world.keys.rotate(other, made.line.id, overlap=DAY),
        world.keys.revoke(other, made.line.id),
    ):
        with pytest.raises(Forbidden):
            await call
    assert await world.states() == [KeyState.ACTIVE]


async def test_key_only_scopes_are_given_by_those_who_manage_keys_and_users(world: World) -> None:
    made = await world.keys.create(ROOT, replace(WANTED, scopes=KEY_ONLY))
    assert set(made.line.scopes) == KEY_ONLY


async def test_rights_that_end_while_a_call_is_under_way_no_longer_count(world: World) -> None:
    """The caller has been authenticated, and is demoted, disabled or loses the key before the write."""
    admin = replace(user(roles=("admin",)), password_hash="$argon2id$x")
    await world.storage.transact(lambda tx: tx.users.add(admin))
    via = Client(id=ClientId("default"), permissions=frozenset(), user_permissions=ROLE_PERMISSIONS)
    principal = on_behalf_of(admin, DEFAULT_ROLES, of_client(via))
    made = await world.keys.create(principal, WANTED)

    def store(changed: User, old: User) -> None:
        world.storage._transaction.records.put(USERS, changed, expected=old)

    demoted, disabled = replace(admin, roles=("employee",)), replace(admin, is_active=False)
    for changed, error in ((demoted, Forbidden), (disabled, InvalidToken)):
        store(changed, admin)
        for call in (
            world.keys.create(principal, replace(WANTED, client="other")),
            world.keys.rotate(principal, made.line.id, overlap=DAY),
            world.keys.revoke(principal, made.line.id),
        ):
            with pytest.raises(error):
                await call
        store(admin, changed)
    assert await world.states() == [KeyState.ACTIVE]


async def test_key_that_has_ended_makes_no_more_keys(world: World) -> None:
    wanted = NewKey(client="robot", scopes=CHAT | {Permission.KEYS_MANAGE})
    made = await world.keys.create(ROOT, wanted)
    known = await world.identification.look_up(made.raw_key)
    assert known is not None
    robot = of_client(known.client)
    await world.keys.create(robot, WANTED)
    await world.keys.revoke(ROOT, made.line.id)
    with pytest.raises(Forbidden, match="expired or was revoked"):
        await world.keys.create(robot, replace(WANTED, client="other"))
