"""Lets the audit log be searched by action, person and domain, host names by age, by name and by what they show.

And lets tombstones be listed by age, and open actions be counted without a look at each.
"""

from collections.abc import Mapping

from alembic import op
from sqlalchemy import inspect

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the keys, and the domain of an entry as a column that is computed; repeatable.

    A project has as many host names as it had deployments, of which its pages show the newest, and all in the order of
    the alphabet.
    """
    bind = op.get_bind()
    if "domain" not in {column["name"] for column in inspect(bind).get_columns("audit_log")}:
        # No longer than a domain can be: an entry must never be refused because of what it says.
        op.execute("""
            ALTER TABLE audit_log ADD COLUMN domain VARCHAR(253)
            GENERATED ALWAYS AS (LEFT(JSON_UNQUOTE(JSON_EXTRACT(detail, '$.domain')), 253)) VIRTUAL""")
    _add_keys(
        "audit_log",
        {
            "audit_by_action": "workspace_id, action, at, position",
            "audit_by_person": "workspace_id, actor_person, at, position",
            "audit_by_domain": "workspace_id, domain, at, position",
        },
    )
    _add_keys(
        "routes",
        {
            "routes_by_age": "project_id, kind, created_at",
            "routes_by_deployment": "project_id, deployment_id, hostname",
            "routes_by_name": "project_id, hostname",
        },
    )
    _add_keys("tombstones", {"tombstones_by_age": "workspace_id, deleted_at, project_id"})
    _add_keys("pending_actions", {"actions_by_kind": "is_open, kind, state"})


def _add_keys(table: str, wanted: Mapping[str, str]) -> None:
    """Add the keys that are missing in one statement, which reads a long table once."""
    there = {key["name"] for key in inspect(op.get_bind()).get_indexes(table)}
    missing = [f"ADD KEY {name} ({columns})" for name, columns in wanted.items() if name not in there]
    if missing:
        op.execute(f"ALTER TABLE {table} {', '.join(missing)}")
