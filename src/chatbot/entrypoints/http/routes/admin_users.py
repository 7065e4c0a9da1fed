"""/admin/users: the people who can log in."""

from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Response

from chatbot.domain.errors import (
    AuditUnavailable,
    Conflict,
    Forbidden,
    LastAdministrator,
    NotFound,
    RateLimited,
    SessionBusy,
    SessionHeld,
    ShuttingDown,
    StorageFull,
)
from chatbot.domain.identity import UserId
from chatbot.domain.repositories.users import UserFilter
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.cursor import read_text_cursor
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import After, Limit, UseCases, WithoutFields
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.etags import IfMatch, tag, tagged
from chatbot.entrypoints.http.schemas.erasure import ErasedAnswer, ReceiptAnswer
from chatbot.entrypoints.http.schemas.users import (
    USER_ID,
    LoggedOutAnswer,
    NewUserBody,
    OneTimePasswordAnswer,
    UserAnswer,
    UserChangeBody,
    UsersAnswer,
    UserWithPasswordAnswer,
)

router = routing.router(tag="users", prefix="/admin/users")

CHANGING = (Forbidden, Conflict, AuditUnavailable, StorageFull)
_HASHING = (RateLimited, ShuttingDown)


@documented(NotFound)
async def _user_id(
    user_id: Annotated[str, Path(description="The id of the user.", examples=[USER_ID])],
) -> UserId:
    return UserId(user_id)


PathUserId = Annotated[UserId, Depends(_user_id)]


async def _wanted(
    use: UseCases,
    query: Annotated[
        str | None,
        Query(max_length=254, description="Only users whose e-mail address contains this text."),
    ] = None,
    department: Annotated[
        str | None, Query(max_length=100, description="Only users of this department.")
    ] = None,
    role: Annotated[
        str | None, Query(max_length=64, description="Only users with this role.")
    ] = None,
    active: Annotated[
        Literal["true", "false"] | None,
        Query(
            description="`true`: only users who are neither disabled nor expired; `false`: only the others."
        ),
    ] = None,
) -> UserFilter:
    is_active = None if active is None else active == "true"
    return use.people.filter(text=query, department=department, role=role, is_active=is_active)


Wanted = Annotated[UserFilter, Depends(_wanted)]


@router.get("")
@documented(Forbidden)
async def page(
    caller: Caller, use: UseCases, wanted: Wanted, limit: Limit = 50, after: After = None
) -> UsersAnswer:
    """List the users that the caller may see, sorted by e-mail address."""
    found = await use.people.page(caller, wanted, limit=limit, after=read_text_cursor(after))
    return UsersAnswer.of(found)


@router.post("", status_code=201, responses=tagged(201))
@documented(*CHANGING, *_HASHING)
async def create(
    body: NewUserBody, caller: Caller, use: UseCases, response: Response
) -> UserWithPasswordAnswer:
    """Create a user."""
    made = await use.people.create(caller, body.to_new_user())
    tag(response, made.user)
    return UserWithPasswordAnswer.created(made)


@router.get("/{user_id}", responses=tagged())
@documented(Forbidden)
async def read(
    caller: Caller, user_id: PathUserId, use: UseCases, response: Response
) -> UserAnswer:
    """Return a user."""
    person = await use.people.read(caller, user_id)
    tag(response, person.user)
    return UserAnswer.of(person)


@router.patch("/{user_id}", responses=tagged())
@documented(*CHANGING, LastAdministrator)
async def change(
    body: UserChangeBody,
    caller: Caller,
    user_id: PathUserId,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> UserAnswer:
    """Change a user; fields that are left out stay unchanged.

    Disabling or enabling a user revokes the tokens. New roles and departments apply from the next
    request on.
    """
    person = await use.people.change(caller, user_id, body.to_change(), expected=expected)
    tag(response, person.user)
    return UserAnswer.of(person)


@router.delete("/{user_id}")
@documented(*CHANGING, LastAdministrator, SessionBusy, SessionHeld)
async def erase(
    caller: Caller, user_id: PathUserId, expected: IfMatch, use: UseCases
) -> ErasedAnswer:
    """Erase a user and all data about them: sessions, memory, documents, counters and sign-ins.

    The audit keeps the id. If the call is interrupted, repeat it.
    """
    receipt = await use.people.erase(caller, user_id, expected=expected)
    return ErasedAnswer(receipt=ReceiptAnswer.of(receipt))


@router.post("/{user_id}/password", dependencies=[WithoutFields])
@documented(*CHANGING, *_HASHING, LastAdministrator)
async def reset_password(
    caller: Caller, user_id: PathUserId, expected: IfMatch, use: UseCases
) -> OneTimePasswordAnswer:
    """Replace a user's password by a one-time password, and revoke all tokens."""
    made = await use.user_passwords.reset(caller, user_id, expected=expected)
    return OneTimePasswordAnswer.of(made)


@router.post("/{user_id}/logout", dependencies=[WithoutFields])
@documented(*CHANGING)
async def log_out(
    caller: Caller, user_id: PathUserId, expected: IfMatch, use: UseCases
) -> LoggedOutAnswer:
    """Revoke all tokens of a user, and end running answers."""
    user = await use.user_passwords.log_out(caller, user_id, expected=expected)
    return LoggedOutAnswer(id=user.id)
