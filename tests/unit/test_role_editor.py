"""Roles: nobody grants what they lack, and administrators remain."""

import pytest

from chatbot.application.user_changes import UserChange
from chatbot.domain.errors import (
    ChangedMeanwhile,
    Conflict,
    Forbidden,
    InvalidInput,
    LastAdministrator,
    NotFound,
)
from chatbot.domain.fingerprints import Expected, fingerprint
from chatbot.domain.identity import Principal
from chatbot.domain.permissions import DEFAULT_ROLES, ROLE_PERMISSIONS, Permission, Role
from staff import HOST, Staff

LEAD = Role(
    name="team_lead",
    permissions=frozenset({Permission.USERS_READ}),
    description="Leads.",
    own_department_only=True,
)


@pytest.fixture
async def staff() -> Staff:
    return Staff()


@pytest.fixture
async def admin(staff: Staff) -> Principal:
    return await staff.acting(await staff.add("admin", "admin"))


async def test_role_is_created_changed_and_deleted(staff: Staff, admin: Principal) -> None:
    assert await staff.roles.put(admin, LEAD) == (LEAD, True)
    wider = Role(name="team_lead", permissions=frozenset({Permission.CHAT}), description=" x ")
    stored, is_new = await staff.roles.put(admin, wider)
    assert (stored.description, is_new) == ("x", False)
    assert await staff.roles.read(admin, "team_lead") == stored
    await staff.roles.remove(admin, "team_lead")
    with pytest.raises(NotFound):
        await staff.roles.read(admin, "team_lead")
    with pytest.raises(NotFound):
        await staff.roles.remove(admin, "team_lead")
    actions = [(e["action"], e["object"]) for e in await staff.events()]
    assert actions[-3:] == [
        ("role.set", {"type": "role", "id": "team_lead"}),
        ("role.set", {"type": "role", "id": "team_lead"}),
        ("role.delete", {"type": "role", "id": "team_lead"}),
    ]


async def test_audit_says_which_permissions_a_change_of_a_role_gives_and_takes(
    staff: Staff, admin: Principal
) -> None:
    await staff.roles.put(admin, LEAD)
    wider = Role(name="team_lead", permissions=frozenset({Permission.CHAT, Permission.MEMORY}))
    await staff.roles.put(admin, wider)
    await staff.roles.remove(admin, "team_lead")
    assert [event["reason"] for event in (await staff.events())[-3:]] == [
        "given: users.read; own department only",
        "given: chat, memory; taken: users.read; in all departments",
        "taken: chat, memory",
    ]


async def test_audit_says_which_roles_a_person_was_given_and_lost(
    staff: Staff, admin: Principal
) -> None:
    boss = await staff.add("boss", "employee")
    change = UserChange(roles=["admin", "auditor"], department="it")
    await staff.people.change(admin, boss.id, change)
    created, changed = (await staff.events())[-2:]
    assert (created["action"], created["reason"]) == ("user.create", "given: employee")
    assert changed["reason"] == "changed: roles, department; given: admin, auditor; taken: employee"


async def test_role_that_is_put_unchanged_is_not_recorded(staff: Staff, admin: Principal) -> None:
    await staff.roles.put(admin, LEAD)
    before = await staff.events()
    assert await staff.roles.put(admin, LEAD) == (LEAD, False)
    assert await staff.events() == before


@pytest.mark.parametrize("name", ["admin", "department_admin", "employee", "auditor"])
async def test_permission_that_the_caller_lacks_enters_no_role(
    staff: Staff, admin: Principal, name: str
) -> None:
    for permissions in (ROLE_PERMISSIONS, frozenset({Permission.SESSIONS_READ_ANY})):
        with pytest.raises(Forbidden):
            await staff.roles.put(admin, Role(name=name, permissions=permissions))
    assert (await staff.roles.read(admin, name)) == DEFAULT_ROLES[name]


