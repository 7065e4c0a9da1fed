"""Nobody grants what they lack, or acts on a person who has more rights."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from chatbot.application.user_changes import NewUser, UserChange
from chatbot.domain.errors import Forbidden, InvalidToken, LastAdministrator, NotFound
from chatbot.domain.identity import Principal, User, UserId
from chatbot.domain.permissions import Permission, Role
from staff import PASSWORD, Staff

Act = Callable[[Staff, Principal, User], Awaitable[object]]
BOSS = ("employee", "department_admin")
ACTS: dict[str, Act] = {
    "change roles": lambda s, p, u: s.people.change(p, u.id, UserChange(roles=[])),
    "change e-mail": lambda s, p, u: s.people.change(p, u.id, UserChange(email="x@acme.es")),
    "disable": lambda s, p, u: s.people.change(p, u.id, UserChange(is_active=False)),
    "expire": lambda s, p, u: s.people.change(p, u.id, UserChange(expires_at=s.now)),
    "set password": lambda s, p, u: s.passwords.set(p, u.id, "otra frase muy larga"),
    "reset password": lambda s, p, u: s.passwords.reset(p, u.id),
    "log out": lambda s, p, u: s.passwords.log_out(p, u.id),
}
acts = pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)


@pytest.fixture
async def staff() -> Staff:
    staff = Staff()
    await staff.add("root", "admin", department="IT")
    return staff


@acts
async def test_department_admin_acts_on_people_of_the_own_department(
    staff: Staff, act: Act
) -> None:
    boss, eva = await staff.add("boss", *BOSS), await staff.add("eva", "employee")
    await act(staff, await staff.acting(boss), eva)
    assert await staff.stored(eva) != eva


@acts
async def test_people_of_other_departments_do_not_exist_for_a_department_admin(
    staff: Staff, act: Act
) -> None:
    boss, luis = (
        await staff.add("boss", *BOSS),
        await staff.add("luis", "employee", department="HR"),
    )
    caller = await staff.acting(boss)
    said = set()
    for target in (luis.id, UserId("0" * 32), UserId("\0"), UserId("ñ" * 900)):
        with pytest.raises(NotFound) as refused:
            await act(staff, caller, replace(luis, id=target))
        said.add(str(refused.value))
    assert len(said) == 1
    assert await staff.stored(luis) == luis


@acts
@pytest.mark.parametrize("role", ["admin", "auditor", "data_protection"])
async def test_department_admin_cannot_touch_people_with_more_rights(
    staff: Staff, act: Act, role: str
) -> None:
    boss, other = await staff.add("boss", *BOSS), await staff.add("other", role)
    with pytest.raises(Forbidden):
        await act(staff, await staff.acting(boss), other)
    assert await staff.stored(other) == other


@acts
async def test_administrator_without_a_permission_cannot_touch_people_who_have_it(
    staff: Staff, act: Act
) -> None:
    admin, officer = await staff.add("admin", "admin"), await staff.add("dpo", "data_protection")
    with pytest.raises(Forbidden):
        await act(staff, await staff.acting(admin), officer)
    assert await staff.stored(officer) == officer


@pytest.mark.parametrize(
    ("roles", "department"),
    [
        (["admin"], "Sales"),
        (["auditor"], "Sales"),
        (["employee", "data_protection"], "Sales"),
        (["employee"], "HR"),
        (["department_admin"], "HR"),
    ],
)
async def test_department_admin_creates_nobody_elsewhere_or_with_more_rights(
    staff: Staff, roles: list[str], department: str
) -> None:
    caller = await staff.acting(await staff.add("boss", *BOSS))
    new = NewUser(email="n@acme.es", roles=roles, department=department, password=PASSWORD)
    with pytest.raises(Forbidden):
        await staff.people.create(caller, new)
    assert await staff.storage.transact(lambda tx: tx.users.by_email("n@acme.es")) is None


async def test_department_admin_creates_another_one_of_the_own_department(staff: Staff) -> None:
    caller = await staff.acting(await staff.add("boss", *BOSS))
    made = await staff.add("deputy", *BOSS, department="SALES", by=caller)
    assert made.department == "Sales"


async def test_department_admin_without_chat_cannot_grant_it(staff: Staff) -> None:
    caller = await staff.acting(await staff.add("boss", "department_admin"))
    with pytest.raises(Forbidden):
        await staff.add("eva", "employee", by=caller)


@pytest.mark.parametrize("name", ["boss", "eva"])
async def test_department_admin_moves_nobody_to_another_department(staff: Staff, name: str) -> None:
    boss, eva = await staff.add("boss", *BOSS), await staff.add("eva", "employee")
    target = {"boss": boss, "eva": eva}[name]
    for department in ("HR", "IT", "hr "):
        with pytest.raises(Forbidden):
            await staff.people.change(
                await staff.acting(boss), target.id, UserChange(department=department)
            )


async def test_department_admin_cannot_get_a_higher_role(staff: Staff) -> None:
    boss = await staff.add("boss", *BOSS)
    for role in ("admin", "auditor", "data_protection"):
        with pytest.raises(Forbidden):
            await staff.people.change(
                await staff.acting(boss), boss.id, UserChange(roles=[*BOSS, role])
            )


async def test_administrator_cannot_hand_out_what_administrators_lack(staff: Staff) -> None:
    admin = await staff.add("admin", "admin")
    with pytest.raises(Forbidden):
        await staff.people.change(
            await staff.acting(admin), admin.id, UserChange(roles=["admin", "data_protection"])
        )


async def test_application_lends_no_more_rights_than_it_has(staff: Staff) -> None:
    admin = await staff.add("admin", "admin")
    limited = await staff.acting(admin, through={Permission.USERS_MANAGE, Permission.CHAT})
    await staff.add("chatter", by=limited)
    with pytest.raises(Forbidden):
        await staff.add("eva", "employee", by=limited)
    with pytest.raises(Forbidden):
        await staff.passwords.reset(limited, admin.id)


@pytest.mark.parametrize("change", [UserChange(roles=["employee"]), UserChange(is_active=False)])
async def test_rights_that_are_lost_during_a_request_do_not_count(
    staff: Staff, change: UserChange
) -> None:
    admin = await staff.add("admin", "admin")
    before = await staff.acting(admin)
    root = await staff.acting(await staff.add("other", "admin"))
    await staff.people.change(root, admin.id, change)
    with pytest.raises((Forbidden, InvalidToken)):
        await staff.add("eva", "employee", by=before)
    with pytest.raises((Forbidden, InvalidToken)):
        await staff.roles.put(before, Role(name="x", permissions=frozenset()))


@pytest.mark.parametrize("name", ["disable", "expire", "change roles", "reset password"])
async def test_last_administrator_is_kept(staff: Staff, name: str) -> None:
    [root] = await staff.storage.transact(lambda tx: tx.users.all())
    caller = await staff.acting(root)
    with pytest.raises(LastAdministrator):
        await ACTS[name](staff, caller, root)
    assert await staff.stored(root) == root
