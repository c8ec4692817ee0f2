"""The catalog knows whether the registry has rules, so that a lost file is no permission."""

import sqlalchemy as sql
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the table; rules that are there are noted when they are read next."""
    op.create_table(
        "trust_rules",
        sql.Column("id", sql.Integer, autoincrement=False, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
        sql.Column("rules", sql.Text, nullable=False),
        sql.Column("at_utc", sql.String(40), nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_trust_rules"),
    )
