"""Storage in a SQL database: SQLite or Postgres, one code for both.

Three hops for a write: `storage` (which thread, which transaction), a repository (`sessions`,
`users`, `counters`), and the database's own ways (`sqlite`, `postgres`). What every turn does is shorter:
sqlite3 itself runs what is `compiled`, and Postgres gets one statement for each step (`postgres_turns`).
"""
