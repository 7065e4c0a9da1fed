"""A stand-in for a provider, to talk to: `make provider`.

It speaks OpenAI's protocol like `FakeProvider` and answers like a simple assistant, by the rules of
the embedded model: it streams word by word with a pause, and does the summary and the extraction of
memory. As for real providers, its base URL ends in `/v1`; any other is refused and explained.
"""

import argparse
import asyncio
import re
import sys
from contextlib import suppress

from chatbot.adapters.llm.extractive import answer
from chatbot.domain.ports.model import Task
from provider import FakeProvider, Json, Received, Wire

MODEL = "stand-in"
PORT = 9911
PAUSE_S = 0.04  # between two words, about as fast as people read
_BLOCK = re.compile(r"<data-[0-9a-f]{16}>\n.*", re.DOTALL)
_WORDS_OF_A_SUMMARY = '"max_words":'


class StandIn(FakeProvider):
    """The server. It has one chat model; models `fault-...` still fail as they are named."""

    def __init__(self, *, port: int = 0, pause_s: float = PAUSE_S) -> None:
        super().__init__(port=port)
        self.models = [MODEL]
        self.reply = assistant_reply
        self.piece_delay_s = pause_s

    async def _answer(self, wire: Wire, received: Received) -> None:
        if received.path.startswith("/v1/"):
            await super()._answer(wire, received)
            return
        message = f"The base URL ends in /v1: set OPENAI_BASE_URL={self.base_url}"
        sys.stderr.write(f"{received.method} {received.path[:64]!a} refused. {message}\n")
        error = {"message": message, "type": "invalid_request_error", "code": "unknown_url"}
        await wire.send_json({"error": error}, status=404)


def assistant_reply(body: Json) -> str:
    """What an assistant says to the request: chat, a summary, or an update of memory."""
    turns = [
        (str(message.get("role")), _text_of(message.get("content")))
        for message in body.get("messages", [])
    ]
    system = "\n".join(text for role, text in turns if role in {"system", "developer"})
    talk = [turn for turn in turns if turn[0] in {"user", "assistant"}]
    if not talk:
        return ""
    block = _BLOCK.search(talk[-1][1])  # where the system text is joined to it, behind that
    talk[-1] = ("user", block[0] if block else talk[-1][1])
    return answer(_task_of(body, talk[-1][1]), talk, system=system, notice=False)


def _task_of(body: Json, newest: str) -> Task:
    if (body.get("response_format") or {}).get("type", "text") != "text":
        return Task.EXTRACT_MEMORY
    is_summary = newest.startswith("<data-") and _WORDS_OF_A_SUMMARY in newest.partition("\n</")[0]
    return Task.SUMMARIZE if is_summary else Task.CHAT


def _text_of(content: object) -> str:
    """The text of a message, whether it came as such or in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


async def _main(port: int, pause_s: float) -> None:
    async with StandIn(port=port, pause_s=pause_s) as provider:
        print(
            f"OPENAI_BASE_URL={provider.base_url}\nGENKIT_MODEL=openai/{MODEL}\n"
            "# to see it fail: GENKIT_MODEL=openai/fault-429, openai/fault-drop ...",
            flush=True,
        )
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for an OpenAI-compatible provider.")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds between two words")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(arguments.port, arguments.pause))
