"""Brings the database to the schema of this release, one process at a time. Run by `lifecycle migrate`."""

import ssl
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, text

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = "lifecycle-migrate"
_LOCK_WAIT_SECONDS = 120


class MigrationBusyError(Exception):
    """Another process holds the migration lock for too long."""


def upgrade(database_url: str, *, ca_file: Path | None = None) -> tuple[str | None, str | None]:
    """Run the missing migrations.

    Args:
        database_url: `mysql://user:password@host:port/name`.
        ca_file: CA certificates that the server's must come from; no TLS without them.

    Returns:
        The revision before and after; equal when there was nothing to do.

    Raises:
        MigrationBusyError: another migration did not finish within two minutes.
        sqlalchemy.exc.OperationalError: the database cannot be reached.
    """
    tls = {} if ca_file is None else {"ssl": ssl.create_default_context(cafile=ca_file)}
    engine = create_engine(make_url(database_url).set(drivername="mysql+pymysql"), connect_args=tls)
    try:
        # The lock belongs to a connection of its own: the migrations commit theirs as they go.
        with engine.connect() as guard, engine.connect() as connection:
            locked = guard.execute(
                text("SELECT GET_LOCK(:name, :seconds)"), {"name": _LOCK, "seconds": _LOCK_WAIT_SECONDS}
            )
            if locked.scalar() != 1:
                raise MigrationBusyError(f"another migration runs for over {_LOCK_WAIT_SECONDS} s")
            before = _revision(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            return before, _revision(connection)
    finally:
        engine.dispose()


def newest() -> str | None:
    """The revision that this release expects."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
