"""The memory of the caller: lists, corrects, confirms and forgets items."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from chatbot.application.consolidation import Consolidation
from chatbot.application.memory_lists import ItemFilter, ItemPage, page_of
from chatbot.application.mentions import Mentions
from chatbot.domain.authorization import require
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import Conflict, InvalidInput, NotFound
from chatbot.domain.fingerprints import Expected
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.memory_changes import added, confirmed, edited, finished, reopened, restored
from chatbot.domain.memory_guards import require_storable
from chatbot.domain.memory_items import NewItem, checked, plain
from chatbot.domain.memory_tombstones import all_forgotten, forgotten, newly_hidden
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import (
    Item,
    ItemKind,
    ItemState,
    ItemVersion,
    MemorySettings,
    PersonMemory,
    new_person,
)
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage

CONFIRMATION = "forget everything"

Change = Callable[[PersonMemory], PersonMemory]


class OwnMemory:
    """The memory of the caller. An application that calls for itself counts as a person.

    All methods raise `Forbidden` without the permission, and those that take the id of an item
    `NotFound` if the caller has no such item. Those that change something raise `Conflict` if the
    item's state does not allow it, and `ChangedMeanwhile` if its version is not the expected one.
    """

    def __init__(
        self,
        storage: Storage,
        consolidation: Consolidation,
        mentions: Mentions | None,
        *,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._storage, self._consolidation, self._mentions = storage, consolidation, mentions
        self._clock, self._new_id = clock, new_id

    async def page(
        self, principal: Principal, wanted: ItemFilter, *, limit: int, after: str
    ) -> ItemPage:
        """List items, newest first: see `page_of`."""
        memory = await self.read(principal)
        return page_of(memory, wanted, limit=limit, after=after)

    async def read(self, principal: Principal) -> PersonMemory:
        """Return everything, with the settings."""
        require(principal, Permission.CHAT)
        return await self._storage.transact(lambda tx: tx.person_memories.of(principal.owner))

    async def history(self, principal: Principal, item_id: str) -> Sequence[ItemVersion]:
        """Return the versions of an item, oldest first. The last one is the current one."""
        item = _found(await self.read(principal), item_id)
        return (*item.history, item.as_version)

    async def add(self, principal: Principal, kind: ItemKind, key: str | None, text: str) -> Item:
        """Add an item that the caller has written.

        Raises:
            InvalidInput: see `checked` and `require_storable`.
        """
        new = checked(kind, key, text)
        require_storable("", new.key, where=("key",))
        require_storable(new.text, new.key, where=("text",))
        change = partial(added, new=new, now=self._clock(), new_id=self._new_id)
        memory = await self._change(principal, change)
        return next(item for item in memory.items if _is_about(item, new))

    async def edit(
        self,
        principal: Principal,
        item_id: str,
        *,
        text: str | None,
        state: ItemState | None,
        expected: Expected,
    ) -> Item:
        """Replace the text of an item, mark it as done, or make it active again.

        Raises:
            Conflict: the item is forgotten.
            InvalidInput: the text is empty, too long or not storable, or the state is another one.
        """
        if state not in {None, ItemState.ACTIVE, ItemState.DONE}:
            raise InvalidInput("The state must be `active` or `done`.", where=("state",))
        now = self._clock()

        def changed(memory: PersonMemory) -> PersonMemory:
            item = _expected(memory, item_id, expected)
            if item.state is ItemState.FORGOTTEN:
                raise Conflict("The item is forgotten.")
            if text is not None:
                require_storable(text, item.key, where=("text",))
                memory = edited(memory, item, text, now=now)
            item = _found(memory, item_id)
            if state is ItemState.DONE:
                return finished(memory, item, now=now)
            return memory if state is None else reopened(memory, item, now=now)

        return _found(await self._change(principal, changed), item_id)

    async def confirm(self, principal: Principal, item_id: str, *, expected: Expected) -> Item:
        """Make a pending item active. If another item has its key, it becomes a version of that one."""
        now = self._clock()

        def changed(memory: PersonMemory) -> PersonMemory:
            item = _expected(memory, item_id, expected)
            return confirmed(memory, item, now=now, new_id=self._new_id)

        waiting = _found(await self.read(principal), item_id)
        memory = await self._change(principal, changed)
        return memory.find(item_id) or next(i for i in memory.active if _is_like(i, waiting))

    async def restore(
        self, principal: Principal, item_id: str, version: int, *, expected: Expected
    ) -> Item:
        """Make a superseded or done version of an item active again."""
        now = self._clock()

        def changed(memory: PersonMemory) -> PersonMemory:
            item = _expected(memory, item_id, expected)
            return restored(memory, item, version, now=now)

        return _found(await self._change(principal, changed), item_id)

    async def forget(self, principal: Principal, item_id: str, *, expected: Expected) -> None:
        """Permanently erase an item: see `memory_tombstones`. No-op if it is already forgotten."""
        now = self._clock()

        def changed(memory: PersonMemory) -> PersonMemory:
            item = _expected(memory, item_id, expected)
            return forgotten(memory, [item], now=now, new_id=self._new_id)

        await self._change(principal, changed)

    async def forget_everything(self, principal: Principal, confirmation: str) -> None:
        """Erase all items. Nothing is learned from earlier messages any more.

        Raises:
            InvalidInput: the confirmation is not `CONFIRMATION`.
        """
        if confirmation != CONFIRMATION:
            raise InvalidInput(f"Must be `{CONFIRMATION}`.", where=("confirm",))
        now = self._clock()
        await self._change(principal, lambda known: all_forgotten(known, now, self._new_id))

    async def put_settings(self, principal: Principal, settings: MemorySettings) -> MemorySettings:
        """Store the settings of the caller."""
        memory = await self._change(principal, lambda known: known.with_settings(settings))
        return memory.settings

    async def _change(self, principal: Principal, change: Change) -> PersonMemory:
        """Change the memory, then rebuild the summaries that were emptied."""
        require(principal, Permission.MEMORY)
        owner = principal.owner
        before = new_person(owner)

        def changing(known: PersonMemory) -> PersonMemory:
            nonlocal before
            before = known
            return change(known)

        memory = await self._storage.transact(lambda tx: tx.person_memories.change(owner, changing))
        hidden = {*newly_hidden(before, memory)}
        if self._mentions is not None:
            hidden |= {*await self._mentions.hide(owner, before, memory)}
        await self._resume(owner, hidden)
        return memory

    async def _resume(self, owner: Owner, session_ids: Iterable[SessionId]) -> None:
        for session_id in session_ids:
            await self._consolidation.resume(owner, session_id)


def _expected(memory: PersonMemory, item_id: str, expected: Expected) -> Item:
    item = _found(memory, item_id)
    expected.require_tag(str(item.version))
    return item


def _found(memory: PersonMemory, item_id: str) -> Item:
    item = memory.find(item_id)
    if item is None:
        raise NotFound("The item does not exist.")
    return item


def _is_about(item: Item, new: NewItem) -> bool:
    is_same = (item.kind, item.key) == (new.kind, new.key)
    return item.is_active and is_same and plain(item.text) == plain(new.text)


def _is_like(item: Item, other: Item) -> bool:
    is_same = (item.kind, item.key) == (other.kind, other.key)
    return is_same and plain(item.text) == plain(other.text)
