"""How attempts to log in look in JSON."""

from collections.abc import Mapping
from datetime import datetime

from chatbot.adapters.storage.json_values import VERSION, Json, JsonObject
from chatbot.domain.text import rfc3339
from chatbot.domain.throttling import AttemptKey

Times = tuple[datetime, ...]
Made = Mapping[AttemptKey, Times]


def attempts_to_json(made: Made) -> Json:
    found: Json = {key: [rfc3339(at) for at in times] for key, times in made.items()}
    return {"version": VERSION, "attempts": found}


def attempts_from_json(found: object, what: str) -> dict[AttemptKey, Times]:
    document = JsonObject(found, what)
    document.require_version()
    made = document.nested("attempts")
    return {AttemptKey(key): _moments(JsonObject(made, what), key) for key in made}


def _moments(fields: JsonObject, key: str) -> Times:
    return tuple(JsonObject({"at": at}, key).timestamp("at") for at in fields.array(key))
