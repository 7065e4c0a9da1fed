"""CPU that the whole of governance adds to a turn, on each store.

The service's own CPU (user + system, all threads) for each turn with a scripted model, 16 at once, in
one process. Two variants take turns, and a difference is the median of the differences of rounds that
were made one after the other:

- off: the key of the settings, nobody is signed in, nothing is counted or billed;
- on: a key of the store, whose use is noted for the audit; the access token of a person, whose sign-in
  and rights are looked up; `RATE_LIMIT_PER_MINUTE`; a budget of tokens for the person, which reserves
  before and settles after each turn; usage. The turn is watched for a revocation.

What a Postgres server uses comes on top.
"""

import argparse
import asyncio
import statistics
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import process_time

from bench_limits import AT_ONCE, Uncounted, settings
from harness import Figure, table
from stores import stores

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.application.new_keys import NewKey
from chatbot.application.user_changes import NewUser
from chatbot.domain.authorization import of_client, of_host
from chatbot.domain.chat import SessionId
from chatbot.domain.identity import ClientId, Principal, User
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.permissions import Permission
from chatbot.domain.quotas import Period
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.credential_cache import CredentialCache
from chatbot.entrypoints.http.native import KEY_TTL_S
from chatbot.entrypoints.lifecycle import opened

HOST = of_host("bench")
EMAIL, PASSWORD = "ana@example.com", "violet kettle drums at noon"
OFF, ON = "off", "on"
STORES = ["memory", "JSON", "SQLite", "Postgres"]
MOST_MS = 0.6
Admit = Callable[[], Awaitable[Principal]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--turns", type=int, default=480, help="a round")
    parser.add_argument("--stores", nargs="+", default=STORES)
    options = parser.parse_args()
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as urls:
        for name in options.stores:
            found = asyncio.run(measured(urls[name], options.rounds, options.turns))
            figures += figures_of(name, found)
    print(table(figures))


def figures_of(store: str, found: dict[str, list[float]]) -> list[Figure]:
    added = statistics.median(on - off for off, on in zip(found[OFF], found[ON], strict=True))
    return [
        *(
            Figure(
                what=f"{store}: CPU a turn, {how}", value=statistics.median(found[how]), unit=" ms"
            )
            for how in (OFF, ON)
        ),
        Figure(what=f"{store}: added to a turn", value=added, unit=" ms", target=MOST_MS),
    ]


async def measured(url: str, rounds: int, turns: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {OFF: [], ON: []}
    async with AsyncExitStack() as stack:
        services = [
            (how, await stack.enter_async_context(opened_service(url, how))) for how in (OFF, ON)
        ]
        for number in range(rounds + 1):
            for how, service in services if number % 2 else services[::-1]:
                cpu_ms = await service.one_round(turns)
                if number:  # the first round warms up
                    found[how].append(cpu_ms)
    return found


class Service:
    """A service in this process, and how it lets callers in."""

    def __init__(self, use: UseCases, admit: Admit) -> None:
        self._use, self._admit = use, admit
        self._sessions: list[SessionId] = []

    async def begin(self) -> None:
        """Make a session for each client."""
        who = await self._admit()
        self._sessions = [await self._use.sessions.begin(who) for _ in range(AT_ONCE)]

    async def one_round(self, turns: int) -> float:
        """Return the CPU of a turn, in milliseconds."""
        await self._turns(1)
        began = process_time()
        await self._turns(turns // AT_ONCE)
        return (process_time() - began) * 1000 / turns

    async def _turns(self, each: int) -> None:
        await asyncio.gather(*(self._client(session, each) for session in self._sessions))

    async def _client(self, session_id: SessionId, turns: int) -> None:
        for _ in range(turns):
            who = await self._admit()
            async for _ in self._use.chat.reply(who, session_id, "hello", stream=False):
                pass


@asynccontextmanager
async def opened_service(url: str, how: str) -> AsyncGenerator[Service]:
    given = settings(url, how)
    limits = given.limits.model_copy(update={"max_streams_per_user": AT_ONCE})
    given = given.model_copy(update={"limits": limits})
    use = build(given, model=ScriptedModel(lambda _: "ok"))
    async with opened(use):
        if how == OFF:
            use.chat._budgets.__class__ = Uncounted  # noqa: SLF001 # no setting switches usage off
            service = Service(use, by_setting(use, given.auth.api_key.get_secret_value()))
        else:
            service = Service(use, await by_person(use))
        await service.begin()
        yield service


def by_setting(use: UseCases, raw_key: str) -> Admit:
    """With the key of the settings, and nothing else."""

    async def admit() -> Principal:
        client = use.identify_client(raw_key)
        assert client is not None
        return of_client(client)

    return admit


async def by_person(use: UseCases) -> Admit:
    """As the routes do it: a key of the store, a person, and a request that counts."""
    wanted = NewUser(email=EMAIL, roles=("employee",), department="sales", password=PASSWORD)
    person = (await use.people.create(HOST, wanted)).user
    await use.limits.put(HOST, budget_of(person))
    made = await use.api_keys.create(
        HOST, NewKey(client=ClientId("bench"), scopes=frozenset({Permission.CHAT}))
    )
    keys = CredentialCache(use.key_identification.look_up, ttl_s=KEY_TTL_S)

    async def application() -> Principal:
        assert use.identify_client(made.raw_key) is None
        known = await keys.identify(made.raw_key)
        assert known is not None
        assert use.key_identification.is_live(known)
        principal = of_client(known.client)
        use.key_use.note(principal)
        return principal

    pair = await use.authentication.login(await application(), EMAIL, PASSWORD)

    async def admit() -> Principal:
        caller = await application()
        async with use.request_limits.counting() as counting:
            who = await use.authentication.identify(caller, pair.access_token, counting)
            await counting.finish(who)
        return who

    return admit


def budget_of(person: User) -> Limit:
    return Limit(
        id="budget",
        subject=Subject.USER,
        name=person.id,
        kind=LimitKind.TOKENS,
        per=Period.MONTH,
        limit=10**12,
    )


if __name__ == "__main__":
    main()
