"""The items of a backup, each as one object of JSON."""

import base64
import json
from collections.abc import Iterator

from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_values import Json, JsonObject
from chatbot.domain.chat import Message, Session
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import Role
from chatbot.domain.ports.blobs import Blob, is_blob_name
from chatbot.domain.ports.export import JOURNAL_BY_NAME, Conversation, Item, kind_of
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.text import rfc3339
from chatbot.domain.transaction import KINDS


def item_to_json(item: Item) -> Json:
    if isinstance(item, JournalEntry):
        place = {"journal": item.journal, "seq": item.seq, "at": rfc3339(item.at)}
        return {"entry": {**place, "content": dict(item.content)}}
    if isinstance(item, Blob):
        data = base64.b64encode(item.data).decode()
        return {"blob": {"name": item.name, "data": data}}
    if not isinstance(item, Conversation):
        kind = kind_of(item)
        return {kind.singular: codec(kind.type).to_json(item)}
    return {
        "session": codec(Session).to_json(item.session),
        "messages": [codec(Message).to_json(message) for message in item.messages],
        "memory": codec(Memory).to_json(item.memory),
    }


def items_from_json(found: object, what: str) -> Iterator[Item]:
    fields = JsonObject(found, what)
    if fields.has("roles"):  # of version 1
        for name, role in fields.nested("roles").items():
            yield codec(Role).from_json({**JsonObject(role, what).found, "name": name}, what)
        return
    if fields.has("entry"):
        yield _entry(JsonObject(fields.nested("entry"), what))
        return
    if fields.has("blob"):
        yield _blob(JsonObject(fields.nested("blob"), what))
        return
    for kind in KINDS:
        if fields.has(kind.singular):
            yield codec(kind.type).from_json(fields.found[kind.singular], what)
            return
    conversation = Conversation(
        session=codec(Session).from_json(fields.nested("session"), what),
        messages=tuple(codec(Message).from_json(each, what) for each in fields.array("messages")),
        memory=codec(Memory).from_json(fields.nested("memory"), what),
    )
    if not conversation.is_complete():
        raise fields.error("messages", "what its session counts")
    yield conversation


def _blob(stored: JsonObject) -> Blob:
    name = stored.text("name")
    if not is_blob_name(name):  # it is the name of a file
        raise stored.error("name", "the name of a blob")
    try:
        data = base64.b64decode(stored.text("data"), validate=True)
    except ValueError as error:
        raise stored.error("data", "base64") from error
    return Blob(name=name, data=data)


def _entry(stored: JsonObject) -> JournalEntry:
    journal, content = stored.text("journal"), stored.nested("content")
    if journal not in JOURNAL_BY_NAME:  # it is the name of a folder
        raise stored.error("journal", "a known one")
    try:
        json.dumps(content, allow_nan=False)
    except ValueError as error:
        raise stored.error("content", "JSON") from error
    seq, at = stored.number("seq"), stored.timestamp("at")
    return JournalEntry(journal=journal, seq=seq, at=at, content=content)
