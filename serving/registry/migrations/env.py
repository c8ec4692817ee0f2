"""Run by Alembic: migrate over the connection that `serving.registry.schema` hands in."""

from alembic import context

from serving.registry.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # a migration happens as a whole, or not at all
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
