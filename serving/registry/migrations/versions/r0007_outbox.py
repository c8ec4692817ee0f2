"""Events for receivers outside, and how far each of them is with which receiver."""

import sqlalchemy as sql
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the tables."""
    serial = sql.BigInteger().with_variant(sql.Integer(), "sqlite")
    op.create_table(
        "outbox",
        sql.Column("id", serial, autoincrement=True),
        sql.Column("uid", sql.String(64), nullable=False),
        sql.Column("type", sql.String(100), nullable=False),
        sql.Column("subject", sql.String(300), nullable=False),
        sql.Column("at_utc", sql.String(40), nullable=False),
        sql.Column("data", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_outbox"),
        sql.UniqueConstraint("uid", name="uq_outbox_uid"),
    )
    op.create_index("ix_outbox_subject", "outbox", ["subject"])
    op.create_table(
        "event_receivers",
        sql.Column("name", sql.String(100), nullable=False),
        sql.Column("seen_id", sql.BigInteger, nullable=False),
        sql.PrimaryKeyConstraint("name", name="pk_event_receivers"),
    )
    op.create_table(
        "event_deliveries",
        sql.Column("event", serial, nullable=False),
        sql.Column("receiver", sql.String(100), nullable=False),
        sql.Column("subject", sql.String(300), nullable=False),
        sql.Column("state", sql.String(16), nullable=False),
        sql.Column("attempt_count", sql.Integer, nullable=False),
        sql.Column("since_utc", sql.String(40), nullable=False),
        sql.Column("due_utc", sql.String(40), nullable=False),
        sql.Column("ended_utc", sql.String(40), nullable=True),
        sql.Column("told", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("event", "receiver", name="pk_event_deliveries"),
        sql.ForeignKeyConstraint(["event"], ["outbox.id"], name="fk_event_deliveries_event"),
    )
    op.create_index("ix_event_deliveries_state", "event_deliveries", ["state"])
