"""Webhooks, people who get mail, and every delivery with its attempts."""

from alembic import op

revision = "0006"
down_revision = "0005"

_TABLE = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def upgrade() -> None:
    """Create the tables; repeatable."""
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS webhooks (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            workspace_id VARCHAR(40) NOT NULL,
            url VARCHAR(2000) NOT NULL,
            description VARCHAR(200) NOT NULL DEFAULT '',
            events JSON NOT NULL,
            sealed_secret TEXT NOT NULL,
            sealed_former_secret TEXT NULL,
            former_until DATETIME(6) NULL,
            state VARCHAR(20) NOT NULL,
            reason VARCHAR(1000) NOT NULL DEFAULT '',
            failing_since DATETIME(6) NULL,
            resting_until DATETIME(6) NULL,
            created_at DATETIME(6) NOT NULL,
            created_by VARCHAR(200) NOT NULL,
            KEY webhooks_by_workspace (workspace_id, id),
            FOREIGN KEY (workspace_id) REFERENCES workspaces (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS recipients (
            workspace_id VARCHAR(40) NOT NULL,
            address VARCHAR(254) NOT NULL,
            events JSON NOT NULL,
            created_at DATETIME(6) NOT NULL,
            created_by VARCHAR(200) NOT NULL,
            PRIMARY KEY (workspace_id, address),
            FOREIGN KEY (workspace_id) REFERENCES workspaces (id)
        ) {_TABLE}""")
    # No foreign key to projects: what people were told stays known after a project is gone, as the audit log does.
    # `position` grows with each row, so that the deliveries of an event come in the same order whenever they are read.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS deliveries (
            position BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
            id VARCHAR(40) NOT NULL UNIQUE,
            workspace_id VARCHAR(40) NOT NULL,
            project_id VARCHAR(40) NULL,
            event_id VARCHAR(320) NOT NULL,
            event_type VARCHAR(60) NOT NULL,
            channel VARCHAR(20) NOT NULL,
            target VARCHAR(254) NOT NULL,
            body MEDIUMTEXT NOT NULL,
            state VARCHAR(20) NOT NULL,
            generation BIGINT NOT NULL,
            attempts INT NOT NULL DEFAULT 0,
            failures INT NOT NULL DEFAULT 0,
            last_error VARCHAR(500) NOT NULL DEFAULT '',
            created_at DATETIME(6) NOT NULL,
            since DATETIME(6) NOT NULL,
            next_attempt_at DATETIME(6) NULL,
            delivered_at DATETIME(6) NULL,
            KEY deliveries_by_workspace (workspace_id, position),
            KEY deliveries_by_event (event_id, position),
            KEY deliveries_by_state (workspace_id, state, position),
            KEY deliveries_by_type (workspace_id, event_type, position),
            KEY deliveries_by_target (target, position),
            KEY deliveries_by_target_and_state (target, state, position),
            KEY deliveries_due (next_attempt_at, channel, failures),
            KEY deliveries_by_age (created_at)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS delivery_attempts (
            delivery_id VARCHAR(40) NOT NULL,
            generation BIGINT NOT NULL,
            at DATETIME(6) NOT NULL,
            took_ms INT NOT NULL,
            outcome VARCHAR(20) NOT NULL,
            status INT NULL,
            detail VARCHAR(500) NOT NULL,
            PRIMARY KEY (delivery_id, generation),
            FOREIGN KEY (delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
        ) {_TABLE}""")
