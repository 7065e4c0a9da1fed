"""The settlement of bills as one statement, in both dialects: for all bills of a moment.

Rows are added to in the order of their keys, so that settlements which wait for each other do so in one
direction. Nobody waits for a reservation: its moment is that of one turn. Its row goes with it, as the
next reservation adds up all that are left.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from chatbot.adapters.storage.sql.counter_statements import (
    POSTGRES_DROP_EXPIRED,
    SQLITE_DROP_EXPIRED,
    utc,
)
from chatbot.adapters.storage.sql.turn_statements import TurnStatement
from chatbot.domain.ports.counters import Addition, Bill

_Row = tuple[str, str, datetime]

SETTLE = TurnStatement(
    name="settle",
    postgres=f"""
        WITH settled AS (
            SELECT * FROM json_to_recordset(CAST(CAST(:settled AS text) AS json)) AS settled (
                kind text, name text, expires_at timestamptz, reserved bigint, used bigint
            )
        ), released AS (
            UPDATE counters SET amount = counters.amount - settled.reserved
            FROM settled
            WHERE counters.amount > settled.reserved AND reserved > 0
                AND counters.kind = settled.kind AND counters.name = settled.name COLLATE "C"
                AND counters.expires_at = settled.expires_at
        ), emptied AS (
            DELETE FROM counters USING settled
            WHERE counters.amount <= settled.reserved AND counters.kind = settled.kind
                AND counters.name = settled.name COLLATE "C"
                AND counters.expires_at = settled.expires_at
        ), added AS (
            INSERT INTO counters (kind, name, expires_at, amount)
            SELECT kind, name, expires_at, used FROM settled WHERE used > 0
            ORDER BY kind, name COLLATE "C", expires_at
            ON CONFLICT (kind, name, expires_at)
                DO UPDATE SET amount = counters.amount + excluded.amount
            RETURNING xmax = 0 AS is_new
        ), {POSTGRES_DROP_EXPIRED}
        SELECT count(*) FROM added
    """,  # noqa: S608 # a constant
    sqlite=(
        "SELECT 1",
        """
        UPDATE counters SET amount = max(counters.amount - (settled.value ->> 'reserved'), 0)
        FROM json_each(:settled) AS settled
        WHERE settled.value ->> 'reserved' > 0 AND counters.kind = settled.value ->> 'kind'
            AND counters.name = settled.value ->> 'name'
            AND counters.expires_at = settled.value ->> 'expires_at'
        """,
        """
        DELETE FROM counters WHERE amount = 0 AND (kind, name, expires_at) IN (
            SELECT value ->> 'kind', value ->> 'name', value ->> 'expires_at'
            FROM json_each(:settled) WHERE value ->> 'reserved' > 0
        )
        """,
        """
        INSERT INTO counters (kind, name, expires_at, amount)
        SELECT value ->> 'kind', value ->> 'name', value ->> 'expires_at', value ->> 'used'
        FROM json_each(:settled) WHERE value ->> 'used' > 0
        ON CONFLICT (kind, name, expires_at)
            DO UPDATE SET amount = counters.amount + excluded.amount
        """,
        SQLITE_DROP_EXPIRED,
    ),
)


def settle_values(bills: Sequence[Bill]) -> dict[str, str]:
    """The values of `SETTLE`."""
    reserved, used = Counter[_Row](), Counter[_Row]()
    for bill in bills:
        reserved.update(_amounts(bill.reserved))
        used.update(_amounts(bill.used))
    rows = [
        {
            "kind": kind,
            "name": name,
            "expires_at": utc(expires_at),
            "reserved": reserved[kind, name, expires_at],
            "used": used[kind, name, expires_at],
        }
        for kind, name, expires_at in sorted({*reserved, *used})
    ]
    return {"settled": json.dumps(rows), "now": utc(max(bill.at for bill in bills))}


def _amounts(additions: Sequence[Addition]) -> Counter[_Row]:
    amounts = Counter[_Row]()
    for each in additions:
        amounts[each.key.kind, each.key.name, each.expires_at] += each.amount
    return amounts
