"""/admin/keys: the keys of applications."""

from datetime import timedelta
from typing import Annotated

from fastapi import Body, Path, Query
from pydantic import AfterValidator

from chatbot.domain.credentials import is_key_id
from chatbot.domain.errors import AuditUnavailable, Conflict, Forbidden, NotFound, StorageFull
from chatbot.domain.identity import KeyId
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import Limit, UseCases, WithoutFields
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.schemas.keys import (
    KEY_ID,
    KeyAnswer,
    KeysAnswer,
    NewKeyAnswer,
    NewKeyBody,
    RotationBody,
)

router = routing.router(tag="keys", prefix="/admin/keys")


def _require_cursor(raw: str) -> str:
    if not is_key_id(raw):
        raise ValueError("The cursor is invalid: use `next` of the previous page.")
    return raw


AfterKey = Annotated[
    str | None,
    Query(max_length=200, description="`next` of the previous page."),
    AfterValidator(lambda raw: raw if raw is None else _require_cursor(raw)),
]
PathKeyId = Annotated[str, Path(description="The id of a key.", examples=[KEY_ID])]
Rotation = Annotated[RotationBody, Body(default_factory=RotationBody)]


@router.get("")
@documented(Forbidden)
async def page(
    caller: Caller, use: UseCases, limit: Limit = 50, after: AfterKey = None
) -> KeysAnswer:
    """List all keys, also those that have ended, in the order of their ids."""
    found = await use.api_keys.page(caller, limit=limit, after=KeyId(after) if after else None)
    return KeysAnswer.model_validate(found)


@router.post("", status_code=201)
@documented(Forbidden, Conflict, AuditUnavailable, StorageFull)
async def create(body: NewKeyBody, caller: Caller, use: UseCases) -> NewKeyAnswer:
    """Make a key for an application; the answer alone contains it.

    You can give only scopes that you hold in all departments; `act_for_users` needs `users.manage`. A
    client has at most two keys that can be used.
    """
    return NewKeyAnswer.of(await use.api_keys.create(caller, body.as_new_key()))


@router.post("/{key_id}/rotate", status_code=201)
@documented(Forbidden, NotFound, Conflict, AuditUnavailable, StorageFull)
async def rotate(body: Rotation, caller: Caller, key_id: PathKeyId, use: UseCases) -> NewKeyAnswer:
    """Make a new key like this one, which ends after `overlap_hours`.

    The new key ends when the old one would have ended. You must hold the scopes of the key. Its
    `assertion_secret` is another one, too, or `user_secret`.
    """
    overlap = timedelta(hours=body.overlap_hours)
    made = await use.api_keys.rotate(
        caller, KeyId(key_id), overlap=overlap, user_secret=body.user_secret
    )
    return NewKeyAnswer.of(made)


@router.delete("/{key_id}", dependencies=[WithoutFields])
@documented(Forbidden, NotFound, AuditUnavailable, StorageFull)
async def revoke(caller: Caller, key_id: PathKeyId, use: UseCases) -> KeyAnswer:
    """Revoke a key at once and for good; running answers end within 5 seconds."""
    return KeyAnswer.model_validate(await use.api_keys.revoke(caller, KeyId(key_id)))
