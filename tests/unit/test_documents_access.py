"""Who may read and change a document: the atoms agree with the rule as people would say it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.domain.document_ids import document_id, is_document_id, was_made_before
from chatbot.domain.documents import (
    Access,
    Document,
    Version,
    atoms_of,
    audience,
    audience_of,
    clean_labels,
    is_readable,
    may_change,
    owner_atom,
    scope_of,
)
from chatbot.domain.errors import InvalidInput
from chatbot.domain.identity import Client, ClientId, Owner, Principal, User, UserId
from chatbot.domain.names import department_key
from chatbot.domain.permissions import Permission
from samples import T0

READ, MANAGE = Permission.DOCUMENTS_READ, Permission.DOCUMENTS_MANAGE
PEOPLE, DEPARTMENTS, ROLES = ("ana", "ben"), ("Sales", "HR", ""), ("employee", "lead")


def principal(
    user_id: str | None,
    department: str,
    roles: list[str],
    rights: set[Permission],
    *,
    bounded: bool,
) -> Principal:
    user = None
    if user_id is not None:
        user = User(
            id=UserId(user_id),
            email=f"{user_id}@example.com",
            password_hash="x",
            roles=tuple(roles),
            department=department,
            created_at=T0,
        )
    client = Client(id=ClientId("app"), permissions=frozenset(rights), user_permissions=frozenset())
    is_bounded = bounded and user is not None and department != ""
    return Principal(
        client=client,
        user=user,
        permissions=frozenset(rights if is_bounded or not bounded else rights - {MANAGE}),
        department_only=frozenset({MANAGE} & rights) if is_bounded else frozenset(),
    )


def document(access: Access, uploaded_by: str, department: str) -> Document:
    version = Version(number=1, media_type="text/plain", size=1, digest="d")
    return Document(
        id=document_id(T0, "0" * 32),
        title="Pay",
        access=access,
        scope=scope_of(audience_of(access, uploaded_by, department), ()),
        uploaded_by=uploaded_by,
        department=department,
        digest="d",
        created_at=T0,
        updated_at=T0,
        newest=version,
    )


principals = st.builds(
    principal,
    st.sampled_from([*PEOPLE, None]),
    st.sampled_from([*DEPARTMENTS, "SALES"]),
    st.lists(st.sampled_from(ROLES), unique=True),
    st.sets(st.sampled_from([READ, MANAGE])),
    bounded=st.booleans(),
)
accesses = st.builds(
    Access,
    public=st.booleans(),
    departments=st.lists(st.sampled_from(DEPARTMENTS[:2])).map(tuple),
    roles=st.lists(st.sampled_from(ROLES)).map(tuple),
    users=st.lists(st.sampled_from(PEOPLE)).map(tuple),
)
uploaders = st.sampled_from(["user:ana", "user:ben", "client:app", ""])


def manages(caller: Principal, departments: set[str]) -> bool:
    if MANAGE not in caller.permissions:
        return False
    only = caller.department_for(MANAGE)
    return only is None or department_key(only) in {department_key(d) for d in departments if d}


def matches(caller: Principal, found: Document) -> bool:
    """The rule of docs/documents.md, word by word."""
    user, rule = caller.user, found.access
    if not {READ, MANAGE} & caller.permissions:
        return False
    is_uploader = found.uploaded_by == owner_atom(caller.owner)
    if is_uploader or rule.public or manages(caller, {found.department, *rule.departments}):
        return True
    if user is None or READ not in caller.permissions:
        return False
    is_in_department = department_key(user.department) in map(department_key, rule.departments)
    return is_in_department or bool({*rule.roles} & {*user.roles}) or user.id in rule.users


@given(principals, accesses, uploaders, st.sampled_from(DEPARTMENTS))
def test_atoms_admit_exactly_those_whom_the_rule_admits(
    caller: Principal, access: Access, uploaded_by: str, department: str
) -> None:
    found = document(access, uploaded_by, department)
    is_named = caller.user is not None and READ not in caller.permissions
    if is_named and caller.user is not None and caller.user.id in access.users:
        return  # named in person, which is the same atom as that of the uploader
    assert is_readable(found, atoms_of(caller)) == matches(caller, found)


@given(principals, accesses, uploaders, st.sampled_from(DEPARTMENTS))
def test_who_may_change_a_document_may_read_it(
    caller: Principal, access: Access, uploaded_by: str, department: str
) -> None:
    found = document(access, uploaded_by, department)
    if may_change(caller, found) and {READ, MANAGE} & caller.permissions:
        assert is_readable(found, atoms_of(caller))


def test_department_administrator_does_not_change_what_another_department_shares() -> None:
    found = document(Access(departments=("Sales",)), "user:ben", "HR")
    caller = principal("ana", "Sales", [], {READ, MANAGE}, bounded=True)
    assert is_readable(found, atoms_of(caller))
    assert not may_change(caller, found)
    assert may_change(principal("ana", "hr", [], {MANAGE}, bounded=True), found)


def test_manager_of_a_department_reads_what_is_shared_with_it_and_what_was_uploaded_in_it() -> None:
    manager = principal("ana", "Sales", [], {MANAGE}, bounded=True)
    shared = document(Access(departments=("sales",)), "user:ben", "HR")
    uploaded = document(Access(), "user:ben", "SALES")
    foreign = document(Access(departments=("HR",)), "user:ben", "HR")
    found = [is_readable(each, atoms_of(manager)) for each in (shared, uploaded, foreign)]
    assert found == [True, True, False]


def test_document_without_a_rule_is_for_its_uploader_and_managers() -> None:
    assert audience(document(Access(), "user:ana", "HR")) == {
        *("user:ana", "managers", "managers:hr")
    }


def test_documents_with_the_same_readers_and_labels_share_an_access_class() -> None:
    one = scope_of({"a", "b"}, ("x", "y"))
    assert scope_of(("b", "a"), ("y", "x")) == one
    assert len({one, scope_of({"a"}, ("x", "y")), scope_of({"a", "b"}, ("x",))}) == 3
    assert scope_of({"a"}, ("b",)) != scope_of({"b"}, ("a",))


def test_ids_of_later_documents_come_first_and_contain_the_time_of_their_creation() -> None:
    earlier, later = document_id(T0, "f" * 32), document_id(T0 + timedelta(seconds=1), "0" * 32)
    assert later < earlier
    assert was_made_before(T0 + timedelta(seconds=1), earlier)
    assert not was_made_before(T0 + timedelta(seconds=1), later)
    assert not any(was_made_before(T0, each) for each in ("b", "0" * 32, "x" * 32))
    assert is_document_id(later)
    assert not is_document_id(f"{later}\n")


def test_rule_that_names_only_the_uploader_shares_nothing() -> None:
    assert not Access(users=("ana",)).is_shared("user:ana")
    assert Access(users=("ana",)).is_shared("client:ana")
    assert Access(users=("ana", "ben")).without_user("ben") == Access(users=("ana",))
    assert owner_atom(Owner(kind="client", id="x")) == "client:x"


def test_labels_are_stored_in_one_form() -> None:
    assert clean_labels([" Pay  slips ", "pay slips", "HR"]) == ("hr", "pay slips")


@pytest.mark.parametrize("raw", [[""], [" "], ["x" * 51], ["a\nb"], [str(n) for n in range(21)]])
def test_labels_that_cannot_be_shown_are_refused(raw: Any) -> None:
    with pytest.raises(InvalidInput):
        clean_labels(raw)
