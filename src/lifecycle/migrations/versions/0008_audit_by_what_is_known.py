"""Lets the audit log be searched by action, person and domain, however long it is."""

from alembic import op
from sqlalchemy import inspect

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the keys, and the domain of an entry as a column that is computed; repeatable."""
    bind = op.get_bind()
    if "domain" not in {column["name"] for column in inspect(bind).get_columns("audit_log")}:
        # No longer than a domain can be: an entry must never be refused because of what it says.
        op.execute("""
            ALTER TABLE audit_log ADD COLUMN domain VARCHAR(253)
            GENERATED ALWAYS AS (LEFT(JSON_UNQUOTE(JSON_EXTRACT(detail, '$.domain')), 253)) VIRTUAL""")
    keys = {key["name"] for key in inspect(bind).get_indexes("audit_log")}
    for name, column in (
        ("audit_by_action", "action"),
        ("audit_by_person", "actor_person"),
        ("audit_by_domain", "domain"),
    ):
        if name not in keys:
            op.execute(f"ALTER TABLE audit_log ADD KEY {name} (workspace_id, {column}, at, position)")
