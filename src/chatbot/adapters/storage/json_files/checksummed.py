"""The checksum that seals a line of JSON.

A sealed line is one JSON object whose last key is `crc32`, in hexadecimal, over the bytes of the
line before `,"crc32"`: `jq` reads it, and any flipped byte shows.
"""

import zlib

from chatbot.adapters.storage.json_values import Damaged, Json, JsonObject, dump, load

_SEAL_BYTES = len(',"crc32":"01234567"}')


def seal(found: Json) -> bytes:
    """The object as one line with its checksum, without the newline."""
    body = dump(found)[:-1]
    return body + _seal_of(body)


def is_sealed(line: bytes) -> bool:
    """Whether the line matches its checksum."""
    return line[-_SEAL_BYTES:] == _seal_of(memoryview(line)[:-_SEAL_BYTES])  # a line may be long


def unseal(line: bytes, what: str) -> object:
    """Decode a sealed line.

    Raises:
        Damaged: the checksum does not fit. The version is looked at first: a newer one may seal
            its lines in another way.
    """
    if is_sealed(line):
        return load(line, what)
    if line[:1] == b"{" and line[-1:] == b"}":
        JsonObject(load(line, what), what).require_version()
    raise Damaged(f"{what}: checksum mismatch")


def _seal_of(body: bytes | memoryview) -> bytes:
    return b',"crc32":"%08x"}' % zlib.crc32(body)
