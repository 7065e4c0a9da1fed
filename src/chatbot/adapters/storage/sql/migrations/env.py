"""How Alembic runs the migrations: on the connection, and in the transaction, that it is given."""

from alembic import context

from chatbot.adapters.storage.sql.schema import VERSION_TABLE
from chatbot.adapters.storage.sql.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
