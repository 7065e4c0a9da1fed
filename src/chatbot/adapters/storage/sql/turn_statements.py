"""The three steps of a turn, each as one statement that returns one row, in both dialects.

A statement does what the repositories' methods do in the usual case. It returns no row, and changes
nothing, where the repositories are needed: the session is held, locked or unknown, or a crash left
a question without an answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatbot.adapters.storage.sql.tables import SQLITE_NOW

TurnValues = Mapping[str, str | int | float | bytes | None]
TurnRow = Sequence[Any]


@dataclass(frozen=True, slots=True)
class TurnStatement:
    """A statement whose values have names. SQLite needs a second one to write another table.

    What a volatile one writes survives the end of the process, but not always a power failure.
    """

    name: str
    postgres: str
    sqlite: tuple[str, ...]
    is_read: bool = False
    is_volatile: bool = False

    def numbered(self) -> tuple[str, tuple[str, ...]]:
        """Returns the text for Postgres with numbered values, and their names in that order."""
        names: list[str] = []

        def number(found: re.Match[str]) -> str:
            if found[1] not in names:
                names.append(found[1])
            return f"${names.index(found[1]) + 1}"

        return re.sub(r"(?<!:):(\w+)", number, self.postgres), tuple(names)


FIND_CALLER = TurnStatement(
    name="find_caller",
    postgres="""
        SELECT id, email, record, (SELECT json_object_agg(name, record) FROM roles), EXISTS (
            SELECT FROM refresh_families AS family WHERE family.id = :family_id::text
            AND family.user_id = :user_id::text AND family.record->>'ended_at' IS NULL
        )
        FROM (SELECT :user_id::text AS id) AS caller LEFT JOIN users USING (id)
    """,
    sqlite=(
        """
        SELECT id, email, record, (SELECT json_group_object(name, json(record)) FROM roles), EXISTS (
            SELECT 1 FROM refresh_families AS family WHERE family.id = :family_id
            AND family.user_id = :user_id AND family.record ->> 'ended_at' IS NULL
        )
        FROM (SELECT :user_id AS id) AS caller LEFT JOIN users USING (id)
        """,
    ),
    is_read=True,
)
_INDEX_LAST = """
    INSERT INTO index_tail (scope, parent, seq, record)
    SELECT :scope, id, last_seq, :record FROM sessions
    WHERE owner = :owner AND id = :session_id AND :record IS NOT NULL
    ON CONFLICT (scope, parent, seq) DO UPDATE SET record = excluded.record
