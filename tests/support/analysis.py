"""When passages are analysed."""

from collections.abc import Callable

import pytest

from chatbot.adapters.search import stored_index
from chatbot.adapters.search.records import tail_row
from chatbot.adapters.search.rows import TailRow
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage
from chatbot.domain.transaction import Transaction


def analysed_in_transactions(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets, for each passage analysed from now on, how many transactions are open."""
    open_now, analysed = [0], list[int]()
    transact = storage.transact

    async def watched(work: Callable[[Transaction], object]) -> object:
        def counted(tx: Transaction) -> object:
            open_now[0] += 1
            try:
                return work(tx)
            finally:
                open_now[0] -= 1

        return await transact(counted)

    def noted(parent: str, passage: Passage) -> TailRow:
        analysed.append(open_now[0])
        return tail_row(parent, passage)

    monkeypatch.setattr(storage, "transact", watched)
    monkeypatch.setattr(stored_index, "tail_row", noted)
    return analysed
