"""Certificates with their orders and challenges, accounts at certificate authorities, and their rate limits."""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLE = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"


def upgrade() -> None:
    """Create the tables; repeatable."""
    # The id of an entry begins with what it is about, which may be a domain now.
    op.execute("ALTER TABLE audit_log MODIFY id VARCHAR(320) NOT NULL")
    # What lists show of each domain; decisions are in the engine.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS certificate_domains (
            domain VARCHAR(255) NOT NULL PRIMARY KEY,
            workspace_id VARCHAR(40) NOT NULL,
            project_id VARCHAR(40) NULL,
            names JSON NOT NULL,
            challenge VARCHAR(20) NOT NULL,
            status VARCHAR(20) NOT NULL,
            next_renewal_at DATETIME(6) NULL,
            last_error TEXT NOT NULL,
            sequence BIGINT NOT NULL DEFAULT 0,
            updated_at DATETIME(6) NOT NULL,
            KEY certificate_domains_by_workspace (workspace_id, domain),
            KEY certificate_domains_by_project (project_id),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    # One row for each version. `sealed_key` opens with the vault only, and only for this id; it is destroyed some time
    # after the version was served last, or was given up.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS certificates (
            id VARCHAR(40) NOT NULL PRIMARY KEY,
            domain VARCHAR(255) NOT NULL,
            version INT NOT NULL,
            workspace_id VARCHAR(40) NOT NULL,
            project_id VARCHAR(40) NULL,
            issuance_id VARCHAR(40) NOT NULL,
            ca VARCHAR(60) NOT NULL,
            names JSON NOT NULL,
            status VARCHAR(20) NOT NULL,
            serial VARCHAR(64) NOT NULL,
            certificate_id VARCHAR(200) NULL,
            issuer VARCHAR(500) NOT NULL,
            not_before DATETIME(6) NOT NULL,
            not_after DATETIME(6) NOT NULL,
            cause VARCHAR(60) NOT NULL,
            chain MEDIUMTEXT NOT NULL,
            sealed_key TEXT NOT NULL,
            key_digest VARCHAR(64) NOT NULL,
            created_at DATETIME(6) NOT NULL,
            revoked_at DATETIME(6) NULL,
            retired_at DATETIME(6) NULL,
            key_idle_since DATETIME(6) GENERATED ALWAYS AS (IF(sealed_key = '', NULL, retired_at)) STORED,
            UNIQUE KEY certificates_by_domain (domain, version),
            UNIQUE KEY certificates_by_issuance (issuance_id),
            KEY certificates_by_project (project_id),
            KEY certificates_by_status (status, not_after),
            KEY certificates_by_key_age (key_idle_since),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    # One row for each issuance. `asked_at` without `url`: an order was sent, and its answer has not been seen.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS acme_orders (
            issuance_id VARCHAR(40) NOT NULL PRIMARY KEY,
            domain VARCHAR(255) NOT NULL,
            workspace_id VARCHAR(40) NOT NULL,
            project_id VARCHAR(40) NULL,
            ca VARCHAR(60) NOT NULL,
            account_url VARCHAR(500) NOT NULL,
            url VARCHAR(500) NULL,
            names JSON NOT NULL,
            sealed_key TEXT NOT NULL,
            status VARCHAR(20) NOT NULL,
            asked_at DATETIME(6) NULL,
            created_at DATETIME(6) NOT NULL,
            ended_at DATETIME(6) NULL,
            KEY acme_orders_by_domain (domain, created_at),
            KEY acme_orders_by_project (project_id),
            KEY acme_orders_by_url (url(200)),
            KEY acme_orders_by_end (ended_at),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    # Written before anything is published, and marked when it is gone, so that nothing is left behind.
    # `looked_at`: when the upkeep looked last whether it has to remove it.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS challenges (
            issuance_id VARCHAR(40) NOT NULL,
            type VARCHAR(20) NOT NULL,
            name VARCHAR(300) NOT NULL,
            value VARCHAR(310) NOT NULL,
            identifier VARCHAR(255) NOT NULL,
            place VARCHAR(300) NOT NULL DEFAULT '',
            project_id VARCHAR(40) NULL,
            created_at DATETIME(6) NOT NULL,
            removed_at DATETIME(6) NULL,
            looked_at DATETIME(6) NULL,
            PRIMARY KEY (issuance_id, name, value),
            KEY challenges_by_name (type, name),
            KEY challenges_by_project (project_id),
            KEY challenges_left (removed_at, created_at),
            FOREIGN KEY (project_id) REFERENCES projects (id)
        ) {_TABLE}""")
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS acme_accounts (
            ca VARCHAR(60) NOT NULL PRIMARY KEY,
            directory_url VARCHAR(500) NOT NULL,
            url VARCHAR(500) NULL,
            status VARCHAR(20) NOT NULL,
            sealed_key TEXT NOT NULL,
            sealed_next_key TEXT NULL,
            created_at DATETIME(6) NOT NULL,
            rolled_over_at DATETIME(6) NULL
        ) {_TABLE}""")
    # The circuit breaker of each authority.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS acme_breakers (
            ca VARCHAR(60) NOT NULL PRIMARY KEY,
            failures INT NOT NULL DEFAULT 0,
            open_until DATETIME(6) NULL,
            probing_until DATETIME(6) NULL,
            last_error TEXT NOT NULL,
            updated_at DATETIME(6) NOT NULL
        ) {_TABLE}""")
    # Token buckets: how full each was at a moment; what came back since then is arithmetic.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS rate_limits (
            ca VARCHAR(60) NOT NULL,
            limit_name VARCHAR(60) NOT NULL,
            subject VARCHAR(300) NOT NULL,
            tokens DOUBLE NOT NULL,
            at DATETIME(6) NOT NULL,
            blocked_until DATETIME(6) NULL,
            PRIMARY KEY (ca, limit_name, subject),
            KEY rate_limits_by_age (at),
            KEY rate_limits_blocked (ca, blocked_until)
        ) {_TABLE}""")
    # What was counted already, so that a step that runs twice takes its tokens once.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS rate_limit_spendings (
            ca VARCHAR(60) NOT NULL,
            event VARCHAR(40) NOT NULL,
            reference VARCHAR(500) NOT NULL,
            at DATETIME(6) NOT NULL,
            PRIMARY KEY (ca, event, reference),
            KEY rate_limit_spendings_by_age (at)
        ) {_TABLE}""")
    # Names that have been issued on the staging authority of a CA.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS rehearsals (
            ca VARCHAR(60) NOT NULL,
            domain VARCHAR(255) NOT NULL,
            names_digest VARCHAR(64) NOT NULL,
            at DATETIME(6) NOT NULL,
            PRIMARY KEY (ca, domain, names_digest),
            KEY rehearsals_by_names (ca, names_digest)
        ) {_TABLE}""")
    # Public keys that were disclosed and are never used again.
    op.execute(f"""
        CREATE TABLE IF NOT EXISTS blocked_keys (
            key_digest VARCHAR(64) NOT NULL PRIMARY KEY,
            domain VARCHAR(255) NOT NULL,
            at DATETIME(6) NOT NULL
        ) {_TABLE}""")
