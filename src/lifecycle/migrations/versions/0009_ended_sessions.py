"""Remembers which sessions of the console were ended, until they would have ended by themselves."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table of ended sessions."""
    op.execute("""
        CREATE TABLE IF NOT EXISTS ended_sessions (
            id CHAR(64) NOT NULL PRIMARY KEY,
            forgotten_at DATETIME(6) NOT NULL,
            KEY ended_sessions_to_forget (forgotten_at)
        ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin""")
