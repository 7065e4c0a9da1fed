"""How much of a prompt is a prefix of the one before."""

import random
from collections.abc import Sequence
from itertools import pairwise

from chatbot.domain.ports.model import ModelRequest

WORDS = [
    "el",
    "pedido",
    "la",
    "factura",
    "reunión",
    "viernes",
    "cliente",
    "proveedor",
    "almacén",
    "entrega",
    "presupuesto",
    "informe",
    "contrato",
    "vacaciones",
    "departamento",
    "hoja",
    "cálculo",
    "correo",
    "plazo",
    "revisión",
    "mañana",
    "nuestra",
    "oficina",
    "necesito",
    "puedes",
    "quiero",
    "preparar",
    "enviar",
    "comprobar",
    "porque",
    "cuando",
    "también",
    "después",
    "según",
    "sobre",
]


def prose(rng: random.Random, chars: int) -> str:
    text = ""
    while len(text) < chars:
        text += rng.choice(WORDS) + " "
    return text.strip().capitalize() + "."


def repeated_share(requests: Sequence[ModelRequest]) -> float:
    """How many characters of the prompts are a prefix of the previous prompt."""
    prompts = [as_text(request) for request in requests]
    shared = sum(_common_prefix(one, next_) for one, next_ in pairwise(prompts))
    return shared / sum(map(len, prompts))


def _common_prefix(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def as_text(request: ModelRequest) -> str:
    return request.system + "".join(m.text for m in request.messages)
