"""Lets the audit log be read in order of time; entries may be written in another order than things happened."""

from alembic import op
from sqlalchemy import inspect

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Exchange the keys, in one statement; looking first makes it repeatable on MySQL, which has no IF EXISTS here."""
    keys = {key["name"] for key in inspect(op.get_bind()).get_indexes("audit_log")}
    if "audit_by_time" not in keys:
        op.execute("""
            ALTER TABLE audit_log
                DROP KEY audit_by_workspace,
                DROP KEY audit_by_project,
                ADD KEY audit_by_time (workspace_id, at, position),
                ADD KEY audit_of_project_by_time (project_id, at, position)""")
