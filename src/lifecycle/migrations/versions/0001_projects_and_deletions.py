"""Projects, their environments and domains, pending actions, audit log, tombstones, keys.

Every statement can be repeated, because MySQL cannot roll back a CREATE TABLE.
"""

from alembic import op

revision = "0001"
down_revision = None

_TABLE = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def upgrade() -> None:
    """Create the tables."""
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS workspaces (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            name VARCHAR(200) NOT NULL UNIQUE,
            created_at DATETIME(6) NOT NULL
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS api_keys (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            workspace_id VARCHAR(40) NOT NULL,
            person VARCHAR(200) NOT NULL,
            role VARCHAR(20) NOT NULL,
            secret_sha256 CHAR(64) NOT NULL,
            created_at DATETIME(6) NOT NULL,
            created_by VARCHAR(200) NOT NULL,
            revoked_at DATETIME(6) NULL,
            KEY api_keys_by_person (workspace_id, person),
            FOREIGN KEY (workspace_id) REFERENCES workspaces (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS projects (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            workspace_id VARCHAR(40) NOT NULL,
            slug VARCHAR(63) NOT NULL,
            name VARCHAR(200) NOT NULL,
            state VARCHAR(20) NOT NULL,
            protected BOOLEAN NOT NULL DEFAULT FALSE,
            generation BIGINT NOT NULL DEFAULT 0,
            sequence BIGINT NOT NULL DEFAULT 0,
            created_at DATETIME(6) NOT NULL,
            UNIQUE KEY projects_slug (workspace_id, slug),
            FOREIGN KEY (workspace_id) REFERENCES workspaces (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS environments (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            project_id VARCHAR(40) NOT NULL,
            kind VARCHAR(20) NOT NULL,
            created_at DATETIME(6) NOT NULL,
            UNIQUE KEY environments_kind (project_id, kind),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS domains (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            project_id VARCHAR(40) NOT NULL,
            hostname VARCHAR(253) NOT NULL UNIQUE,
            kind VARCHAR(20) NOT NULL,
            created_at DATETIME(6) NOT NULL,
            KEY domains_by_project (project_id),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    # `is_open` makes "everything pending, soonest first" one walk along an index, however many are closed.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS pending_actions (
            id VARCHAR(320) NOT NULL PRIMARY KEY,
            kind VARCHAR(40) NOT NULL,
            subject VARCHAR(260) NOT NULL,
            label VARCHAR(260) NOT NULL,
            project_id VARCHAR(40) NULL,
            workspace_id VARCHAR(40) NOT NULL,
            state VARCHAR(20) NOT NULL,
            is_open BOOLEAN NOT NULL,
            due_at DATETIME(6) NOT NULL,
            generation BIGINT NOT NULL,
            sequence BIGINT NOT NULL,
            reason TEXT NOT NULL,
            requested_by VARCHAR(200) NOT NULL,
            updated_at DATETIME(6) NOT NULL,
            KEY actions_by_due (workspace_id, is_open, due_at, id),
            KEY actions_overdue (is_open, due_at, id),
            KEY actions_by_project (project_id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS audit_log (
            position BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
            id VARCHAR(80) NOT NULL UNIQUE,
            workspace_id VARCHAR(40) NOT NULL,
            project_id VARCHAR(40) NULL,
            action VARCHAR(60) NOT NULL,
            actor_key VARCHAR(40) NULL,
            actor_person VARCHAR(200) NOT NULL,
            at DATETIME(6) NOT NULL,
            detail JSON NOT NULL,
            KEY audit_by_workspace (workspace_id, position),
            KEY audit_by_project (project_id, position)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS tombstones (
            project_id VARCHAR(40) NOT NULL PRIMARY KEY,
            workspace_id VARCHAR(40) NOT NULL,
            slug VARCHAR(63) NOT NULL,
            generation BIGINT NOT NULL,
            deleted_at DATETIME(6) NOT NULL,
            receipt TEXT NOT NULL,
            KEY tombstones_by_slug (workspace_id, slug, deleted_at)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS signing_keys (
            kid VARCHAR(64) NOT NULL PRIMARY KEY,
            sealed_private_key TEXT NOT NULL,
            public_jwk JSON NOT NULL,
            created_at DATETIME(6) NOT NULL
        ) {_TABLE}""")
