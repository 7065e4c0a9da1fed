"""Storage in a SQL database: SQLite or Postgres, one code for both.

Three hops for a write: `storage` (which thread, which transaction), a repository (`sessions`,
`users`, `attempts`), and the database's own ways (`sqlite`, `postgres`).
"""
