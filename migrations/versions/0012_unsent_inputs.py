"""Adds a table for the inputs of queued requests that hold files by value; generations keep them abridged.

Not rolling: a server of the version before would send an abridged input to RunComfy. Stop all of them first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "unsent_inputs",
        sa.Column("generation_id", sa.String(36), nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("generation_id", name="pk_unsent_inputs"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_unsent_inputs_generation_id"),
    )


def downgrade() -> None:
    op.execute(
        "UPDATE generations SET input ="
        " (SELECT input FROM unsent_inputs WHERE unsent_inputs.generation_id = generations.id)"
        " WHERE id IN (SELECT generation_id FROM unsent_inputs)"
    )
    op.drop_table("unsent_inputs")
