"""Findings of preflight that somebody allows for a while."""

import sqlalchemy as sql
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "waivers",
        sql.Column(
            "id", sql.BigInteger().with_variant(sql.Integer(), "sqlite"), autoincrement=True
        ),
        sql.Column("code", sql.String(16), nullable=False),
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("number", sql.BigInteger, nullable=True),
        sql.Column("reason", sql.Text, nullable=False),
        sql.Column("granted_by", sql.String(200), nullable=False),
        sql.Column("granted_utc", sql.String(40), nullable=False),
        sql.Column("until_utc", sql.String(40), nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_waivers"),
    )
    op.create_index("ix_waivers_model", "waivers", ["model"])
