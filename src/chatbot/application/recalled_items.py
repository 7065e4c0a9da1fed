"""Selects the items of a person's memory for the prompt of a turn."""

from collections.abc import Callable, Mapping, Sequence

from chatbot.domain.chat import SessionId
from chatbot.domain.memory_views import taught_by
from chatbot.domain.person_memory import Item, ItemKind, PersonMemory
from chatbot.domain.recall import KnownItem
from chatbot.domain.search import Hit, Passage

MOST_OTHERS = 20
"""The maximum number of facts and tasks of other sessions in a prompt without a search."""
_KEYED = frozenset({ItemKind.PROFILE, ItemKind.PREFERENCE})


class ItemChoice:
    """The items that a turn of a session may use.

    `own` are those learned in the session, and all of the kinds profile and preference; `others`
    the facts and tasks of other sessions.
    """

    def __init__(
        self, person: PersonMemory, session_id: SessionId, *, other_sessions: bool
    ) -> None:
        allowed = person.for_session(session_id) if person.settings.enabled else ()
        taught = {item.id for item in taught_by(person, session_id)}
        if not other_sessions:
            allowed = [item for item in allowed if item.id in taught]
        self.own = [item for item in allowed if item.id in taught or item.kind in _KEYED]
        own = {item.id for item in self.own}
        self.others = [item for item in allowed if item.id not in own]

    @property
    def is_searched(self) -> bool:
        """Whether there are more `others` than fit into a prompt."""
        return len(self.others) > MOST_OTHERS

    @property
    def passages(self) -> Mapping[str, Sequence[Passage]]:
        """The items to search."""
        return {item.id: [Passage(seq=1, text=item.line)] for item in self.others}

    def known(self, hits: Sequence[Hit] = ()) -> tuple[KnownItem, ...]:
        """Return the items for a prompt. Those that are dropped first come first.

        Of the others, these are the newest, then the hits, the best one last.
        """
        ranks = {hit.parent: rank for rank, hit in enumerate(hits[:MOST_OTHERS], start=1)}
        newest = [item for item in self.others if item.id not in ranks]
        newest = newest[max(0, len(newest) - (MOST_OTHERS - len(ranks))) :]
        found = [item for item in self.others if item.id in ranks]
        found.sort(key=lambda item: -ranks[item.id])
        return tuple(_known(item, ranks.get) for item in (*newest, *found, *self.own))


def _known(item: Item, rank: Callable[[str], int | None]) -> KnownItem:
    source = next((each for each in reversed(item.sources) if not each.is_removed), None)
    return KnownItem(
        id=item.id,
        kind=item.kind.value,
        key=item.key,
        text=item.text,
        session_id=source.session_id if source else None,
        seq=source.seq if source else None,
        rank=rank(item.id),
    )
