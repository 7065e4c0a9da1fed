"""Session leases: a turn id in the session's row, until a time by the database's clock.

While a turn runs, its replica renews the lease. When a replica dies, its leases expire, and the
next turn acquires the session; from then on the old turn writes nothing, because every write checks
its turn. Until then a late write is accepted: no one has written in between.
"""

from collections.abc import Iterable

from sqlalchemy import and_, bindparam, or_, update

from chatbot.adapters.storage.sql.rows import owner_key
from chatbot.adapters.storage.sql.sql_session import SqlSession
from chatbot.adapters.storage.sql.tables import sessions, unix_now
from chatbot.domain.chat import Lease

LEASE_S = 20.0
RENEW_S = 5.0
"""Allows three failed renewals in a row: a database restart costs no one the session."""

NO_LEASE_S = 3 * LEASE_S
"""None lasts as long."""

IS_IT = and_(sessions.c.owner == bindparam("o"), sessions.c.id == bindparam("s"))
IS_HELD = and_(IS_IT, sessions.c.lease_turn == bindparam("turn"))
_IS_FREE = or_(
    sessions.c.lease_until.is_(None),
    sessions.c.lease_until <= unix_now(),
    sessions.c.lease_until > unix_now() + NO_LEASE_S,  # the clock was set back
)
_ACQUIRE = (
    update(sessions)
    .where(IS_IT, _IS_FREE)
    .values(
        lease_turn=bindparam("turn"),
        lease_replica=bindparam("replica"),
        lease_until=unix_now() + bindparam("seconds"),
    )
)
_RENEW = update(sessions).where(IS_HELD).values(lease_until=unix_now() + bindparam("seconds"))
_RELEASE = (
    update(sessions).where(IS_HELD).values(lease_turn=None, lease_replica=None, lease_until=None)
)


def acquire(sql: SqlSession, lease: Lease, *, replica: str, seconds: float) -> bool:
    """Acquire the session if it exists and is free. `replica` is for people who inspect the row."""
    values = {**held(lease), "replica": replica, "seconds": seconds}
    return bool(sql.write(_ACQUIRE, values).rowcount)


def release(sql: SqlSession, lease: Lease) -> None:
    sql.write(_RELEASE, held(lease))


def renew(sql: SqlSession, leases: Iterable[Lease], *, seconds: float) -> None:
    """Renew the leases that no other turn has acquired."""
    for lease in leases:
        sql.write(_RENEW, {**held(lease), "seconds": seconds})


def held(lease: Lease) -> dict[str, object]:
    """The values of `IS_HELD`."""
    return {"o": owner_key(lease.owner), "s": lease.session_id, "turn": lease.turn_id}
