"""Encoded Argon2 hashes (PHC string format) and their cost."""

import base64
import os
import re
from dataclasses import dataclass

from argon2.low_level import Type

from chatbot.domain.identity import scheme_of

SALT_BYTES = 16  # RFC 9106, section 3.1
DIGEST_BYTES = 32  # RFC 9106, section 4
MAX_HASH_CHARS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2Parameters:
    """The cost parameters of a hash."""

    memory_kib: int
    time_cost: int
    parallelism: int

    @property
    def is_possible(self) -> bool:
        """Whether there is enough memory for the lanes, as the library requires."""
        return self.memory_kib >= _MIN_KIB_PER_LANE * self.parallelism

    def is_within(self, limit: "Argon2Parameters") -> bool:
        """Whether no parameter exceeds the limit's."""
        return (
            self.memory_kib <= limit.memory_kib
            and self.time_cost <= limit.time_cost
            and self.parallelism <= limit.parallelism
        )


_MIN_KIB_PER_LANE = 8  # RFC 9106, section 3.1
MINIMUM = Argon2Parameters(memory_kib=19_456, time_cost=2, parallelism=1)
"""OWASP Password Storage Cheat Sheet, Argon2id."""

MAXIMUM = Argon2Parameters(memory_kib=262_144, time_cost=16, parallelism=16)
"""Stored hashes above this are not computed: they could exhaust memory or block the worker.

Allows the second recommendation of RFC 9106 (64 MiB, t=3, p=4) and every default that argon2-cffi
has had.
"""

_TYPES = {"argon2id": Type.ID, "argon2i": Type.I, "argon2d": Type.D}
_SCHEME = (
    r"\$(argon2id|argon2i|argon2d)(?:\$v=(?:16|19))?"
    r"\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9})"
)
_SCHEME_SHAPE = re.compile(_SCHEME, re.ASCII)
_HASH_SHAPE = re.compile(_SCHEME + r"\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+", re.ASCII)


def dummy_hash(scheme: str) -> bytes:
    """Return a random hash that no known password matches, without computing one."""
    salt, digest = (
        base64.b64encode(os.urandom(size)).rstrip(b"=").decode("ascii")
        for size in (SALT_BYTES, DIGEST_BYTES)
    )
    return f"{scheme}${salt}${digest}".encode("ascii")


def read_hash(password_hash: str) -> tuple[Type, Argon2Parameters] | None:
    """Return variant and cost of an encoded hash, or None if it is invalid or above `MAXIMUM`."""
    if len(password_hash) > MAX_HASH_CHARS or not _HASH_SHAPE.fullmatch(password_hash):
        return None
    return read_scheme(scheme_of(password_hash))


def read_scheme(scheme: str) -> tuple[Type, Argon2Parameters] | None:
    """Return variant and cost of a scheme, or None if it is invalid or above `MAXIMUM`."""
    shape = _SCHEME_SHAPE.fullmatch(scheme)
    if shape is None:
        return None
    memory_kib, time_cost, parallelism = map(int, shape.group(2, 3, 4))
    cost = Argon2Parameters(memory_kib=memory_kib, time_cost=time_cost, parallelism=parallelism)
    return (_TYPES[shape.group(1)], cost) if cost.is_within(MAXIMUM) else None


def parameters_of(scheme: str) -> Argon2Parameters:
    read = read_scheme(scheme)
    if read is None:
        raise ValueError("not a scheme of Argon2")
    return read[1]


def type_of(password_hash: str) -> Type:
    return _TYPES[password_hash.split("$")[1]]


def work_of(cost: Argon2Parameters) -> int:
    return cost.memory_kib * cost.time_cost
