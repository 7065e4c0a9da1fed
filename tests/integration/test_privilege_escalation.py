"""No sequence of allowed calls gives anyone a right that its caller lacked.

People, roles, keys, departments and calls that were under way, in any order. In CI it draws the same
each time. `CHATBOT_TEST_EXAMPLES=2000` looks for more.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from chatbot.application.api_keys import ApiKeys
from chatbot.application.new_keys import NewKey
from chatbot.application.user_changes import NewUser, UserChange
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import Conflict, Forbidden, InvalidInput, InvalidToken, NotFound
from chatbot.domain.identity import Client, ClientId, Principal, User, UserId
from chatbot.domain.names import department_key
from chatbot.domain.permissions import ROLE_PERMISSIONS, Permission, Role, granted
from chatbot.domain.repositories.users import UserFilter
from chatbot.domain.transaction import Transaction
from staff import PASSWORD, Staff

EXAMPLES = os.environ.get("CHATBOT_TEST_EXAMPLES")
REFUSED = (Conflict, Forbidden, InvalidInput, InvalidToken, NotFound)
DEPARTMENTS = ("Sales", "HR", "SALES", "legal", "IT")
EVERYWHERE = "*"
SHIPPED = ("admin", "department_admin", "employee", "auditor", "data_protection")
NAMES = (*SHIPPED, "lead", "helper")
Right = tuple[Permission, str]
"""A permission, and the key of the department in which it is held."""
Done = TypeVar("Done")
Drawn = tuple[int, frozenset[Permission]]

permissions = st.frozensets(st.sampled_from(sorted(ROLE_PERMISSIONS)), max_size=5)
role_names = st.lists(st.sampled_from(NAMES), max_size=3)
departments = st.sampled_from(DEPARTMENTS)
numbers = st.integers(0, 1000)
callers = st.tuples(
    numbers, st.one_of(st.just(ROLE_PERMISSIONS), st.just(ROLE_PERMISSIONS), permissions)
)
"""Who calls, and through a client with which rights."""


def rights_of(
    held: Iterable[Permission], limited: Iterable[Permission], department: str
) -> set[Right]:
    found: set[Right] = set()
    for permission in held:
        if permission in limited:
            found.add((permission, department_key(department)))
        else:
            found |= {
                (permission, where) for where in (EVERYWHERE, *map(department_key, DEPARTMENTS))
            }
    return found


@dataclass(frozen=True)
class World:
    """What is stored."""

    users: Mapping[UserId, User]
    roles: Mapping[str, Role]

    def rights(self, user: User) -> set[Right]:
        grant = granted(user.roles, self.roles, user.department)
        return rights_of(grant.permissions, grant.department_only, user.department)


def world(tx: Transaction) -> World:
    return World({user.id: user for user in tx.users.all()}, tx.roles.all())


def held_by(caller: Principal) -> set[Right]:
    department = caller.user.department if caller.user else ""
    return rights_of(caller.permissions, caller.department_only, department)


class Company(RuleBasedStateMachine):
    """Calls by people and applications; each that is allowed is checked against the caller's rights."""

    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.staff = Staff()
        self.keys = ApiKeys(
            self.staff.storage,
            self.staff.auditing,
            pepper=b"p" * 32,
            clock=lambda: self.staff.now,
            random=secrets.token_bytes,
        )
        self.applications: list[Principal] = []
        self.under_way: list[Principal] = []
        self.hire()

    def run(self, work: Awaitable[Done]) -> Done:
        async def done() -> Done:
            return await work

        return self.runner.run(done())

    @property
    def world(self) -> World:
        return self.run(self.staff.storage.transact(world))

    def hire(self) -> None:
        for name, department, *roles in (
            ("root", "IT", "admin"),
            ("deputy", "HR", "admin"),
            ("boss", "Sales", "employee", "department_admin"),
            ("chief", "HR", "employee", "department_admin", "auditor"),
            ("officer", "legal", "data_protection"),
            ("eva", "Sales", "employee"),
        ):
            self.run(self.staff.add(name, *roles, department=department))

    def caller(self, drawn: Drawn) -> Principal:
        """A person who calls now, an application, or a call that began earlier."""
        number, through = drawn
        users = list(self.world.users.values())
        number %= len(users) + len(self.applications) + len(self.under_way)
        if number < len(users):
            return self.run(self.staff.acting(users[number], through=through))
        return [*self.applications, *self.under_way][number - len(users)]

    def target(self, number: int) -> User:
        users = list(self.world.users.values())
        return users[number % len(users)]

    def attempt(self, caller: Principal, work: Awaitable[object]) -> bool:
        """Make a call; if it is allowed, nobody may have got a right that the caller lacks."""
        before = self.world
        held = self.held_now(caller)
        try:
            self.run(work)
        except REFUSED:
            assert self.world == before, "a refused call has changed something"
            return False
        after = self.world
        for user in after.users.values():
            old = before.users.get(user.id)
            gained = after.rights(user) - (before.rights(old) if old else set())
            assert gained <= held, (gained, held)
        return True

    def held_now(self, caller: Principal) -> set[Right]:
        """The rights of the caller by what is stored, whatever they were when the call began."""
        return held_by(self.as_of_now(caller))

    def as_of_now(self, caller: Principal) -> Principal:
        if caller.user is None:
            return caller
        if caller.user.id not in self.world.users:
            return replace(caller, permissions=frozenset())
        through = caller.client.user_permissions
        return self.run(self.staff.acting(caller.user, through=through))

    @rule(by=callers, roles=role_names, department=departments)
    def create(self, by: Drawn, roles: list[str], department: str) -> None:
        caller = self.caller(by)
        email = f"{secrets.token_hex(4)}@acme.es"
        new = NewUser(email=email, roles=roles, department=department, password=PASSWORD)
        self.attempt(caller, self.staff.people.create(caller, new))

    @rule(
        by=callers,
        number=numbers,
        roles=st.none() | role_names,
        department=st.none() | departments,
        is_active=st.none() | st.booleans(),
        days=st.none() | st.integers(-1, 1),
    )
    def change(self, by: Drawn, number: int, days: int | None, **fields: Any) -> None:
        caller, user = self.caller(by), self.target(number)
        change = UserChange(**fields)
        if days is not None:
            expires_at = self.staff.now + timedelta(days=days) if days else None
            change = UserChange(**fields, expires_at=expires_at)
        self.act(caller, user, self.staff.people.change(caller, user.id, change))

    @rule(by=callers, number=numbers)
    def reset_password(self, by: Drawn, number: int) -> None:
        caller, user = self.caller(by), self.target(number)
        self.act(caller, user, self.staff.passwords.reset(caller, user.id))

    @rule(by=callers, number=numbers)
    def log_out(self, by: Drawn, number: int) -> None:
        caller, user = self.caller(by), self.target(number)
        self.act(caller, user, self.staff.passwords.log_out(caller, user.id))

    @rule(by=callers, number=numbers)
    def erase(self, by: Drawn, number: int) -> None:
        caller, user = self.caller(by), self.target(number)
        self.act(caller, user, self.staff.people.erase(caller, user.id))

    def act(self, caller: Principal, user: User, work: Awaitable[object]) -> None:
        """A caller who may act on a person could take their place, which must gain nothing."""
        rights, held = self.world.rights(user), self.held_now(caller)
        is_visible = is_in_reach(self.as_of_now(caller), user)
        if self.attempt(caller, work):
            assert rights <= held, (rights, held)
            assert is_visible, "a person of another department was changed"

    @rule(by=callers, name=st.sampled_from(NAMES), permissions=permissions, own=st.booleans())
    def put_role(
        self,
        by: Drawn,
        name: str,
        permissions: frozenset[Permission],
        own: bool,  # drawn
    ) -> None:
        caller = self.caller(by)
        role = Role(name=name, permissions=permissions, own_department_only=own)
        self.attempt(caller, self.staff.roles.put(caller, role))

    @rule(by=callers, name=st.sampled_from(NAMES))
    def delete_role(self, by: Drawn, name: str) -> None:
        caller = self.caller(by)
        self.attempt(caller, self.staff.roles.remove(caller, name))

    @rule(by=callers, scopes=permissions)
    def create_key(self, by: Drawn, scopes: frozenset[Permission]) -> None:
        caller = self.caller(by)
        client = ClientId(f"app-{secrets.token_hex(4)}")
        work = self.keys.create(caller, NewKey(client=client, scopes=scopes))
        held = self.held_now(caller)
        if self.attempt(caller, work):
            made = of_client(Client(id=client, permissions=scopes, user_permissions=scopes))
            assert held_by(made) <= held
            self.applications.append(made)

    @rule(by=callers)
    def begin_a_call(self, by: Drawn) -> None:
        self.under_way.append(self.caller(by))

    @rule(hours=st.integers(1, 48))
    def let_time_pass(self, hours: int) -> None:
        self.staff.now += timedelta(hours=hours)

    @rule(by=callers, number=numbers, limit=st.integers(1, 3))
    def look(self, by: Drawn, number: int, limit: int) -> None:
        """What is shown are people of the caller's reach, and of others not even that they exist."""
        caller, user = self.caller(by), self.target(number)
        try:
            page = self.run(self.staff.people.page(caller, UserFilter(), limit=limit))
        except Forbidden:
            return
        within = [
            each for each in self.world.users.values() if is_in_reach(caller, each, reading=True)
        ]
        within.sort(key=lambda each: each.email)
        assert [each.user for each in page.people] == within[:limit]
        assert page.next == (within[limit - 1].email if len(within) > limit else None)
        seen = self.answer_to(caller, user.id)
        assert seen == (user if user in within else self.answer_to(caller, UserId("0" * 32)))

    def answer_to(self, caller: Principal, user_id: UserId) -> User | str:
        try:
            return self.run(self.staff.people.read(caller, user_id)).user
        except NotFound as error:
            return str(error)

    @invariant()
    def an_administrator_is_left(self) -> None:
        roles = self.world.roles
        administering = {Permission.USERS_MANAGE, Permission.ROLES_MANAGE}
        lasting = [
            user
            for user in self.world.users.values()
            if user.is_active and user.expires_at is None and user.one_time_until is None
        ]
        everywhere = [granted(user.roles, roles, "").permissions for user in lasting]
        assert any(administering <= each for each in everywhere)


def is_in_reach(caller: Principal, user: User, *, reading: bool = False) -> bool:
    permission = Permission.USERS_READ if reading else Permission.USERS_MANAGE
    only = caller.department_for(permission)
    return only is None or department_key(only) == department_key(user.department)


def test_no_caller_gains_rights_and_an_administrator_remains() -> None:
    with asyncio.Runner() as runner:

        class InLoop(Company):
            pass

        InLoop.runner = runner
        run_state_machine_as_test(
            InLoop,
            settings=settings(
                max_examples=int(EXAMPLES or 60),
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
