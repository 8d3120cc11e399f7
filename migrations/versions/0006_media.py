"""Files of the input: what was seen of them, and how strictly a tenant's are judged. Web origins of tenants.

Rolling: servers of the version before go on beside it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tenants", sa.Column("media_checks", sa.String(7)))
    op.add_column("tenants", sa.Column("origins", sa.Text))
    op.add_column("generations", sa.Column("media", sa.Text))


def downgrade() -> None:
    op.drop_column("generations", "media")
    op.drop_column("tenants", "origins")
    op.drop_column("tenants", "media_checks")
