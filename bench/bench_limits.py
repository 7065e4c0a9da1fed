"""CPU that limits and usage add to a turn, on each store.

The service's own CPU (user + system, all threads) for each turn with a scripted model, 16 at once, in
one process: the request is counted, the turn is answered and stored. Three variants take turns:

- off: nothing is counted, and no usage is stored;
- counted: `RATE_LIMIT_PER_MINUTE` and usage, as they are by default;
- budget: one limit of tokens more, which reserves before and settles after each turn.

What a Postgres server uses comes on top.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from stores import settings_of, stores

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.application.budgets import Budgets, Meter
from chatbot.domain.authorization import of_client, of_host
from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Client, ClientId, Principal
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.counters import Bill
from chatbot.domain.quotas import Period
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.lifecycle import opened
from chatbot.entrypoints.settings import Settings

AT_ONCE = 16
_CHAT = frozenset({Permission.CHAT})
CALLER = of_client(Client(id=ClientId("bench"), permissions=_CHAT, user_permissions=_CHAT))
RULE = Limit(
    id="budget", subject=Subject.CLIENT, name="bench", kind=LimitKind.TOKENS, per=Period.MONTH,
    limit=10**12,
)  # fmt: skip
VARIANTS = ("off", "counted", "budget")


class Uncounted(Budgets):
    """Bills nothing."""

    async def bill(self, meter: Meter, *, turns: int = 0) -> Bill | None:  # noqa: ARG002 # the base's
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=320, help="a round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, stores(Path(folder)) as urls:
        for name, url in urls.items():
            found = asyncio.run(measured(url, options.rounds, options.turns))
            off = statistics.median(found["off"])
            print(name, *(f"{each} {statistics.median(found[each]):.3f} ms" for each in VARIANTS))
            print(
                name,
                *(f"{each} +{statistics.median(found[each]) - off:.3f}" for each in VARIANTS[1:]),
            )


def settings(url: str, variant: str) -> Settings:
    made = settings_of(url)
    rate = 0 if variant == "off" else 1_000_000
    limits = made.limits.model_copy(update={"rate_limit_per_minute": rate})
    memory = made.memory.model_copy(update={"structured_enable": False, "summarize_threshold": 0})
    model = made.model.model_copy(update={"max_concurrent": 4 * AT_ONCE})
    return made.model_copy(update={"limits": limits, "memory": memory, "model": model})


async def measured(url: str, rounds: int, turns: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    async with AsyncExitStack() as stack:
        services = {}
        for variant in VARIANTS:
            use = build(settings(url, variant), model=ScriptedModel(lambda _: "ok"))
            await stack.enter_async_context(opened(use))
            if variant == "off":
                use.chat._budgets.__class__ = Uncounted  # noqa: SLF001 # no setting switches usage off
            sessions = [await use.sessions.begin(CALLER) for _ in range(AT_ONCE)]
            services[variant] = use, sessions
        host = of_host("bench")
        for number in range(rounds + 1):
            for variant, (use, sessions) in services.items():
                if variant == "budget":
                    await use.limits.put(host, RULE)
                cpu_ms = await one_round(use, sessions, turns)
                if variant == "budget":
                    await use.limits.remove(host, RULE.id)
                if number:  # the first round warms up
                    found[variant].append(cpu_ms)
    return found


async def one_round(use: UseCases, sessions: Sequence[SessionId], turns: int) -> float:
    await asyncio.gather(*(client(use, each, 1) for each in sessions))
    began = time.process_time()
    await asyncio.gather(*(client(use, each, turns // AT_ONCE) for each in sessions))
    return (time.process_time() - began) * 1000 / turns


async def client(use: UseCases, session_id: SessionId, turns: int, who: Principal = CALLER) -> None:
    for _ in range(turns):
        await use.request_limits.count(who)
        async for _ in use.chat.reply(who, session_id, "hello", stream=False):
            pass


if __name__ == "__main__":
    main()
