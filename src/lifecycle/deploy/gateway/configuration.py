"""Makes the folder that HAProxy runs in."""

import re
import time
from datetime import timedelta
from importlib import resources
from pathlib import Path
from string import Template

from lifecycle.deploy.gateway.files import Folder, replace

PAGES = ("unknown", "suspended", "stopped", "unavailable")

_PATIENCE = timedelta(seconds=10)
_ADDRESS = re.compile(r"(\*|[A-Za-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]{1,5}")
_ACCESS_LOG = (
    'log global\n    log-format "%[date,utime(%Y-%m-%dT%H:%M:%SZ)] %ci %HM %[var(txn.host)] %HP -> '
    '%[var(txn.route)] %si:%sp %ST %B bytes %Ta ms %tsc"'
)


def write_configuration(
    folder: Path,
    *,
    listen: str,
    api_address: str,
    pools: int = 64,
    slots: int = 8,
    max_connections: int = 8000,
    access_log: bool = True,
) -> None:
    """Write haproxy.cfg and the pages anew, and the other files when they are not there.

    HAProxy is then run as the head of haproxy.cfg says. One that runs already takes the new configuration when it is
    reloaded.

    Args:
        folder: made when it is not there; see `Folder` for its path.
        listen: where requests come in, `host:port`.
        api_address: of our API, which answers for ACME challenges, `host:port`.
        pools: how many deployments may have several instances without a reload.
        slots: how many instances such a deployment may have without a reload.
        max_connections: at a time. HAProxy needs two open files for each.
        access_log: whether it writes a line for each request to its standard output.

    Raises:
        ValueError: an address or the path cannot be written into a configuration.
    """
    for address in (listen, api_address):
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"{address} is not host:port")
    kept = Folder(folder, pools=pools, slots=slots)
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    ours = resources.files(__package__)
    text = Template((ours / "haproxy.cfg").read_text(encoding="utf-8")).substitute(
        folder=folder,
        listen=listen,
        api_address=api_address,
        max_connections=max_connections,
        logging=_ACCESS_LOG if access_log else "# no access log",
    )
    with kept.locked(time.monotonic() + _PATIENCE.total_seconds()):
        for page in PAGES:
            replace(folder / "pages" / f"{page}.html", (ours / "pages" / f"{page}.html").read_text(encoding="utf-8"))
        replace(folder / "haproxy.cfg", text)
        kept.add_missing()
