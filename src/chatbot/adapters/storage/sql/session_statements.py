"""The statements on sessions, messages and memory. Every WHERE clause contains the owner.

Made once: SQLAlchemy then finds each compiled form in its cache at the first look.
"""

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select, tuple_, update

from chatbot.adapters.storage.sql.rows import owner_key
from chatbot.adapters.storage.sql.tables import memories, messages, sessions, unix_now
from chatbot.domain.chat import Lease, SessionId
from chatbot.domain.identity import Owner

LEASE_S = 20.0
RENEW_S = 5.0
"""Allows three failed renewals in a row: a database restart costs no one the session."""
NO_LEASE_S = 3 * LEASE_S
"""None lasts as long."""

IS_IT = and_(sessions.c.owner == bindparam("o"), sessions.c.id == bindparam("s"))
IS_HELD = and_(IS_IT, sessions.c.lease_turn == bindparam("turn"))
IS_OF_IT = and_(messages.c.owner == bindparam("o"), messages.c.session_id == bindparam("s"))
IS_ITS_MEMORY = and_(memories.c.owner == bindparam("o"), memories.c.session_id == bindparam("s"))

SESSION = select(*(each for each in sessions.c if not each.name.startswith("lease_")))
GET = SESSION.where(IS_IT)
EXISTS = select(sessions.c.id).where(IS_IT)
COUNT = select(func.count()).where(sessions.c.owner == bindparam("o"))
PAGE = (
    SESSION.where(sessions.c.owner == bindparam("o"))
    .order_by(sessions.c.updated_at.desc(), sessions.c.id)
    .limit(bindparam("n"))
)
IS_LATER = (
    sessions.c.updated_at <= bindparam("at"),
    or_(sessions.c.updated_at < bindparam("at"), sessions.c.id > bindparam("mark")),
)
NEXT_PAGE = PAGE.where(*IS_LATER)
TITLES = (
    select(sessions.c.id, sessions.c.title)
    .where(sessions.c.owner == bindparam("o"), sessions.c.title.is_not(None))
    .order_by(sessions.c.updated_at.desc(), sessions.c.id)
)
NEXT_TITLES = TITLES.where(*IS_LATER)
BETWEEN = (
    select(messages)
    .where(IS_OF_IT, messages.c.seq > bindparam("after"), messages.c.seq < bindparam("before"))
    .limit(bindparam("n"))
)
NEWEST = BETWEEN.order_by(messages.c.seq.desc())
OLDEST = BETWEEN.order_by(messages.c.seq)
OF_SEVERAL = select(messages).where(
    messages.c.owner == bindparam("o"),
    tuple_(messages.c.session_id, messages.c.seq).in_(bindparam("keys", expanding=True)),
)
MEMORY = select(memories.c.content).select_from(sessions).outerjoin(memories).where(IS_IT)
APPEND = (
    update(sessions)
    .where(IS_HELD)
    .values(
        last_seq=sessions.c.last_seq + 1,
        message_count=sessions.c.message_count + 1,
        updated_at=bindparam("ts"),
        title=func.coalesce(sessions.c.title, bindparam("title_now")),
    )
    .returning(sessions.c.last_seq)
)
ADD_SESSION, ADD_MESSAGE = insert(sessions), insert(messages)
IS_FREE = or_(
    sessions.c.lease_until.is_(None),
    sessions.c.lease_until <= unix_now(),
    sessions.c.lease_until > unix_now() + NO_LEASE_S,  # the clock was set back
)
ACQUIRE = (
    update(sessions)
    .where(IS_IT, IS_FREE)
    .values(
        lease_turn=bindparam("turn"),
        lease_replica=bindparam("replica"),
        lease_until=unix_now() + bindparam("seconds"),
    )
)
RENEW = update(sessions).where(IS_HELD).values(lease_until=unix_now() + bindparam("seconds"))
RELEASE = (
    update(sessions).where(IS_HELD).values(lease_turn=None, lease_replica=None, lease_until=None)
)
LAST = 2**62

DELETE_OLD = delete(messages).where(IS_OF_IT, messages.c.seq <= bindparam("upto"))

_FIRST_OWNER = select(func.min(sessions.c.owner).label("owner")).cte("owners", recursive=True)
_OWNERS = _FIRST_OWNER.union_all(
    select(
        select(func.min(sessions.c.owner))
        .where(sessions.c.owner > _FIRST_OWNER.c.owner)
        .correlate(_FIRST_OWNER)
        .scalar_subquery()
    ).where(_FIRST_OWNER.c.owner.is_not(None))
)
"""Each owner, found by the primary key one after the other: there are fewer than sessions."""
OWNERS = select(_OWNERS.c.owner).where(_OWNERS.c.owner.is_not(None))
OWNERS_OF = select(sessions.c.owner).join(
    _OWNERS, and_(sessions.c.owner == _OWNERS.c.owner, sessions.c.id == bindparam("s"))
)


def key_values(owner: Owner, session_id: SessionId) -> dict[str, object]:
    return {"o": owner_key(owner), "s": session_id}


def held_values(lease: Lease) -> dict[str, object]:
    """The values of `IS_HELD`."""
    return {**key_values(lease.owner, lease.session_id), "turn": lease.turn_id}