"""
STORE_QUESTION = TurnStatement(
    name="store_question",
    # The lock finds the newest row, everything else is as of the statement's begin. Where a turn or
    # a reset came in between, `seen` differs from it: nothing is written, as if it were locked.
    postgres="""
        WITH clock AS (
            SELECT extract(epoch FROM clock_timestamp())::float8 AS now
        ), seen AS (
            SELECT last_seq, epoch FROM sessions WHERE owner = :owner::text AND id = :session_id::text
        ), newest AS (
            SELECT role FROM messages WHERE owner = :owner AND session_id = :session_id
            ORDER BY seq DESC LIMIT 1
        ), free AS (
            SELECT last_seq, epoch, now FROM sessions, clock
            WHERE owner = :owner AND id = :session_id AND (
                lease_until IS NULL OR lease_until <= now OR lease_until > now + :no_lease_s::float8
            )
            FOR NO KEY UPDATE OF sessions SKIP LOCKED
        ), acquired AS (
            UPDATE sessions SET lease_turn = :turn_id, lease_replica = :replica,
                lease_until = now + :lease_s::float8, last_seq = sessions.last_seq + 1,
                message_count = message_count + 1, updated_at = :ts::text::timestamptz,
                title = coalesce(title, :title)
            FROM free JOIN seen USING (last_seq, epoch)
            WHERE owner = :owner AND id = :session_id
                AND NOT EXISTS (SELECT FROM newest WHERE role = 'user')
            RETURNING sessions.last_seq, message_count, sessions.epoch, title, created_at, rest
        ), asked AS (
            INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id)
            SELECT :owner, :session_id, last_seq, 'user', :text::text, :ts::text::timestamptz, :turn_id
            FROM acquired
        ), indexed AS (
            INSERT INTO index_tail (scope, parent, seq, record)
            SELECT :scope::text, :session_id, last_seq, :record::bytea FROM acquired
            WHERE :record IS NOT NULL
            ON CONFLICT (scope, parent, seq) DO UPDATE SET record = excluded.record
        ), memory AS (
            SELECT content, (content->>'summarized_to')::bigint AS summarized_to
            FROM memories WHERE owner = :owner AND session_id = :session_id
        )
        SELECT last_seq, message_count, epoch, title, created_at, rest, memory.content, (
            SELECT json_agg(json_build_array(seq, role, content, ts, turn_id, reason)) FROM (
                SELECT seq, role, content, ts, turn_id, reason FROM messages
                WHERE owner = :owner AND session_id = :session_id
                    AND seq > coalesce(summarized_to - summarized_to % :step::bigint, 0)
                ORDER BY seq DESC LIMIT :limit::bigint
            ) AS history
        )
        FROM acquired LEFT JOIN memory ON true
    """,
    sqlite=(
        f"""
        UPDATE sessions SET lease_turn = :turn_id, lease_replica = :replica,
            lease_until = {SQLITE_NOW} + :lease_s, last_seq = last_seq + 1,
            message_count = message_count + 1, updated_at = :ts, title = coalesce(title, :title)
        WHERE owner = :owner AND id = :session_id AND (
            lease_until IS NULL OR lease_until <= {SQLITE_NOW} OR lease_until > {SQLITE_NOW} + :no_lease_s
        ) AND 'user' IS NOT (
            SELECT role FROM messages WHERE owner = :owner AND session_id = :session_id
            ORDER BY seq DESC LIMIT 1
        )
        RETURNING last_seq, message_count, epoch, title, created_at, rest, (
            SELECT content FROM memories WHERE owner = :owner AND session_id = :session_id
        ), (
            SELECT json_group_array(json_array(seq, role, content, ts, turn_id, reason)) FROM (
                SELECT seq, role, content, ts, turn_id, reason FROM messages
                WHERE owner = :owner AND session_id = :session_id AND seq > coalesce((
                    SELECT summarized_to - summarized_to % :step FROM (
                        SELECT iif(json_valid(content), content ->> 'summarized_to', 0) AS summarized_to
                        FROM memories WHERE owner = :owner AND session_id = :session_id
                    )
                ), 0)
                ORDER BY seq DESC LIMIT :limit
            )
        )
        """,  # noqa: S608 # a constant
        """
        INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id)
        SELECT owner, id, last_seq, 'user', :text, :ts, :turn_id
        FROM sessions WHERE owner = :owner AND id = :session_id
        """,
        _INDEX_LAST,
    ),
)
STORE_ANSWER = TurnStatement(
    name="store_answer",
    postgres="""
        WITH held AS (
            SELECT FROM sessions
            WHERE owner = :owner::text AND id = :session_id::text AND lease_turn = :turn_id::text
            FOR NO KEY UPDATE SKIP LOCKED
        ), released AS (
            UPDATE sessions SET last_seq = last_seq + 1, message_count = message_count + 1,
                updated_at = :ts::text::timestamptz, lease_turn = NULL, lease_replica = NULL,
                lease_until = NULL
            FROM held WHERE owner = :owner AND id = :session_id
            RETURNING last_seq
        ), indexed AS (
            INSERT INTO index_tail (scope, parent, seq, record)
            SELECT :scope::text, :session_id, last_seq, :record::bytea FROM released
            WHERE :record IS NOT NULL
            ON CONFLICT (scope, parent, seq) DO UPDATE SET record = excluded.record
        )
        INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id, reason, details)
        SELECT :owner, :session_id, last_seq, 'assistant', :text::text, :ts::text::timestamptz, :turn_id,
            :reason::text, :details::text::json
        FROM released
        RETURNING seq
    """,
    sqlite=(
        """
        INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id, reason, details)
        SELECT owner, id, last_seq + 1, 'assistant', :text, :ts, :turn_id, :reason, :details
        FROM sessions WHERE owner = :owner AND id = :session_id AND lease_turn = :turn_id
        """,
        """
        UPDATE sessions SET last_seq = last_seq + 1, message_count = message_count + 1,
            updated_at = :ts, lease_turn = NULL, lease_replica = NULL, lease_until = NULL
        WHERE owner = :owner AND id = :session_id
        """,
        _INDEX_LAST,
    ),
)
STORE_MEMORY = TurnStatement(
    name="store_memory",
    postgres="""
        WITH read AS (
            SELECT FROM sessions
            WHERE owner = :owner::text AND id = :session_id::text AND epoch = :epoch::integer
            FOR NO KEY UPDATE SKIP LOCKED
        )
        INSERT INTO memories (owner, session_id, version, content)
        SELECT :owner, :session_id, :version::integer + 1, :content::text::json FROM read
        WHERE :version = 0 OR EXISTS (
            SELECT FROM memories WHERE owner = :owner AND session_id = :session_id
        )
        ON CONFLICT (owner, session_id) DO UPDATE
            SET version = excluded.version, content = excluded.content
            WHERE memories.version = :version
        RETURNING version
    """,
    sqlite=(
        """
        INSERT INTO memories (owner, session_id, version, content)
        SELECT owner, id, :version + 1, :content FROM sessions
        WHERE owner = :owner AND id = :session_id AND epoch = :epoch AND :version = coalesce((
            SELECT version FROM memories WHERE owner = :owner AND session_id = :session_id
        ), 0)
        ON CONFLICT (owner, session_id) DO UPDATE
            SET version = excluded.version, content = excluded.content
        RETURNING version
        """,
    ),
)
TURN_STATEMENTS = (FIND_CALLER, STORE_QUESTION, STORE_ANSWER, STORE_MEMORY)
