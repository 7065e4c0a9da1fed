"""The tests' provider with the answers of an assistant: some 50 words, a summary, an extraction.

As a provider's model would, it answers the tasks for memory with what they ask for: a summary of
80 words, and a small update, which most often names a fact that is known already.
"""

import argparse
import asyncio
import json
import re
import sys
from itertools import count
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from provider import FakeProvider, Json  # of the tests

SUMMARY = " ".join(["The user prepares the report of the northern branch for Thursday."] * 8)
FACTS = 8
_asked = count()


def reply(body: Json) -> str:
    newest = str(body["messages"][-1]["content"])
    if (body.get("response_format") or {}).get("type") == "json_object":
        number = next(_asked) % FACTS
        facts = [f"Branch {number} sends its figures on Thursday."]
        return json.dumps({"facts": facts, "todos": ["Send the report to the board."]})
    if '"max_words":' in newest:
        return SUMMARY
    return "You said: " + re.sub(r"\A<data-.*</data-\w+>\s*", "", newest, flags=re.DOTALL)


async def main(port: int) -> None:
    async with FakeProvider(port=port) as provider:
        provider.reply = reply
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    asyncio.run(main(parser.parse_args().port))
