"""One analysed passage, packed: what the tail has of it until it is part of a segment."""

import re
import struct
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from chatbot.adapters.search.analyser import VERSION, terms_of, words_of
from chatbot.adapters.search.packing import DamagedIndex
from chatbot.adapters.search.rows import TailRow
from chatbot.domain.chat import MessageRole
from chatbot.domain.search import Passage

IS_QUESTION, BY_USER, BY_ASSISTANT = 1, 2, 4
"""Flags of a passage."""
MAX_LENGTH = 0xFFFF
"""What a longer passage counts as, in terms."""
MAX_COUNT = 0xFF
"""What a term that is more frequent in a passage counts as."""
_HEADER = struct.Struct("<BBHII")
_FLAG_OF = {MessageRole.USER: BY_USER, MessageRole.ASSISTANT: BY_ASSISTANT, None: 0}
_SPEAKER = re.compile(r"^\s*([^\n:]{1,40}):\s")
_AFTER_THE_MARK = " \"')*_"
_REMEMBERED = 1024
_BYTES_OF_A_TERM = 9
"""Eight of the term, and one of its count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An analysed passage.

    `label` is the speaker if a message begins with one, as in `Ana: Yes.`; `counts` are those of
    the terms. `length` is the number of terms, repeated ones included.
    """

    version: int
    flags: int
    length: int
    label: str
    terms: Sequence[int]
    counts: bytes


@lru_cache(_REMEMBERED)
def record_of(passage: Passage) -> bytes:
    """Returns the packed record of a passage."""
    label, body = _speaker_of(passage)
    terms = terms_of(words_of(f"{passage.heading} {body}" if passage.heading else body))
    counted = Counter(terms)
    keys, name = array("Q", sorted(counted)), label.encode()
    counts = bytes(min(MAX_COUNT, counted[key]) for key in keys)
    length = min(MAX_LENGTH, len(terms))
    header = _HEADER.pack(VERSION, _flags_of(passage), length, len(keys), len(name))
    return header + keys.tobytes() + counts + name


def tail_row(parent: str, passage: Passage) -> TailRow:
    """Returns the row of the tail for a passage of a parent."""
    return TailRow(parent, passage.seq, record_of(passage))


def unpacked(record: bytes) -> Record:
    """Returns what a packed record holds.

    Raises:
        DamagedIndex: it is not one.
    """
    if len(record) < _HEADER.size:
        raise DamagedIndex
    version, flags, length, count, name_bytes = _HEADER.unpack_from(record)
    if len(record) != _HEADER.size + count * _BYTES_OF_A_TERM + name_bytes:
        raise DamagedIndex
    terms = array("Q")
    counts_at = _HEADER.size + count * terms.itemsize
    terms.frombytes(record[_HEADER.size : counts_at])
    name_at = counts_at + count
    return Record(
        version=version,
        flags=flags,
        length=length,
        label=record[name_at : name_at + name_bytes].decode(),
        terms=terms,
        counts=record[counts_at:name_at],
    )


def _speaker_of(passage: Passage) -> tuple[str, str]:
    """Returns the folded speaker of a message and the text after it."""
    found = _SPEAKER.match(passage.text) if passage.role else None
    if found is None:
        return "", passage.text
    return " ".join(words_of(found[1])), passage.text[found.end() :]


def _flags_of(passage: Passage) -> int:
    is_question = passage.text.rstrip(_AFTER_THE_MARK).endswith("?")
    return _FLAG_OF[passage.role] | (IS_QUESTION if is_question else 0)
