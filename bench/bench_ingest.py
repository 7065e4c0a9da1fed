"""How fast files become documents, and what those who chat notice of it.

1,000 Markdown pages of 600 words are ingested by `chatbot ingest` into each store. PDF files of 500
pages are uploaded to a server on loopback, each while eight people chat; the same chats without a
file, in turn. The p99 are those of all chats of all rounds.
"""

import argparse
import asyncio
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from harness import (
    KEY,
    MEMORY_OFF,
    Ask,
    Figure,
    Server,
    cpu_s_of,
    environment,
    fill,
    provider,
    started,
    table,
    token,
    turn,
)
from search_data import MadeTexts
from stores import made, stores

from pdf_files import pdf  # of the tests, as `stores` finds them

PAGES, WORDS, SECTIONS = 1000, 600, 5
PDF_PAGES, PDF_WORDS, LINE = 500, 400, 90
CLIENTS, PAUSE_S = 8, 0.4
QUIET_S = 4.0


def page(texts: MadeTexts, number: int) -> str:
    words = WORDS // SECTIONS // 10
    parts = [f"# Page {number}"]
    for section in range(SECTIONS):
        sentences = (texts.text(7, 7).capitalize() for _ in range(words))
        parts += [f"## Section {section}", " ".join(sentences)]
    return "\n\n".join(parts)


def pdf_file(texts: MadeTexts) -> bytes:
    sentences = PDF_WORDS // 10
    pages = (" ".join(texts.text(7, 7) for _ in range(sentences)) for _ in range(PDF_PAGES))
    return pdf(["\n".join(textwrap.wrap(each, LINE)) for each in pages])


def ingested(folder: Path, url: str) -> tuple[float, float]:
    """Ingest a folder; return the seconds, and the CPU seconds of all processes."""
    if sys.platform == "win32":
        raise SystemExit("Windows does not count the CPU of processes that have ended.")
    environ = {**os.environ, "API_KEY": KEY, "JWT_SECRET": KEY[::-1], "STORAGE_URL": url}
    command = [str(Path(sys.executable).with_name("chatbot")), "ingest", str(folder), "--public"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, check=True)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.strip() == b"added: %d" % PAGES, done.stdout
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took, cpu_s


def pages_into_stores(folder: Path) -> list[Figure]:
    texts, pages = MadeTexts(), folder / "pages"
    pages.mkdir()
    for number in range(PAGES):
        (pages / f"{number:04}.md").write_text(page(texts, number), encoding="utf-8")
    found = []
    with stores(folder) as urls:
        for name in ("JSON", "SQLite", "Postgres"):
            took, cpu_s = ingested(pages, urls[name])
            what = f"{name}: {PAGES} Markdown pages"
            found.append(Figure(what=what, value=took, target=60, unit=" s"))
            found.append(Figure(what=f"{what}, CPU", value=cpu_s, unit=" s"))
    return found


class Documents:
    """The documents of a server, as their uploader sees them."""

    def __init__(self, server: Server) -> None:
        self._url = f"{server.url}/documents"
        self._headers = {"X-API-Key": KEY, "Authorization": f"Bearer {token()}"}

    async def upload(self, http: aiohttp.ClientSession, content: bytes) -> str:
        form = aiohttp.FormData()
        form.add_field("file", content, filename="a.pdf", content_type="application/pdf")
        async with http.post(self._url, data=form, headers=self._headers) as answer:
            assert answer.status == 202, await answer.text()
            return str((await answer.json())["document"]["id"])

    async def until_ready(self, http: aiohttp.ClientSession, document_id: str) -> None:
        while True:
            async with http.get(f"{self._url}/{document_id}", headers=self._headers) as answer:
                found = await answer.json()
                status = found["document"]["status"]
            if status == "ready":
                return
            assert status != "failed"
            await asyncio.sleep(0.2)


async def chat(ask: Ask, http: aiohttp.ClientSession, goes_on: Callable[[], bool]) -> list[float]:
    """The seconds of turns of several people, who pause between them."""
    took = list[float]()

    async def one(number: int) -> None:
        await asyncio.sleep(PAUSE_S * number / CLIENTS)
        while goes_on():
            began = time.perf_counter()
            await ask(http, number)
            took.append(time.perf_counter() - began)
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*(one(number) for number in range(CLIENTS)))
    return took


async def quiet(ask: Ask) -> list[float]:
    ends = time.perf_counter() + QUIET_S
    async with aiohttp.ClientSession() as http:
        return await chat(ask, http, lambda: time.perf_counter() < ends)


async def beside_a_file(
    ask: Ask, documents: Documents, content: bytes
) -> tuple[list[float], float]:
    """The seconds of turns while a file becomes a document, and how long that took."""
    async with aiohttp.ClientSession() as http:
        began = time.perf_counter()
        document_id = await documents.upload(http, content)
        ready = asyncio.create_task(documents.until_ready(http, document_id))
        ready.add_done_callback(lambda _: times.append(time.perf_counter() - began))
        times = list[float]()
        took = await chat(ask, http, lambda: not ready.done())
        await ready
        return took, times[0]


def own_cpu_s(server: Server, documents: Documents, content: bytes) -> float:
    """The CPU time of the service itself, without the processes that it starts, for one file."""

    async def ready() -> None:
        async with aiohttp.ClientSession() as http:
            await documents.until_ready(http, await documents.upload(http, content))

    before = cpu_s_of(server.process)
    asyncio.run(ready())
    return cpu_s_of(server.process) - before


def p99(took: list[float]) -> float:
    return sorted(took)[math.ceil(0.99 * len(took)) - 1]


def files_beside_chats(folder: Path, rounds: int) -> list[Figure]:
    url, texts = made(f"sqlite:///{folder / 'served.db'}"), MadeTexts()
    sessions = asyncio.run(fill(url, 10))
    alone, beside, times = list[float](), list[float](), list[float]()
    with (
        provider(folder) as upstream,
        started("service", ["-m", "chatbot"], folder,
                **environment(upstream, url), **MEMORY_OFF) as server,
    ):  # fmt: skip
        ask, documents = turn(server, sessions), Documents(server)
        asyncio.run(quiet(ask))  # warms up
        for _ in range(rounds):
            alone += asyncio.run(quiet(ask))
            took, ready_after = asyncio.run(beside_a_file(ask, documents, pdf_file(texts)))
            beside += took
            times.append(ready_after)
        own_s = own_cpu_s(server, documents, pdf_file(texts))
    ready = f"a PDF file of {PDF_PAGES} pages beside chats, until it is ready"
    ratio = "chat p99, beside a PDF file / without"
    return [
        Figure(what=ready, value=statistics.median(times), target=60, unit=" s"),
        Figure(what=f"chat p99 without, {len(alone)} turns", value=p99(alone) * 1000, unit=" ms"),
        Figure(what=f"chat p99 beside, {len(beside)} turns", value=p99(beside) * 1000, unit=" ms"),
        Figure(what="CPU of the service's own process for such a file", value=own_s, unit=" s"),
        Figure(what=ratio, value=p99(beside) / p99(alone), target=1.3),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["pages", "files"])
    options = parser.parse_args()
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as name:
        if options.only != "files":
            found += pages_into_stores(Path(name))
        if options.only != "pages":
            found += files_beside_chats(Path(name), options.rounds)
    print(table(found))


if __name__ == "__main__":
    main()
