"""Claims to custom domains: several projects may want one, and one at most owns it."""

from alembic import op
from sqlalchemy import inspect

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Widen the table of domains; repeatable. Whoever has a domain already owns it."""
    inspector = inspect(op.get_bind())
    columns = {column["name"] for column in inspector.get_columns("domains")}
    keys = {index["name"] for index in inspector.get_indexes("domains")}
    if "token" not in columns:
        op.execute("""
            ALTER TABLE domains
                ADD environment VARCHAR(20) NOT NULL DEFAULT 'production',
                ADD status VARCHAR(20) NOT NULL DEFAULT 'verified',
                ADD token VARCHAR(64) NOT NULL DEFAULT '',
                ADD version BIGINT NOT NULL DEFAULT 0,
                ADD sight JSON NULL,
                ADD reason VARCHAR(1000) NOT NULL DEFAULT '',
                ADD bad_looks INT NOT NULL DEFAULT 0,
                ADD verified_at DATETIME(6) NULL,
                ADD routed_at DATETIME(6) NULL,
                ADD checked_at DATETIME(6) NULL,
                ADD next_check_at DATETIME(6) NULL,
                ADD begun_at DATETIME(6) NULL,
                ADD untold BOOLEAN NOT NULL DEFAULT FALSE""")
    # The guard of the whole: whatever else goes wrong, no two rows own a domain. NULLs are not compared.
    if "owned_hostname" not in columns:
        op.execute("""
            ALTER TABLE domains
                ADD owned_hostname VARCHAR(253)
                    GENERATED ALWAYS AS (IF(status IN ('verified', 'dangling'), hostname, NULL)) STORED,
                ADD UNIQUE KEY domains_owned (owned_hostname)""")
    if "domains_claimed" not in keys:
        op.execute("""
            ALTER TABLE domains
                ADD UNIQUE KEY domains_claimed (hostname, project_id),
                ADD KEY domains_by_next_check (next_check_at)""")
    if "hostname" in keys:
        op.execute("ALTER TABLE domains DROP INDEX hostname")
    op.execute("UPDATE domains SET token = SHA2(CONCAT(id, UUID(), RAND()), 256) WHERE token = ''")
    op.execute("""
        UPDATE domains JOIN routes ON routes.hostname = domains.hostname AND routes.project_id = domains.project_id
        SET domains.environment = routes.environment, domains.verified_at = domains.created_at
        WHERE domains.verified_at IS NULL AND domains.status = 'verified'""")
