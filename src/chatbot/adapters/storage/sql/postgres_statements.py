"""The three steps of a turn on Postgres, each as one statement: see `postgres_turns`."""

STATEMENTS = {
    b"find_caller": """
        SELECT users.id, users.email, users.record,
            (SELECT json_object_agg(roles.name, roles.record) FROM roles)
        FROM (SELECT $1::text AS id) AS caller LEFT JOIN users USING (id)
    """,
    # The lock finds the newest row, everything else is as of the statement's begin. Where a turn or
    # a reset came in between, `seen` differs from it: nothing is written, as if it were locked.
    b"store_question": """
        WITH clock AS (
            SELECT extract(epoch FROM clock_timestamp())::float8 AS now
        ), seen AS (
            SELECT last_seq, epoch FROM sessions WHERE owner = $1::text AND id = $2::text
        ), newest AS (
            SELECT role FROM messages WHERE owner = $1 AND session_id = $2
            ORDER BY seq DESC LIMIT 1
        ), free AS (
            SELECT last_seq, epoch, now FROM sessions, clock WHERE owner = $1 AND id = $2
                AND (lease_until IS NULL OR lease_until <= now OR lease_until > now + $11::float8)
            FOR NO KEY UPDATE OF sessions SKIP LOCKED
        ), taken AS (
            UPDATE sessions SET lease_turn = $3, lease_replica = $4,
                lease_until = now + $5::float8, last_seq = sessions.last_seq + 1,
                message_count = message_count + 1, updated_at = $6::timestamptz,
                title = coalesce(title, $7)
            FROM free JOIN seen USING (last_seq, epoch)
            WHERE owner = $1 AND id = $2 AND NOT EXISTS (SELECT FROM newest WHERE role = 'user')
            RETURNING sessions.last_seq
        ), asked AS (
            INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id)
            SELECT $1, $2, last_seq, 'user', $8::text, $6::timestamptz, $3 FROM taken
        ), memory AS (
            SELECT content, (content->>'summarized_to')::bigint AS summarized_to
            FROM memories WHERE owner = $1 AND session_id = $2
        )
        SELECT taken.last_seq, memory.content, history.seq, history.role, history.content,
            history.ts, history.turn_id, history.reason
        FROM taken LEFT JOIN memory ON true LEFT JOIN LATERAL (
            SELECT seq, role, content, ts, turn_id, reason FROM messages
            WHERE owner = $1 AND session_id = $2
                AND seq > coalesce(summarized_to - summarized_to % $9::bigint, 0)
            ORDER BY seq DESC LIMIT $10::bigint
        ) AS history ON true
    """,
    b"store_answer": """
        WITH held AS (
            SELECT FROM sessions WHERE owner = $1::text AND id = $2::text AND lease_turn = $3::text
            FOR NO KEY UPDATE SKIP LOCKED
        ), released AS (
            UPDATE sessions SET last_seq = last_seq + 1, message_count = message_count + 1,
                updated_at = $5::timestamptz, lease_turn = NULL, lease_replica = NULL,
                lease_until = NULL
            FROM held WHERE owner = $1 AND id = $2
            RETURNING last_seq
        )
        INSERT INTO messages (owner, session_id, seq, role, content, ts, turn_id, reason)
        SELECT $1, $2, last_seq, 'assistant', $4::text, $5::timestamptz, $3, $6::text FROM released
        RETURNING seq
    """,
}
