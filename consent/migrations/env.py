"""Run by Alembic: applies the migrations on the connection that consent.migrations.migrate() opened, inside its transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
