"""How many people must approve a version of a model, and who did."""

import sqlalchemy as sql
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the tables."""
    serial = sql.BigInteger().with_variant(sql.Integer(), "sqlite")
    op.create_table(
        "approval_rules",
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("approval_count", sql.Integer, nullable=False),
        sql.PrimaryKeyConstraint("model", name="pk_approval_rules"),
    )
    op.create_table(
        "approvals",
        sql.Column("id", serial, autoincrement=True),
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("number", sql.BigInteger, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
        sql.Column("who", sql.String(200), nullable=False),
        sql.Column("reason", sql.Text, nullable=False),
        sql.Column("at_utc", sql.String(40), nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_approvals"),
    )
    op.create_index("ix_approvals_model", "approvals", ["model"])
