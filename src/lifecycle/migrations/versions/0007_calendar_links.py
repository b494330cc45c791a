"""Links to the calendar feed."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table of links."""
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
