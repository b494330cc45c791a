"""Links to the calendar feed, and the order in which it reads what was closed."""

from alembic import op
from sqlalchemy import inspect

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table of links, and the key of actions by when they changed; repeatable."""
    op.execute("""
        CREATE TABLE IF NOT EXISTS calendar_links (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            workspace_id VARCHAR(40) NOT NULL,
            person VARCHAR(200) NOT NULL,
            secret_sha256 CHAR(64) NOT NULL,
            created_at DATETIME(6) NOT NULL,
            revoked_at DATETIME(6) NULL,
            KEY calendar_links_by_person (workspace_id, person),
            FOREIGN KEY (workspace_id) REFERENCES workspaces (id)
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin""")
    if "actions_by_change" not in {key["name"] for key in inspect(op.get_bind()).get_indexes("pending_actions")}:
        op.execute("ALTER TABLE pending_actions ADD KEY actions_by_change (workspace_id, is_open, updated_at)")
