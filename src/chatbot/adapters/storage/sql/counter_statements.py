"""Limited additions to counters as one statement, in both dialects.

The rows of `additions` are numbered; `asked` is what the call adds to the counter in all, and `amount`
what it adds to the counter's row, in the first of the additions that share one.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from chatbot.adapters.storage.sql.turn_statements import TurnStatement
from chatbot.domain.ports.counters import Addition, CounterKey

DROPPED_AT_ONCE = 10
"""More than an addition creates, and few enough for an index look-up."""

POSTGRES_DROP_EXPIRED = f"""expired AS (
            SELECT kind, name, expires_at FROM counters
            WHERE expires_at <= CAST(CAST(:now AS text) AS timestamptz)
            ORDER BY expires_at LIMIT {DROPPED_AT_ONCE} FOR UPDATE SKIP LOCKED
        ), dropped AS (
            DELETE FROM counters USING expired
            WHERE counters.kind = expired.kind AND counters.name = expired.name
                AND counters.expires_at = expired.expires_at
                AND EXISTS (SELECT FROM added WHERE is_new)
        )"""  # noqa: S608 # a constant
"""What goes where `added` makes a row, so that two that drop never wait for each other."""
SQLITE_DROP_EXPIRED = f"""
        DELETE FROM counters WHERE (kind, name, expires_at) IN (
            SELECT kind, name, expires_at FROM counters WHERE expires_at <= :now
            ORDER BY expires_at LIMIT {DROPPED_AT_ONCE}
        )
"""  # noqa: S608 # a constant

LOCK_COUNTERS = TurnStatement(
    name="lock_counters",
    # Two statements: a statement does not see what was written while it waited for a lock. What is
    # counted for minutes does not have to survive a power failure, so nobody waits for the disk.
    postgres="""
        SELECT set_config('synchronous_commit', 'off', true), count(pg_advisory_xact_lock(number))
        FROM unnest(CAST(CAST(:numbers AS text) AS bigint[])) AS number
    """,
    sqlite=(),
)
ADD_COUNTERS = TurnStatement(
    name="add_counters",
    postgres=f"""
        WITH additions AS (
            SELECT * FROM json_to_recordset(CAST(CAST(:additions AS text) AS json)) AS addition (
                number integer, kind text, name text, expires_at timestamptz, amount bigint,
                asked bigint, most bigint
            )
        ), exceeding AS (
            SELECT number FROM additions WHERE most < asked + (
                SELECT coalesce(sum(counters.amount), 0) FROM counters
                WHERE counters.kind = additions.kind AND counters.name = additions.name COLLATE "C"
                    AND counters.expires_at > CAST(CAST(:now AS text) AS timestamptz)
            )
        ), added AS (
            INSERT INTO counters (kind, name, expires_at, amount)
            SELECT kind, name, expires_at, amount FROM additions
            WHERE amount > 0 AND NOT EXISTS (SELECT FROM exceeding)
            ON CONFLICT (kind, name, expires_at)
                DO UPDATE SET amount = counters.amount + excluded.amount
            RETURNING xmax = 0 AS is_new
        ), {POSTGRES_DROP_EXPIRED}
        SELECT CAST(coalesce(json_agg(number), '[]') AS text) FROM exceeding
    """,  # noqa: S608 # a constant
    sqlite=(
        *(
            f"""
        WITH additions AS MATERIALIZED (
            SELECT value ->> 'number' AS number, value ->> 'kind' AS kind, value ->> 'name' AS name,
                value ->> 'expires_at' AS expires_at, value ->> 'amount' AS amount,
                value ->> 'asked' AS asked, value ->> 'most' AS most
            FROM json_each(:additions)
        ), exceeding AS MATERIALIZED (
            SELECT number FROM additions WHERE most < asked + (
                SELECT coalesce(sum(counters.amount), 0) FROM counters
                WHERE counters.kind = additions.kind AND counters.name = additions.name
                    AND counters.expires_at > :now
            )
        )
        {then}
        """  # noqa: S608 # constants
            for then in (
                "SELECT json_group_array(number) FROM exceeding",
                """
            INSERT INTO counters (kind, name, expires_at, amount)
            SELECT kind, name, expires_at, amount FROM additions
            WHERE amount > 0 AND NOT EXISTS (SELECT 1 FROM exceeding)
            ON CONFLICT (kind, name, expires_at)
                DO UPDATE SET amount = counters.amount + excluded.amount
            """,
            )
        ),
        SQLITE_DROP_EXPIRED,
    ),
    is_volatile=True,
)


def addition_values(additions: Sequence[Addition], now: datetime) -> dict[str, str]:
    """The values of `ADD_COUNTERS`."""
    asked, amounts = Counter[CounterKey](), Counter[tuple[CounterKey, datetime]]()
    for each in additions:
        asked[each.key] += each.amount
        amounts[each.key, each.expires_at] += each.amount
    rows = [
        {
            "number": number,
            "kind": each.key.kind,
            "name": each.key.name,
            "expires_at": utc(each.expires_at),
            "amount": amounts.pop((each.key, each.expires_at), 0),
            "asked": asked[each.key],
            "most": each.limit,
        }
        for number, each in enumerate(additions)
    ]
    return {"additions": json.dumps(rows), "now": utc(now)}


def lock_name(key: CounterKey) -> str:
    """The names that a transaction locks to decide about a counter."""
    return f"counters {key.kind} {key.name}"


def exceeding_of(additions: Sequence[Addition], found: str) -> list[Addition]:
    """Read the row of `ADD_COUNTERS`."""
    return [additions[number] for number in json.loads(found)]


def utc(moment: datetime) -> str:
    """As SQLAlchemy stores it in SQLite."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
