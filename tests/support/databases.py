"""Databases that nobody else looks at."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lifecycle.dev import ports
from lifecycle.dev.servers import MariaDb


@asynccontextmanager
async def private() -> AsyncIterator[MariaDb]:
    """A MariaDB of our own without any table; nothing of it is left afterwards."""
    # Not pytest's tmp_path: the path of a Unix socket may have 108 characters at most.
    root = Path(tempfile.mkdtemp(prefix="lifecycle-database-"))
    port = ports.assign(("mysql",), remembered=root / "ports.json", given={})["mysql"]
    server = MariaDb(root / "m", port, password="secret", log=root / "mariadb.log")  # noqa: S106  lives as long
    try:
        await server.start()
        yield server
    finally:
        await server.child.stop()
        shutil.rmtree(root)
