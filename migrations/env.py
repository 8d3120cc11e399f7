"""Alembic's entry point: it runs the migrations on the connection that `app.db.revision` opened."""

from typing import Any

from alembic import context

from app.db.migrating import note_step
from app.db.schema.tables import metadata


def _note(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:  # noqa: ARG001 - Alembic's signature
    note_step(context.script, ctx.connection, step, set(heads))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
    on_version_apply=_note,
)
context.run_migrations()
