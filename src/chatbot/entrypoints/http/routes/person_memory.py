"""/me/memory: read and correct the memory of the caller."""

from typing import Annotated

from fastapi import Path, Query, Request, Response

from chatbot.application.memory_lists import ItemFilter
from chatbot.application.prompt_texts import language_of, memory_in
from chatbot.domain.errors import Conflict, Forbidden, NotFound, StorageFull
from chatbot.domain.person_memory import Item, ItemKind, ItemState, MemorySettings
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.accept_language import preferred_language
from chatbot.entrypoints.http.cursor import read_text_cursor
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import After, Limit, UseCases, WithoutFields
from chatbot.entrypoints.http.documented import documented
from chatbot.entrypoints.http.etags import IfMatch, tagged
from chatbot.entrypoints.http.schemas.memory_search import MemorySearchBody, ResultsAnswer
from chatbot.entrypoints.http.schemas.person_memory import (
    ITEM_ID,
    ForgetEverythingBody,
    ForgottenAnswer,
    HistoryAnswer,
    ItemAnswer,
    ItemBody,
    ItemChangeBody,
    ItemsAnswer,
    MemorySettingsAnswer,
    MemorySettingsBody,
    RestoreBody,
    VersionAnswer,
)

router = routing.router(tag="person_memory", prefix="/me/memory")

_CHANGING = (Forbidden, Conflict, StorageFull)
ItemId = Annotated[str, Path(description="The id of the item.", examples=[ITEM_ID])]
_Kind = Annotated[ItemKind | None, Query(description="Only items of this kind.")]
_State = Annotated[
    ItemState | None,
    Query(description="Only items in this state. Default: active, pending and done items."),
]
_Query = Annotated[
    str, Query(max_length=200, description="Only items whose text contains this, ignoring case.")
]


def _answer(response: Response, item: Item) -> ItemAnswer:
    response.headers["ETag"] = f'"{item.version}"'
    return ItemAnswer.model_validate(item)


def _settings_answer(
    request: Request, use: UseCases, settings: MemorySettings
) -> MemorySettingsAnswer:
    preferred = use.settings.assistant.language or preferred_language(request.headers)
    notice = memory_in(language_of((), preferred=preferred), settings)
    return MemorySettingsAnswer.of(settings, notice)


@router.get("")
@documented(Forbidden)
async def page(
    caller: Caller,
    use: UseCases,
    *,
    kind: _Kind = None,
    state: _State = None,
    query: _Query = "",
    limit: Limit = 50,
    after: After = None,
) -> ItemsAnswer:
    """List what is remembered about the caller, newest first."""
    wanted = ItemFilter(kind=kind, state=state, query=query)
    found = await use.own_memory.page(caller, wanted, limit=limit, after=read_text_cursor(after))
    return ItemsAnswer.of(found)


@router.post("", status_code=201, responses=tagged(201))
@documented(*_CHANGING)
async def add(body: ItemBody, caller: Caller, use: UseCases, response: Response) -> ItemAnswer:
    """Add an item; a new value of a key supersedes the old one."""
    return _answer(response, await use.own_memory.add(caller, body.kind, body.key, body.text))


@router.delete("")
@documented(*_CHANGING)
async def forget_everything(
    body: ForgetEverythingBody, caller: Caller, use: UseCases
) -> ForgottenAnswer:
    """Permanently forget everything that is remembered about the caller."""
    await use.own_memory.forget_everything(caller, body.confirm)
    return ForgottenAnswer()


@router.get("/settings")
@documented(Forbidden)
async def read_settings(caller: Caller, request: Request, use: UseCases) -> MemorySettingsAnswer:
    """Return the caller's memory settings, and what is kept with them, in plain words."""
    return _settings_answer(request, use, (await use.own_memory.read(caller)).settings)


@router.put("/settings")
@documented(*_CHANGING)
async def put_settings(
    body: MemorySettingsBody, caller: Caller, request: Request, use: UseCases
) -> MemorySettingsAnswer:
    """Change the caller's memory settings; they apply from the next turn on."""
    settings = await use.own_memory.put_settings(caller, body.to_settings())
    return _settings_answer(request, use, settings)


@router.post("/search")
@documented(Forbidden)
async def search(body: MemorySearchBody, caller: Caller, use: UseCases) -> ResultsAnswer:
    """Search the caller's memory: items, and the messages of all sessions.

    The results alternate between the best items and the best messages. `why` lists the words that
    matched.
    """
    found = await use.memory_search.find(caller, body.query, limit=body.limit, types=body.types)
    return ResultsAnswer.of(found)


@router.patch("/{item_id}", responses=tagged())
@documented(*_CHANGING, NotFound)
async def edit(
    body: ItemChangeBody,
    caller: Caller,
    item_id: ItemId,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> ItemAnswer:
    """Correct an item, mark it as done, or make it active again."""
    item = await use.own_memory.edit(
        caller, item_id, text=body.text, state=body.state, expected=expected
    )
    return _answer(response, item)


@router.delete("/{item_id}")
@documented(*_CHANGING, NotFound)
async def forget(
    caller: Caller, item_id: ItemId, expected: IfMatch, use: UseCases
) -> ForgottenAnswer:
    """Permanently forget an item.

    Its text and quotes are erased, summaries that contain it are rebuilt, and it is not learned again
    from old messages.
    """
    await use.own_memory.forget(caller, item_id, expected=expected)
    return ForgottenAnswer()


@router.get("/{item_id}/history")
@documented(Forbidden, NotFound)
async def history(caller: Caller, item_id: ItemId, use: UseCases) -> HistoryAnswer:
    """Return all versions of an item."""
    found = await use.own_memory.history(caller, item_id)
    return HistoryAnswer(versions=[VersionAnswer.model_validate(each) for each in found])


@router.post("/{item_id}/restore", responses=tagged())
@documented(*_CHANGING, NotFound)
async def restore(
    body: RestoreBody,
    caller: Caller,
    item_id: ItemId,
    *,
    expected: IfMatch,
    use: UseCases,
    response: Response,
) -> ItemAnswer:
    """Make a superseded or done version active again, as a new version."""
    item = await use.own_memory.restore(caller, item_id, body.version, expected=expected)
    return _answer(response, item)


@router.post("/{item_id}/confirm", responses=tagged(), dependencies=[WithoutFields])
@documented(*_CHANGING, NotFound)
async def confirm(
    caller: Caller, item_id: ItemId, expected: IfMatch, use: UseCases, response: Response
) -> ItemAnswer:
    """Make a pending item active."""
    return _answer(response, await use.own_memory.confirm(caller, item_id, expected=expected))
