"""The first tables: models, versions, aliases, events and the revision."""

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables; the revision starts at 0."""
    revisions = op.create_table(
        "revision",
        sql.Column("id", sql.Integer, autoincrement=False, nullable=False),
        sql.Column("number", sql.BigInteger, nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.bulk_insert(revisions, [{"id": 1, "number": 0}])
    op.create_table(
        "models",
        sql.Column("name", sql.String(255), nullable=False),
        sql.Column("created_utc", sql.String(40), nullable=False),
        sql.PrimaryKeyConstraint("name", name="pk_models"),
    )
    op.create_table(
        "versions",
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("number", sql.BigInteger, autoincrement=False, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
        sql.Column("content_digest", sql.String(64), nullable=False),
        sql.Column("format", sql.String(32), nullable=False),
        sql.Column("model_file", sql.String(255), nullable=False),
        sql.Column("size_bytes", sql.BigInteger, nullable=False),
        sql.Column("config", sql.Text, nullable=False),
        sql.Column("wanted", sql.Boolean, nullable=False),
        sql.Column("created_utc", sql.String(40), nullable=False),
        sql.PrimaryKeyConstraint("model", "number", name="pk_versions"),
        sql.ForeignKeyConstraint(["model"], ["models.name"], name="fk_versions_model"),
    )
    op.create_table(
        "aliases",
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("alias", sql.String(64), nullable=False),
        sql.Column("number", sql.BigInteger, nullable=False),
        sql.PrimaryKeyConstraint("model", "alias", name="pk_aliases"),
    )
    op.create_table(
        "events",
        sql.Column(
            "id", sql.BigInteger().with_variant(sql.Integer(), "sqlite"), autoincrement=True
        ),
        sql.Column("at_utc", sql.String(40), nullable=False),
        sql.Column("who", sql.String(200), nullable=False),
        sql.Column("action", sql.String(32), nullable=False),
        sql.Column("model", sql.String(255), nullable=False),
        sql.Column("number", sql.BigInteger, nullable=True),
        sql.Column("detail", sql.Text, nullable=False),
        sql.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_model", "events", ["model"])
