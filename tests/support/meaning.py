"""Embeddings of the fake provider: texts with the same words, or words for the same, are near.

A text is the sum of its words' vectors. A word's vector is made of its digest; those of a row of
`SAME`, in both languages, have one together.
"""

import math
import re
import unicodedata
from functools import cache
from hashlib import sha256
from typing import Any

Json = dict[str, Any]

DIMENSION = 64
SAME = (
    ("vacaciones", "vacacion", "holiday", "holidays", "days", "off", "leave", "descanso"),
    ("salario", "sueldo", "nomina", "salary", "wage", "pay", "payroll", "paycheck"),
    ("coche", "carro", "automovil", "car", "vehicle", "auto"),
    ("perro", "perros", "dog", "dogs", "puppy", "cachorro"),
    ("medico", "doctor", "physician", "medic"),
    ("ordenador", "computadora", "portatil", "computer", "laptop"),
    ("jefe", "jefa", "boss", "manager", "supervisor"),
    ("casa", "hogar", "home", "house"),
)
SAID_WITH_ANYTHING = set(
    re.findall(
        "[a-z]+",
        "a about are at can do does for from have how i in is it many me my of on or that the there to "
        "we what when who with you your al como con cual cuando cuantos cuantas de del dias el en es "
        "esta hay la las lo los me mi o para por que se si sin su tengo tiene un una y yo",
    )
)
_CONCEPTS = {word: row[0] for row in SAME for word in row}


def embeddings(body: Json, *, dimension: int = DIMENSION) -> Json:
    """The response of `POST embeddings`."""
    raw = body["input"]
    texts = [raw] if isinstance(raw, str) else raw
    data = [
        {"object": "embedding", "index": i, "embedding": vector_of(text, dimension)}
        for i, text in enumerate(texts)
    ]
    tokens = sum(len(text.split()) for text in texts)
    used = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": used}


def vector_of(text: str, dimension: int = DIMENSION) -> list[float]:
    """The meaning of a text, with length 1."""
    words = [word for word in _words(text) if word not in SAID_WITH_ANYTHING] or ["nothing"]
    total = [sum(numbers) for numbers in zip(*(_of_word(w, dimension) for w in words), strict=True)]
    length = math.hypot(*total)
    return [number / length for number in total]


def _words(text: str) -> list[str]:
    bare = unicodedata.normalize("NFD", text.lower())
    return re.findall("[a-z0-9]+", "".join(c for c in bare if not unicodedata.combining(c)))


@cache
def _of_word(word: str, dimension: int) -> tuple[float, ...]:
    concept = _CONCEPTS.get(word, word)
    digest = b"".join(
        sha256(f"{part} {concept}".encode()).digest() for part in range(dimension // 32 + 1)
    )
    return tuple((byte - 127.5) / 127.5 for byte in digest[:dimension])
