"""Runs the migrations for Alembic on the given connection and in its transaction."""

from alembic import context

from chatbot.adapters.storage.sql.schema import VERSION_TABLE
from chatbot.adapters.storage.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
