"""Storage in a SQL database: SQLite or Postgres, one code for both.

A write takes three hops: `storage` (which transaction), a repository (`sessions`, `records`,
`counters`), and the database (`sqlite`, `postgres`). The three steps of a turn are shorter: one
statement each (`turn_statements`), which SQLite executes in its writer's thread and Postgres in a
pipeline.
"""
