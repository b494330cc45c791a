"""A gateway of its own for every test, with two deployments behind it."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from lifecycle.deploy.gateway import Change, Gateway
from lifecycle.dev import ports
from lifecycle.dev.gateway import HaProxy
from tests.integration.gateway.upstreams import serving


class Site:
    """HAProxy, a client of it, and what the tests put behind it.

    Attributes:
        haproxy: the server.
        gateway: changes it.
        addresses: of the deployments `blue` and `green`, and of the `api`, each of which says its name.
        free: ports that nobody uses.
        tls: the port for visitors with TLS.
    """

    def __init__(self, root: Path) -> None:
        names = ["gateway", "gateway_tls", "api", "blue", "green", "one", "two", "three", "four", "five"]
        self.root = root
        self.free = ports.assign(names, remembered=root / "ports.json", given={})
        self.addresses: dict[str, str] = {}
        self.haproxy = HaProxy(
            root / "g",
            self.free["gateway"],
            api_address=f"127.0.0.1:{self.free['api']}",
            log=root / "haproxy.log",
            tls_port=self.free["gateway_tls"],
            pools=2,
            slots=3,
        )
        self.gateway = Gateway(self.haproxy.folder)
        self.tls = self.free["gateway_tls"]
        self._session: aiohttp.ClientSession | None = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """An HTTP client that keeps no connection, so that each request is a new visitor."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        return self._session

    async def get(self, host: str, path: str = "/", **headers: str) -> tuple[int, str]:
        """Status and body of a GET for this host."""
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.session.get(f"{self.haproxy.url}{path}", headers={**given, "Host": host}) as response:
            return response.status, await response.text()

    async def name(self, host: str) -> str | None:
        """Which deployment answers for this host."""
        async with self.session.get(self.haproxy.url, headers={"Host": host}) as response:
            return (await response.json())["name"] if response.ok else None

    async def serial(self, host: str) -> str | None:
        """Of the certificate that a visitor of this host is shown; None for the default one."""
        return await self.gateway.certificates.serial(host, timeout=timedelta(seconds=10))

    async def serve(self, host: str, deployment: str, *addresses: str, generation: int, project: str = "prj_a") -> None:
        """Let a deployment answer for this host."""
        await self.gateway.apply(
            Change(project=project, generation=generation, hosts={host: deployment}, targets={deployment: addresses})
        )

    async def close(self) -> None:
        """Close the client."""
        await self.gateway.close()
        if self._session is not None:
            await self._session.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A gateway that serves nothing yet."""
    root = Path(tempfile.mkdtemp(prefix="lifecycle-gw-"))
    made = Site(root)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        stack.push_async_callback(made.close)
        for name in ("api", "blue", "green"):
            made.addresses[name] = await stack.enter_async_context(serving(name, made.free[name]))
        stack.push_async_callback(made.haproxy.child.stop)
        await made.haproxy.start()
        yield made
