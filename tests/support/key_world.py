"""The management of API keys in a store in memory, with a clock that tests move."""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.api_keys import ApiKeys
from chatbot.application.auditing import Auditing
from chatbot.application.key_identification import KeyIdentification
from chatbot.application.new_keys import NewKey
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_host
from chatbot.domain.credentials import KeyState
from chatbot.domain.permissions import Permission

PEPPER = b"p" * 32
ROOT = of_host("root")
CHAT = frozenset({Permission.CHAT})
WANTED = NewKey(client="partner", scopes=CHAT)
DAY = timedelta(days=1)


class World:
    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.storage = InMemoryStorage()
        auditing = Auditing(b"a" * 32, clock=lambda: self.now)
        self.keys = ApiKeys(
            self.storage, auditing, pepper=PEPPER, clock=lambda: self.now, random=os.urandom
        )
        self.identification = KeyIdentification(
            self.storage, peppers=[PEPPER], clock=lambda: self.now
        )

    async def works(self, raw_key: str) -> bool:
        return await self.identification.look_up(raw_key) is not None

    async def states(self) -> list[KeyState]:
        page = await self.keys.page(ROOT, limit=200, after=None)
        return sorted(line.state for line in page.keys)

    async def events(self) -> list[dict[str, Any]]:
        entries = await self.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=1000))
        return [dict(entry.content) for entry in entries]
