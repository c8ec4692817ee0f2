"""Rollouts and their transitions."""

import sqlalchemy as sql
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the tables."""
    serial = sql.BigInteger().with_variant(sql.Integer(), "sqlite")
    op.create_table(
        "rollouts",
        sql.Column("id", serial, autoincrement=True),
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("from_number", sql.BigInteger, nullable=True),
        sql.Column("to_number", sql.BigInteger, nullable=False),
        sql.Column("plan", sql.Text, nullable=False),
        sql.Column("state", sql.String(16), nullable=False),
        sql.Column("step", sql.Integer, nullable=False),
        sql.Column("since_utc", sql.String(40), nullable=False),
        sql.Column("is_paused", sql.Boolean, nullable=False),
        sql.Column("note", sql.Text, nullable=False),
        sql.Column("who", sql.String(200), nullable=False),
        sql.Column("reason", sql.Text, nullable=False),
        sql.Column("created_utc", sql.String(40), nullable=False),
        sql.Column("ended_utc", sql.String(40), nullable=True),
        sql.Column("change_count", sql.Integer, nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_rollouts"),
    )
    op.create_index("ix_rollouts_model", "rollouts", ["model"])
    op.create_index("ix_rollouts_ended_utc", "rollouts", ["ended_utc"])
    op.create_table(
        "rollout_transitions",
        sql.Column("rollout", serial, nullable=False),
        sql.Column("number", sql.Integer, autoincrement=False, nullable=False),
        sql.Column("at_utc", sql.String(40), nullable=False),
        sql.Column("state", sql.String(16), nullable=False),
        sql.Column("step", sql.Integer, nullable=False),
        sql.Column("who", sql.String(200), nullable=False),
        sql.Column("reason", sql.Text, nullable=False),
        sql.Column("evidence", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("rollout", "number", name="pk_rollout_transitions"),
        sql.ForeignKeyConstraint(
            ["rollout"], ["rollouts.id"], name="fk_rollout_transitions_rollout"
        ),
    )
