"""The audit log is a chain that only grows; versions keep their manifest and who pushed them."""

import hashlib
import json

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"

TRIGGERS = {
    "sqlite": (
        (
            "CREATE TRIGGER events_never_change BEFORE UPDATE ON events "
            "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END"
        ),
        (
            "CREATE TRIGGER events_never_go BEFORE DELETE ON events "
            "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'events are only ever added'; END $$"
        ),
        (
            "CREATE TRIGGER events_never_change BEFORE UPDATE OR DELETE ON events "
            "FOR EACH ROW EXECUTE FUNCTION refuse_event_change()"
        ),
        (
            "CREATE TRIGGER events_never_go BEFORE TRUNCATE ON events "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change()"
        ),
    ),
}
PUSHED_BY = """
UPDATE versions SET pushed_by = COALESCE(
    (SELECT MIN(who) FROM events WHERE events.model = versions.model
     AND events.number = versions.number AND events.action = 'push'), '')
"""
ARCHIVED_UTC = """
UPDATE versions SET archived_utc = COALESCE(
    (SELECT MAX(at_utc) FROM events WHERE events.model = versions.model
     AND (events.number = versions.number OR events.number IS NULL)
     AND events.action = 'unwant'), created_utc)
WHERE NOT wanted
"""


def upgrade() -> None:
    """Add the columns, chain the events that are there, and close the log to changes."""
    added = (
        ("revision", "audit_head", sql.String(64)),
        ("events", "reason", sql.Text),
        ("events", "prev_hash", sql.String(64)),
        ("events", "hash", sql.String(64)),
        ("versions", "manifest", sql.Text),
        ("versions", "pushed_by", sql.String(200)),
    )
    for table, name, kind in added:
        op.add_column(table, sql.Column(name, kind, nullable=False, server_default=""))
    for name in ("archived_utc", "collected_utc"):
        op.add_column("versions", sql.Column(name, sql.String(40), nullable=True))
    op.execute(PUSHED_BY)
    op.execute(ARCHIVED_UTC)
    _chain(op.get_bind())
    for statement in TRIGGERS.get(op.get_bind().dialect.name, ()):
        op.execute(statement)


def _chain(connection: sql.Connection) -> None:
    head = ""
    rows = connection.execute(sql.text("SELECT * FROM events ORDER BY id")).mappings().all()
    for row in rows:
        values = {**row, "prev_hash": head}
        del values["hash"]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        before, head = head, hashlib.sha256(text.encode()).hexdigest()
        connection.execute(
            sql.text("UPDATE events SET prev_hash = :before, hash = :hash WHERE id = :id"),
            {"before": before, "hash": head, "id": row["id"]},
        )
    connection.execute(sql.text("UPDATE revision SET audit_head = :head"), {"head": head})
