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
    Query(max_length=200, description="The value of `next` on the previous page."),
    AfterValidator(lambda raw: raw if raw is None else _require_cursor(raw)),
]
PathKeyId = Annotated[str, Path(description="The id of the key.", examples=[KEY_ID])]
Rotation = Annotated[RotationBody, Body(default_factory=RotationBody)]


@router.get("")
@documented(Forbidden)
async def page(
    caller: Caller, use: UseCases, limit: Limit = 50, after: AfterKey = None
) -> KeysAnswer:
    """List all keys, including expired and revoked ones, sorted by id."""
    found = await use.api_keys.page(caller, limit=limit, after=KeyId(after) if after else None)
    return KeysAnswer.model_validate(found)


@router.post("", status_code=201)
@documented(Forbidden, Conflict, AuditUnavailable, StorageFull)
async def create(body: NewKeyBody, caller: Caller, use: UseCases) -> NewKeyAnswer:
    """Create a key for an application; only this response contains it.

    You can only grant scopes that you hold in all departments; `act_for_users` requires `users.manage`.
    A client can have at most two usable keys.
    """
    return NewKeyAnswer.of(await use.api_keys.create(caller, body.as_new_key()))


@router.post("/{key_id}/rotate", status_code=201)
@documented(Forbidden, NotFound, Conflict, AuditUnavailable, StorageFull)
async def rotate(body: Rotation, caller: Caller, key_id: PathKeyId, use: UseCases) -> NewKeyAnswer:
    """Replace a key by a new one; the old key expires after `overlap_hours`.

    The new key has the same scopes, which you must hold, and the expiry that the old one had. It also
    gets a new `assertion_secret`, or the `user_secret` that you send.
    """
    overlap = timedelta(hours=body.overlap_hours)
    made = await use.api_keys.rotate(
        caller, KeyId(key_id), overlap=overlap, user_secret=body.user_secret
    )
    return NewKeyAnswer.of(made)


@router.delete("/{key_id}", dependencies=[WithoutFields])
@documented(Forbidden, NotFound, AuditUnavailable, StorageFull)
async def revoke(caller: Caller, key_id: PathKeyId, use: UseCases) -> KeyAnswer:
    """Revoke a key immediately and permanently; its running answers end within 5 seconds."""
    return KeyAnswer.model_validate(await use.api_keys.revoke(caller, KeyId(key_id)))
