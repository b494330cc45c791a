"""A private HAProxy, the gateway of `lifecycle dev` and of the tests."""

import shutil
from datetime import timedelta
from pathlib import Path

from lifecycle.deploy.gateway import Gateway, GatewayDownError, Tls, write_configuration
from lifecycle.dev.process import Child
from lifecycle.dev.servers import MissingProgramError

_HOST = "127.0.0.1"
_START = timedelta(seconds=60)
_MAX_CONNECTIONS = 2000  # an ordinary user may open 4096 files or so, and each connection is two


class HaProxy:
    """A HAProxy on loopback.

    Its worker ends when its master does, so nothing of it outlives us.

    Args:
        folder: its folder, absolute; the path must be short, for the sockets' sake.
        port: where requests come in; below 32768, so that no outgoing connection has it.
        api_address: `host:port` of our API, for ACME challenges.
        tls_port: where visitors with TLS come in, likewise; None: nowhere.
        log: its log file.
        pools: how many pools there are at first.
        slots: how many servers each has at first.
        access_log: whether each request is logged.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        api_address: str,
        log: Path,
        tls_port: int | None = None,
        pools: int = 64,
        slots: int = 8,
        access_log: bool = True,
    ) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://{_HOST}:{port}"
        self.tls_port = tls_port
        self.tls_url = None if tls_port is None else f"https://{_HOST}:{tls_port}"
        self._api_address = api_address
        self._pools = pools
        self._slots = slots
        self._access_log = access_log
        command = [
            *(_program(), "-W", "-S", f"{folder}/master.sock,mode,600"),
            *("-f", f"{folder}/haproxy.cfg", "-f", f"{folder}/pools.cfg"),
        ]
        self.child = Child("haproxy", command, environment={}, log=log)

    def write_configuration(self) -> None:
        """Make its folder, or what is missing there."""
        write_configuration(
            self.folder,
            listen=f"{_HOST}:{self.port}",
            api_address=self._api_address,
            tls=None if self.tls_port is None else Tls(f"{_HOST}:{self.tls_port}"),
            pools=self._pools,
            slots=self._slots,
            max_connections=_MAX_CONNECTIONS,
            access_log=self._access_log,
        )

    async def start(self) -> None:
        """Make its folder unless it is there, start it and wait until it answers."""
        self.write_configuration()
        await self.start_alone()

    async def start_alone(self) -> None:
        """Start it with the files as they are, as a supervisor would, and wait until it answers."""
        self.child.start()
        await self.child.wait_until(self.is_ready, within=_START)

    async def is_ready(self) -> bool:
        """Whether its worker takes changes; it then serves as well."""
        gateway = Gateway(self.folder, timeout=timedelta(seconds=2))
        try:
            await gateway.version()
        except GatewayDownError:
            return False
        finally:
            await gateway.close()
        return True


def _program() -> str:
    # Debian puts it where only root looks for programs.
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MissingProgramError("haproxy is not installed; run 'make setup', which installs what is missing")
    return found
