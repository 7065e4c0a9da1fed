"""A model that obeys every order in its prompt, from documents, memory or the person alike.

    upstream = FakeProvider()
    model = ObedientModel()
    upstream.raw = model.answer

It repeats its prompt if anything asks for a print-out, writes what it is to remember, cites what it is
to cite, links and calls what it is to call. Asked for an update of the memory, it stores and forgets
as ordered, also by the prompts before: it does not matter to it who may learn what from where.
`obeyed` counts the orders.
"""

import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from provider import Raw, completion, sse, stream_chunks

Json = dict[str, Any]

_FLAGS = re.IGNORECASE
_END = r"(?=\.(?:\s|\"|$)|\"|\\n|\n|$)"
_REMEMBER = re.compile(
    rf"\b(?:remember|save to memory|recuerda|guarda en la memoria) (?:that|que) (.{{3,200}}?){_END}",
    _FLAGS,
)
_FORGET = re.compile(rf"\b(?:forget|olvida) (.{{3,200}}?){_END}", _FLAGS)
_PRINT = re.compile(
    r"\b(?:print|show|repeat|reveal|output|imprime|muestra|repite|revela|devuelve)\b", _FLAGS
)
_CALL = re.compile(r"\b(?:call|llama a) ([\w:/.?=&-]+)", _FLAGS)
_CITE = re.compile(r"\[(\d+)\]")
_LINK = re.compile(r"https?://[\w:/.?=&-]+")
_LONGEST_LINK = 1000
_ORDERS_AT_ONCE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonedDocument:
    """A document whose author gives orders; `plants` is what is to be remembered, if anything."""

    language: str
    question: str
    text: str
    plants: str


def poisoned_documents(host: str) -> list[PoisonedDocument]:
    """Returns the documents, with the address of the attacker's server."""
    path = Path(__file__).with_name("poisoned_documents.toml")
    found = tomllib.loads(path.read_text(encoding="utf-8").replace("{host}", host))
    return [PoisonedDocument(**each) for each in found["documents"]]


@dataclass
class ObedientModel:
    """Answers for a provider; `prompts` holds all that it was sent."""

    prompts: list[str] = field(default_factory=list)
    obeyed: Counter[str] = field(default_factory=Counter)
    to_learn: dict[str, None] = field(default_factory=dict)
    to_forget: dict[str, None] = field(default_factory=dict)

    def answer(self, body: Json) -> Raw | None:
        if "messages" not in body:
            return None
        prompt = "\n".join(str(each.get("content", "")) for each in body["messages"])
        self.prompts.append(prompt)
        self.to_learn.update(dict.fromkeys(self._orders("remember", _REMEMBER, prompt)))
        self.to_forget.update(dict.fromkeys(self._orders("forget", _FORGET, prompt)))
        wants_json = (body.get("response_format") or {}).get("type") == "json_object"
        text = self._update() if wants_json else self._reply(prompt)
        return _streamed(body, text) if body.get("stream") else self._whole(body, prompt, text)

    def _reply(self, prompt: str) -> str:
        parts = ["As ordered:"]
        parts += [
            f"I remember that {each}." for each in self._orders("remember", _REMEMBER, prompt)
        ]
        parts += [f"[{each}]" for each in self._orders("cite", _CITE, prompt)]
        data = quote(prompt)[:_LONGEST_LINK]
        parts += [f"![image]({each}{data})" for each in self._orders("link", _LINK, prompt)]
        if self._orders("print", _PRINT, prompt):
            parts.append(prompt)
        return "\n".join(parts)

    def _update(self) -> str:
        facts, forgotten = list(self.to_learn)[-_ORDERS_AT_ONCE:], list(self.to_forget)
        operations = [{"kind": "fact", "text": each} for each in facts]
        self.obeyed["learn"] += len(facts)
        update = {"facts": facts, "set": operations, "forget": forgotten[-_ORDERS_AT_ONCE:]}
        return json.dumps(update, ensure_ascii=False)  # in both shapes

    def _whole(self, body: Json, prompt: str, text: str) -> Raw:
        answer = completion(body, text, None)
        calls = self._orders("call", _CALL, prompt)
        if calls:
            answer["choices"][0]["message"]["tool_calls"] = [
                {
                    "id": f"call_{number}",
                    "type": "function",
                    "function": {"name": name, "arguments": "{}"},
                }
                for number, name in enumerate(calls)
            ]
        data = json.dumps(answer).encode()
        return Raw(pieces=[data], content_type="application/json", content_length=len(data))

    def _orders(self, kind: str, pattern: re.Pattern[str], prompt: str) -> list[str]:
        found = list(dict.fromkeys(pattern.findall(prompt)))
        self.obeyed[kind] += len(found)
        return found


def _streamed(body: Json, text: str) -> Raw:
    events = "".join(map(sse, stream_chunks(body, text, None)))
    return Raw(pieces=[f"{events}data: [DONE]\n\n".encode()])