async def test_role_with_a_permission_that_the_caller_lacks_is_not_taken_from_its_users(
    staff: Staff, admin: Principal
) -> None:
    with pytest.raises(Forbidden):
        await staff.roles.put(admin, Role(name="data_protection", permissions=frozenset()))
    with pytest.raises(Forbidden):
        await staff.roles.remove(admin, "data_protection")


async def test_role_in_use_is_not_deleted(staff: Staff, admin: Principal) -> None:
    people = [await staff.add(name, "auditor") for name in ("eva", "luis")]
    await staff.people.change(HOST, people[0].id, UserChange(is_active=False))
    with pytest.raises(Conflict, match="2 users"):
        await staff.roles.remove(admin, "auditor")


async def test_role_keeps_the_permissions_of_the_last_administrator(
    staff: Staff, admin: Principal
) -> None:
    for lost in (Permission.USERS_MANAGE, Permission.ROLES_MANAGE):
        smaller = Role(name="admin", permissions=DEFAULT_ROLES["admin"].permissions - {lost})
        with pytest.raises(LastAdministrator):
            await staff.roles.put(admin, smaller)
    with pytest.raises(InvalidInput):
        await staff.roles.put(
            admin,
            Role(name="admin", permissions=ROLE_PERMISSIONS, own_department_only=True),
        )


async def test_role_is_changed_if_it_is_the_expected_one(staff: Staff, admin: Principal) -> None:
    await staff.roles.put(admin, LEAD)
    seen = Expected(any_of=frozenset({fingerprint(LEAD)}))
    other = Expected(any_of=frozenset({fingerprint(DEFAULT_ROLES["auditor"])}))
    changed = Role(name="team_lead", permissions=frozenset())
    with pytest.raises(ChangedMeanwhile):
        await staff.roles.put(admin, changed, expected=other)
    await staff.roles.put(admin, changed, expected=seen)
    with pytest.raises(ChangedMeanwhile):
        await staff.roles.remove(admin, "team_lead", expected=seen)
    with pytest.raises(ChangedMeanwhile):
        await staff.roles.put(
            admin, Role(name="new", permissions=frozenset()), expected=Expected(is_any=True)
        )


@pytest.mark.parametrize("name", ["", "A", "Admin", "a b", "-a", "a/b", "ä", "a\u202e", "x" * 65])
async def test_new_role_needs_a_plain_name(staff: Staff, admin: Principal, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await staff.roles.put(admin, Role(name=name, permissions=frozenset()))
    assert refused.value.where == ("name",)


@pytest.mark.parametrize("text", ["x" * 201, "a\nb", "a\u202eb", "a\u200bb", "\x1b[2J"])
async def test_description_is_visible_text(staff: Staff, admin: Principal, text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await staff.roles.put(admin, Role(name="x", permissions=frozenset(), description=text))
    assert refused.value.where == ("description",)


async def test_permission_beyond_a_department_is_in_no_departmental_role(
    staff: Staff, admin: Principal
) -> None:
    with pytest.raises(InvalidInput, match=r"audit\.read"):
        await staff.roles.put(
            admin,
            Role(
                name="x",
                permissions=frozenset({Permission.AUDIT_READ, Permission.USERS_READ}),
                own_department_only=True,
            ),
        )


@pytest.mark.parametrize("role", ["employee", "auditor", "department_admin", "data_protection"])
async def test_only_administrators_change_roles(staff: Staff, admin: Principal, role: str) -> None:
    caller = await staff.acting(await staff.add("other", role))
    with pytest.raises(Forbidden):
        await staff.roles.put(caller, Role(name="x", permissions=frozenset()))
    with pytest.raises(Forbidden):
        await staff.roles.remove(caller, "auditor")
    if role in {"employee", "auditor"}:
        with pytest.raises(Forbidden):
            await staff.roles.all(caller)
    else:
        assert len(await staff.roles.all(caller)) == len(DEFAULT_ROLES)
