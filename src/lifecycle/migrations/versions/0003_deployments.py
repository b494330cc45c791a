"""Deployments with their steps and instances, routes, and what the gateway knows of each host."""

from alembic import op
from sqlalchemy import inspect

revision = "0003"
down_revision = "0002"

_TABLE = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def upgrade() -> None:
    """Create the tables. Looking first makes it repeatable: MySQL has no ADD COLUMN IF NOT EXISTS."""
    environment = {column["name"] for column in inspect(op.get_bind()).get_columns("environments")}
    if "live_deployment_id" not in environment:
        op.execute("""
            ALTER TABLE environments
                ADD live_deployment_id VARCHAR(40) NULL,
                ADD pinned BOOLEAN NOT NULL DEFAULT FALSE,
                ADD switch_number BIGINT NOT NULL DEFAULT 0""")
    project = {column["name"] for column in inspect(op.get_bind()).get_columns("projects")}
    if "routing_generation" not in project:
        op.execute("""
            ALTER TABLE projects
                ADD routing_generation BIGINT NOT NULL DEFAULT 0,
                ADD suspended_until DATETIME(6) NULL""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS deployments (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            project_id VARCHAR(40) NOT NULL,
            workspace_id VARCHAR(40) NOT NULL,
            environment VARCHAR(20) NOT NULL,
            status VARCHAR(20) NOT NULL,
            running BOOLEAN NOT NULL DEFAULT FALSE,
            message TEXT NOT NULL,
            branch VARCHAR(250) NULL,
            spec JSON NOT NULL,
            image VARCHAR(500) NULL,
            openapi MEDIUMTEXT NULL,
            sequence BIGINT NOT NULL DEFAULT 0,
            created_at DATETIME(6) NOT NULL,
            KEY deployments_by_project (project_id, created_at, id),
            KEY deployments_running (running),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS deployment_steps (
            deployment_id VARCHAR(40) NOT NULL,
            name VARCHAR(60) NOT NULL,
            position INT NOT NULL,
            started_at DATETIME(6) NOT NULL,
            ended_at DATETIME(6) NULL,
            attempts INT NOT NULL DEFAULT 1,
            error VARCHAR(2000) NOT NULL DEFAULT '',
            PRIMARY KEY (deployment_id, name),
            FOREIGN KEY (deployment_id) REFERENCES deployments (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS instances (
            id VARCHAR(80) NOT NULL PRIMARY KEY,
            deployment_id VARCHAR(40) NOT NULL,
            project_id VARCHAR(40) NOT NULL,
            region VARCHAR(60) NOT NULL,
            address VARCHAR(255) NULL,
            created_at DATETIME(6) NOT NULL,
            KEY instances_by_project (project_id),
            FOREIGN KEY (deployment_id) REFERENCES deployments (id)
        ) {_TABLE}""")
    # No foreign key to deployments: a route outlives what it pointed to, and a name stays with its project.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS routes (
            hostname VARCHAR(253) NOT NULL PRIMARY KEY,
            project_id VARCHAR(40) NOT NULL,
            environment VARCHAR(20) NOT NULL,
            kind VARCHAR(20) NOT NULL,
            sticky VARCHAR(250) NOT NULL,
            deployment_id VARCHAR(40) NULL,
            former_deployment_id VARCHAR(40) NULL,
            created_at DATETIME(6) NOT NULL,
            KEY routes_by_project (project_id, kind, sticky),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS sentinel_configs (
            hostname VARCHAR(253) NOT NULL PRIMARY KEY,
            project_id VARCHAR(40) NOT NULL,
            generation BIGINT NOT NULL,
            config JSON NOT NULL,
            KEY sentinel_configs_by_project (project_id),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
