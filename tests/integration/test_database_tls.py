"""TLS to the database: with LIFECYCLE_DATABASE_CA_FILE it must be the right one, and say so."""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy.exc import OperationalError

from lifecycle import migrate, resources
from lifecycle.db import DatabaseDownError
from lifecycle.dev import ports
from lifecycle.dev.servers import MariaDb
from lifecycle.settings import Settings
from tests.support.certificates import Authority


class Secured(NamedTuple):
    """A database that speaks nothing but TLS, the authority behind it, and one that has nothing to do with it."""

    database: MariaDb
    authority: Authority
    stranger: Authority


class _MariaDb(MariaDb):
    ca_file: Path

    async def is_ready(self) -> bool:
        """Whether it answers a query over TLS."""
        try:
            return bool(await _ask(self.url, self.ca_file))
        except DatabaseDownError:
            return False


@pytest.fixture(scope="module")
async def secured() -> AsyncIterator[Secured]:
    """A MariaDB of our own, with a certificate for its address."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-tls-"))
    port = ports.assign(("mysql",), remembered=root / "ports.json", given={})["mysql"]
    authority, stranger = Authority(root, "authority"), Authority(root, "stranger")
    certificate, key = authority.issue("127.0.0.1")
    database = _MariaDb(
        root / "m",
        port,
        password="secret",  # noqa: S106  of a server that lives as long as the test
        log=root / "mariadb.log",
        extra=[f"--ssl-cert={certificate}", f"--ssl-key={key}", "--require-secure-transport=ON"],
    )
    database.ca_file = authority.file
    try:
        await database.start()
        yield Secured(database, authority, stranger)
    finally:
        await database.child.stop()
        shutil.rmtree(root)


async def test_every_connection_to_a_database_with_a_known_authority_is_encrypted(secured: Secured) -> None:
    """The worker and the API speak TLS as soon as they are told whose certificate to expect."""
    assert await _ask(secured.database.url, secured.authority.file)


async def test_a_database_that_proves_to_be_another_is_refused(secured: Secured) -> None:
    """Whoever stands between us and the database, with a certificate of their own, learns nothing."""
    with pytest.raises(DatabaseDownError) as refused:
        await _ask(secured.database.url, secured.stranger.file)
    assert _about_the_certificate(refused.value)
    with pytest.raises(OperationalError, match="certificate"):
        await asyncio.to_thread(migrate.upgrade, secured.database.url, ca_file=secured.stranger.file)


async def test_a_certificate_for_another_address_is_refused(secured: Secured) -> None:
    """The right authority is not enough: the certificate must be for the server that was asked for."""
    elsewhere = secured.database.url.replace("127.0.0.1", "localhost")

    with pytest.raises(DatabaseDownError) as refused:
        await _ask(elsewhere, secured.authority.file)
    assert _about_the_certificate(refused.value)
    with pytest.raises(OperationalError, match="certificate"):
        await asyncio.to_thread(migrate.upgrade, elsewhere, ca_file=secured.authority.file)


async def test_a_database_that_wants_tls_is_not_reached_without(secured: Secured) -> None:
    """Worker and API speak TLS because they were told to: without LIFECYCLE_DATABASE_CA_FILE they do not."""
    with pytest.raises(DatabaseDownError):
        await _ask(secured.database.url, None)


async def test_migrate_on_the_command_line_uses_the_authority_too(secured: Secured) -> None:
    """`lifecycle migrate` makes the tables over TLS, and says in one sentence why not when the proof is wrong."""
    refused = _migrate(secured.database.url, secured.stranger.file)
    done = _migrate(secured.database.url, secured.authority.file)

    assert (refused.returncode, done.returncode) == (1, 0), (refused, done)
    assert "certificate" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert f"Schema {migrate.newest()}" in done.stdout


async def _ask(url: str, ca_file: Path | None) -> str:
    """What the connection is encrypted with, over the database as worker and API open it."""
    values = {"database_url": url, "database_ca_file": ca_file, "request_timeout": timedelta(seconds=5)}
    db = resources.database(Settings.model_validate(values))
    try:
        row = await db.one("SHOW STATUS LIKE 'Ssl_cipher'")
    finally:
        await db.close()
    assert row is not None
    return str(row["Value"])


def _about_the_certificate(error: BaseException | None) -> bool:
    """Whether an error came of a certificate."""
    return error is not None and (
        isinstance(error, ssl.SSLCertVerificationError) or _about_the_certificate(error.__cause__)
    )


def _migrate(url: str, ca_file: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LIFECYCLE_DATABASE_URL": url, "LIFECYCLE_DATABASE_CA_FILE": str(ca_file)}
    return subprocess.run(
        [sys.executable, "-m", "lifecycle", "migrate"], env=environment, capture_output=True, text=True, check=False
    )
