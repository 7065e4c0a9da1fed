"""Counters as rows: one per counter and expiry.

A transaction locks the names of its counters before it writes their rows, so that it does not deadlock.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Self

from sqlalchemy import (
    ColumnElement,
    TextClause,
    and_,
    bindparam,
    case,
    delete,
    false,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)

from chatbot.adapters.storage.sql.counter_statements import (
    ADD_COUNTERS,
    DROPPED_AT_ONCE,
    addition_values,
    exceeding_of,
    lock_name,
)
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.tables import Moment, counters
from chatbot.domain.ports.counters import (
    PART_SEPARATOR,
    Addition,
    Count,
    CounterKey,
    Counters,
    Counts,
    names_with_part,
)

_SCANNED_AT_ONCE = 50
"""So many prefixes are looked up by an index in one statement."""
_LAST_CHARACTER, _SURROGATES = 0x10FFFF, range(0xD800, 0xE000)
_ROW = (counters.c.kind, counters.c.name, counters.c.expires_at)
_EXPIRED = (
    select(*_ROW)
    .where(counters.c.expires_at <= bindparam("now"))
    .order_by(counters.c.expires_at)
    .limit(DROPPED_AT_ONCE)
    .with_for_update(skip_locked=True)  # so that two that drop never wait for each other
)
_DROP_EXPIRED = delete(counters).where(tuple_(*_ROW).in_(_EXPIRED))
_SUBTRACT = (
    update(counters)
    .where(
        counters.c.kind == bindparam("k"),
        counters.c.name == bindparam("n"),
        counters.c.expires_at == bindparam("at"),
    )
    .values(
        amount=case(
            (counters.c.amount > bindparam("by"), counters.c.amount - bindparam("by")), else_=0
        )
    )
)


class SqlCounters(Counters):
    """The counters as one transaction sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        if not additions:
            return ()
        self._sql.lock_names([lock_name(each.key) for each in additions])
        is_sqlite = self._sql.connection.dialect.name == "sqlite"
        first, *others = ADD_COUNTERS.sqlite if is_sqlite else (ADD_COUNTERS.postgres,)
        values = addition_values(additions, now)
        found = self._sql.write(text(first), values).scalar_one()
        for each in others:
            self._sql.write(text(each), values)
        return exceeding_of(additions, found)

    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        # Additions of one moment share a transaction, whose rows are not in the order of their keys.
        self._sql.lock_names([lock_name(each.key) for each in (*reserved, *used)])
        for (key, expires_at), amount in _rows(reserved):
            values = {"k": key.kind, "n": key.name, "at": expires_at, "by": amount}
            self._sql.write(_SUBTRACT, values)
        if used:
            self._add(_rows(used), now)

    def _add(self, rows: Sequence[tuple[tuple[CounterKey, datetime], int]], now: datetime) -> None:
        """Add in one statement. If it creates a row, expired rows are dropped."""
        values: dict[str, object] = {}
        for number, ((key, expires_at), amount) in enumerate(rows):
            values |= {f"kind{number}": key.kind, f"name{number}": key.name}
            values |= {f"at{number}": expires_at, f"amount{number}": amount}
        amounts = {row.amount for row in self._sql.write(_insert(len(rows)), values).all()}
        if not amounts.isdisjoint(amount for _, amount in rows):
            self._sql.write(_DROP_EXPIRED, {"now": now})

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        found: dict[CounterKey, list[Count]] = {key: [] for key in keys}
        query = select(counters).where(
            _is_one_of(keys), counters.c.expires_at > now, counters.c.amount > 0
        )
        for row in self._sql.rows(query):
            found[CounterKey(row.kind, row.name)].append(Count(row.expires_at, row.amount))
        return {key: sorted(counts) for key, counts in found.items()}

    def scan(self, kind: str, *prefixes: str, now: datetime) -> Mapping[str, int]:
        totals = Counter[str]()
        distinct = sorted(set(prefixes))
        for start in range(0, len(distinct), _SCANNED_AT_ONCE):
            begins = [_begins(kind, each) for each in distinct[start : start + _SCANNED_AT_ONCE]]
            query = select(counters).where(
                or_(*begins), counters.c.expires_at > now, counters.c.amount > 0
            )
            found = Counter[str]()
            for row in self._sql.rows(query):
                found[row.name] += row.amount
            totals |= found  # a name may begin with two of the prefixes
        return totals

    def erase(self, part: str) -> Mapping[str, int]:
        names_with_part((), part)
        padded = literal(PART_SEPARATOR) + counters.c.name + PART_SEPARATOR
        has_part = func.replace(padded, f"{PART_SEPARATOR}{part}{PART_SEPARATOR}", "") != padded
        rows = self._sql.rows(select(counters.c.kind, counters.c.name).where(has_part).distinct())
        self._sql.delete_securely(delete(counters).where(has_part))
        return Counter(row.kind for row in rows)

    def clear(self, keys: Sequence[CounterKey]) -> None:
        self._sql.write(delete(counters).where(_is_one_of(keys)))

    @contextmanager
    def exclusive(self, keys: Sequence[CounterKey]) -> Iterator[Self]:
        """The locks are held until the end of the transaction."""
        self._sql.lock_names([lock_name(key) for key in keys])
        yield self


def _rows(additions: Sequence[Addition]) -> list[tuple[tuple[CounterKey, datetime], int]]:
    """Returns the amounts of each row, in the order of the rows' keys."""
    amounts = Counter[tuple[CounterKey, datetime]]()
    for addition in additions:
        amounts[addition.key, addition.expires_at] += addition.amount
    return sorted(amounts.items())


@lru_cache
def _insert(count: int) -> TextClause:
    rows = ", ".join(f"(:kind{n}, :name{n}, :at{n}, :amount{n})" for n in range(count))
    moments = [bindparam(f"at{n}", type_=Moment) for n in range(count)]
    return text(
        f"INSERT INTO counters (kind, name, expires_at, amount) VALUES {rows} "  # noqa: S608 # names only
        "ON CONFLICT (kind, name, expires_at) "
        "DO UPDATE SET amount = counters.amount + excluded.amount RETURNING amount"
    ).bindparams(*moments)


def _begins(kind: str, prefix: str) -> ColumnElement[bool]:
    """Names are compared by their code points, so that those with a prefix are a range."""
    end = _after(prefix)
    upper = () if end is None else (counters.c.name < end,)
    return and_(counters.c.kind == kind, counters.c.name >= prefix, *upper)


def _after(prefix: str) -> str | None:
    """Returns the first text after all that begin with the prefix; None if there is none."""
    rest = prefix.rstrip(chr(_LAST_CHARACTER))
    if not rest:
        return None
    following = ord(rest[-1]) + 1
    return rest[:-1] + chr(_SURROGATES.stop if following in _SURROGATES else following)


def _is_one_of(keys: Sequence[CounterKey]) -> ColumnElement[bool]:
    each = [and_(counters.c.kind == key.kind, counters.c.name == key.name) for key in keys]
    return or_(false(), *each)
