"""An index in a store, filled with made texts."""

from collections.abc import Mapping, Sequence
from functools import partial

from search_data import MadeTexts

from chatbot.adapters.search.searcher import Searcher
from chatbot.adapters.search.tidying import index_of
from chatbot.domain.identity import Owner
from chatbot.domain.ports.search import PassageKey
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage, Scope, messages_scope
from chatbot.domain.transaction import Transaction

_MESSAGES_A_SESSION = 40
_SESSIONS_A_FOLD = 60
_QUESTIONS_A_CLASS = 4


class FilledIndex:
    """A store with an index, the texts of its passages, and about so many questions about them."""

    def __init__(self, storage: Storage, questions: int) -> None:
        self.storage, self._wanted = storage, questions
        self.texts: dict[PassageKey, str] = {}
        self.questions: list[str] = []
        self.made = MadeTexts()
        self.searcher = Searcher(storage, lambda _, keys: {key: self.texts[key] for key in keys})

    async def add_classes(
        self, audiences: Mapping[Scope, set[str]], *, documents: int, passages: int
    ) -> None:
        """Index so many documents in each of the access classes, in one transaction."""
        found = {
            scope: {
                f"{scope} {number}": self.made.passages(passages) for number in range(documents)
            }
            for scope in audiences
        }
        for given in found.values():
            self.texts |= {(name, p.seq): p.text for name, each in given.items() for p in each}
            if len(self.questions) < self._wanted:
                some = list(given.values())[:_QUESTIONS_A_CLASS]
                self.questions += [self.made.question(each[passages // 2]) for each in some]

        def write(tx: Transaction) -> None:
            for scope, given in found.items():
                for name, each in given.items():
                    tx.index.put(scope, name, each)
                tx.index.set_audience(scope, audiences[scope])

        await self.storage.transact(write)

    async def add_sessions(self, owner: Owner, count: int) -> None:
        """Index sessions of one person, and fold them as searches between them do."""
        scope = messages_scope(owner)
        for first in range(0, count, _SESSIONS_A_FOLD):
            numbers = range(first, min(count, first + _SESSIONS_A_FOLD))
            said = {f"{number:032x}": self.made.messages(_MESSAGES_A_SESSION) for number in numbers}
            middle = next(iter(said.values()))[_MESSAGES_A_SESSION // 2]
            self.questions.append(self.made.question(middle))
            await self.storage.transact(partial(_say, scope, said))


def _say(scope: Scope, sessions: Mapping[str, Sequence[Passage]], tx: Transaction) -> None:
    for name, messages in sessions.items():
        tx.index.append(scope, name, messages)
    index_of(tx).fold(scope)


def compact(scope: Scope, tx: Transaction) -> None:
    """Make one segment of everything in an access class."""
    index_of(tx).fold(scope, is_whole=True)
