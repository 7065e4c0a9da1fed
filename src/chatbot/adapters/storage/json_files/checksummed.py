"""Lines of JSON with a checksum.

A line is one JSON object whose last key is `crc32`, in hexadecimal, over the bytes of the line
before `,"crc32"`: `jq` can read it, and every modified byte is detected.
"""

import zlib

from chatbot.adapters.storage.json_values import Damaged, Json, JsonObject, dump, load

_CHECKSUM_BYTES = len(',"crc32":"01234567"}')


def encode_line(found: Json) -> bytes:
    """Return the object as a line with its checksum."""
    body = dump(found)[:-1]
    return body + _checksum(body) + b"\n"


def is_intact(line: bytes) -> bool:
    """Whether the line, without its newline, matches its checksum."""
    return line[-_CHECKSUM_BYTES:] == _checksum(memoryview(line)[:-_CHECKSUM_BYTES])


def decode_line(line: bytes, what: str) -> JsonObject:
    """Decode a line without its newline.

    Raises:
        Damaged: it does not match its checksum, or has a newer version, which may use another one.
    """
    if is_intact(line):
        return JsonObject(load(line, what), what)
    if line[:1] == b"{" and line[-1:] == b"}":
        JsonObject(load(line, what), what).require_version()
    raise Damaged(f"{what}: checksum mismatch")


def decode_file(raw: bytes, what: str) -> JsonObject:
    """Decode a file of one line that records its version.

    Raises:
        Damaged: it was truncated or modified, or has a newer version.
    """
    if raw[-1:] != b"\n":
        raise Damaged(f"{what}: empty or cut off")
    found = decode_line(raw[:-1], what)
    found.require_version()
    return found


def _checksum(body: bytes | memoryview) -> bytes:
    return b',"crc32":"%08x"}' % zlib.crc32(body)
