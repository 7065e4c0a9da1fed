"""Records as rows of the tables of their kinds."""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import IntegrityError

from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.rows import record_of, record_values
from chatbot.adapters.storage.sql.tables import stored_columns, table_of
from chatbot.domain.errors import Conflict
from chatbot.domain.ports.records import AnyKind, Condition, Key, Kind, Match, Record, Records
from chatbot.domain.text import rfc3339


class SqlRecords(Records):
    """The records as one transaction sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def get(self, kind: Kind[Record], *key: str) -> Record | None:
        row = self._sql.row(_by_key(kind), _key_values(kind, key))
        return None if row is None else record_of(kind, row)

    def find(self, kind: Kind[Record], field: str, value: str) -> Record | None:
        row = self._sql.row(_by_field(kind, field), {"value": value})
        return None if row is None else record_of(kind, row)

    def page(
        self,
        kind: Kind[Record],
        *,
        field: str | None = None,
        value: str = "",
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        query = _page(kind, field, is_later=bool(after), is_limited=limit is not None)
        values: dict[str, object] = {} if field is None else {"value": value}
        if after:
            values |= _key_values(kind, after)
        if limit is not None:
            values["limit"] = limit
        return [record_of(kind, row) for row in self._sql.rows(query, values)]

    def page_in(
        self,
        kind: Kind[Record],
        *,
        field: str,
        values: Collection[str],
        after: Key = (),
        limit: int | None = None,
    ) -> Sequence[Record]:
        if not values:
            return []
        query = _page_in(kind, field, is_later=bool(after), is_limited=limit is not None)
        found: dict[str, object] = {"values": list(values)}
        if after:
            found |= _key_values(kind, after)
        if limit is not None:
            found["limit"] = limit
        return [record_of(kind, row) for row in self._sql.rows(query, found)]

    def count(self, kind: AnyKind, *, field: str, value: str) -> int:
        row = self._sql.row(_count(kind, field), {"value": value})
        return 0 if row is None else int(row[0])

    def get_all(self, kind: Kind[Record], keys: Sequence[Key]) -> Sequence[Record]:
        rows = self._sql.rows(_all_of(kind), {"keys": list(keys)}) if keys else []
        return [record_of(kind, row) for row in rows]

    def search(
        self,
        kind: Kind[Record],
        conditions: Sequence[Condition],
        *,
        order_by: str,
        after: str = "",
        limit: int | None = None,
    ) -> Sequence[Record]:
        compared = tuple((each.field, each.match) for each in conditions)
        query = _search(kind, compared, order_by, is_limited=limit is not None)
        values: dict[str, object] = {f"value{n}": each.value for n, each in enumerate(conditions)}
        values |= {"after": after} if limit is None else {"after": after, "limit": limit}
        rows = self._sql.rows(query, values)
        return [record_of(kind, row) for row in rows]

    def put(self, kind: Kind[Record], record: Record, *, expected: Record | None) -> None:
        changed = f"The {kind.singular} was changed in the meantime. Try again."
        try:
            if expected is None:
                self._sql.write(insert(table_of(kind)), record_values(kind, record))
                return
            key = _key_values(kind, kind.key_of(record))
            row = self._sql.write(_by_key(kind).with_for_update(), key).first()
            if row is None or record_of(kind, row) != expected:
                raise Conflict(changed)
            change = update(table_of(kind)).where(_is_key(kind)).values(record_values(kind, record))
            self._sql.write(change, key)
        except IntegrityError as error:
            raise Conflict(
                f"The {kind.singular} was changed in the meantime, or a value of it is in use."
            ) from error

    def remove(self, kind: Kind[Record], *key: str) -> None:
        removed = self._sql.write if kind.is_work else self._sql.delete_securely
        removed(delete(table_of(kind)).where(_is_key(kind)), _key_values(kind, key))

    def drop_expired(self, kind: Kind[Record], now: datetime) -> int:
        if kind.expires_at is None:
            return 0
        moment = table_of(kind).c[kind.expires_at]
        return self._sql.write(delete(table_of(kind)).where(moment <= rfc3339(now))).rowcount

    def exclusive(self, kind: AnyKind) -> None:
        self._sql.lock(table_of(kind))


def _key_values(kind: AnyKind, key: Key) -> dict[str, object]:
    return {f"key_{name}": value for name, value in zip(kind.key, key, strict=True)}


def _is_key(kind: AnyKind) -> ColumnElement[bool]:
    return and_(*(table_of(kind).c[name] == bindparam(f"key_{name}") for name in kind.key))


@cache
def _by_key(kind: AnyKind) -> Select[Any]:
    return select(*stored_columns(kind)).where(_is_key(kind))


@cache
def _by_field(kind: AnyKind, field: str) -> Select[Any]:
    return select(*stored_columns(kind)).where(table_of(kind).c[field] == bindparam("value"))


@cache
def _all_of(kind: AnyKind) -> Select[Any]:
    keys = tuple_(*(table_of(kind).c[name] for name in kind.key))
    return select(*stored_columns(kind)).where(keys.in_(bindparam("keys", expanding=True)))


@cache
def _search(
    kind: AnyKind, compared: tuple[tuple[str, Match], ...], order_by: str, *, is_limited: bool
) -> Select[Any]:
    columns = table_of(kind).c
    conditions = [
        _compared(columns[field], match, bindparam(f"value{n}", type_=Text))
        for n, (field, match) in enumerate(compared)
    ]
    later = columns[order_by] > bindparam("after")
    query = select(*stored_columns(kind)).where(later, *conditions).order_by(columns[order_by])
    return query.limit(bindparam("limit")) if is_limited else query


def _compared(
    column: ColumnElement[Any], match: Match, value: BindParameter[Any]
) -> ColumnElement[bool]:
    match match:
        case Match.EQUAL:
            return column == value
        case Match.HOLDING:  # `LIKE` ignores case on SQLite, and has wildcards
            return or_(value == "", func.replace(column, value, "") != column)
        case Match.AFTER:
            return column > value
        case Match.UP_TO:
            return column <= value


@cache
def _count(kind: AnyKind, field: str) -> Select[Any]:
    columns = table_of(kind).c
    return select(func.count()).where(columns[field] == bindparam("value"))


@cache
def _page_in(kind: AnyKind, field: str, *, is_later: bool, is_limited: bool) -> Select[Any]:
    columns = table_of(kind).c
    query = _page(kind, None, is_later=is_later, is_limited=is_limited)
    return query.where(columns[field].in_(bindparam("values", expanding=True)))


@cache
def _page(kind: AnyKind, field: str | None, *, is_later: bool, is_limited: bool) -> Select[Any]:
    table: Table = table_of(kind)
    keys = [table.c[name] for name in kind.key]
    query = select(*stored_columns(kind))
    query = query if field in kind.unique else query.order_by(*keys)
    if field is not None:
        query = query.where(table.c[field] == bindparam("value"))
    if is_later:
        query = query.where(tuple_(*keys) > tuple_(*(bindparam(f"key_{n}") for n in kind.key)))
    if is_limited:
        query = query.limit(bindparam("limit"))
    return query
