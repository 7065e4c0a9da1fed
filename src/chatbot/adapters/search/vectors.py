"""Vectors as the index has them: one byte for each number, and exact integers from then on.

What is stored and compared is the same on every store and machine. The bits of the rounded numbers are
kept by their place: all signs, then all units, all twos and so on. So the signs of two vectors are compared at once, and their product takes 64 steps
for any number of dimensions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import Self

from chatbot.domain.search import Vector, rounded

_WEIGHTS = (-128, 1, 2, 4, 8, 16, 32, 64)
"""What a bit of each plane counts; the first plane has the signs."""
_PAIRS = [(x, y, a * b) for x, a in enumerate(_WEIGHTS) for y, b in enumerate(_WEIGHTS)]
_AS_DIGITS = [
    bytes(ord("1") if byte >> bit & 1 else ord("0") for byte in range(256))
    for bit in (7, 0, 1, 2, 3, 4, 5, 6)
]
"""For each plane what turns a byte into its bit, as a digit."""
_SQUARE_BYTES = 4
_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantised:
    """A vector in bit planes, the signs first; `square` is its product with itself."""

    dimension: int
    planes: Sequence[int]
    square: int

    @classmethod
    def of(cls, vector: Vector) -> Self:
        numbers = rounded(vector)
        text = numbers.tobytes()
        return cls(
            dimension=len(numbers),
            planes=[int(text.translate(digits), 2) for digits in _AS_DIGITS],
            square=sum(map(mul, numbers, numbers)),
        )

    @classmethod
    def decoded(cls, dimension: int, signs: int, code: bytes) -> Self:
        """Returns the vector with these signs, and the rest as `code` has it."""
        width, at = plane_bytes(dimension), _SQUARE_BYTES
        rest = [int.from_bytes(code[a : a + width], "big") for a in range(at, len(code), width)]
        square = int.from_bytes(code[:at], "big")
        return cls(dimension=dimension, planes=[signs, *rest], square=square)

    @property
    def signs(self) -> int:
        return self.planes[0]

    @property
    def code(self) -> bytes:
        """All but the signs."""
        width = plane_bytes(self.dimension)
        planes = (plane.to_bytes(width, "big") for plane in self.planes[1:])
        return b"".join([self.square.to_bytes(_SQUARE_BYTES, "big"), *planes])

    def cosine(self, other: "Quantised") -> float:
        """Returns the cosine of the angle to another vector of the same length."""
        mine, theirs = self.planes, other.planes
        product = sum([(mine[x] & theirs[y]).bit_count() * weight for x, y, weight in _PAIRS])
        return round(product / math.sqrt(self.square * other.square), _DIGITS)


def plane_bytes(dimension: int) -> int:
    """Returns how many bytes a plane has."""
    return -(-dimension // 8)


def code_bytes(dimension: int) -> int:
    """Returns how many bytes a vector has beside its signs."""
    return _SQUARE_BYTES + (len(_WEIGHTS) - 1) * plane_bytes(dimension)
