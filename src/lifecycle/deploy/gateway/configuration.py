"""Makes the folder that HAProxy runs in."""

import re
import time
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from string import Template
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lifecycle.deploy.gateway.certificates import CERTIFICATES, CHALLENGES
from lifecycle.deploy.gateway.files import Folder, replace
from lifecycle.deploy.gateway.shelf import Shelf

PAGES = ("unknown", "suspended", "stopped", "unavailable")

_PATIENCE = timedelta(seconds=10)
_ADDRESS = re.compile(r"(\*|[A-Za-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]{1,5}")
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)  # RFC 5280, 4.1.2.5
_CIPHERS = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
_DIRECT = "# TLS comes in at {address}\n    bind {address}"
_HANDED_OVER = "bind unix@{folder}/tls.sock mode 600 accept-proxy"
_ACCESS_LOG = (
    'log global\n    log-format "%[date,utime(%Y-%m-%dT%H:%M:%SZ)] %ci %HM %[var(txn.host)] %HP -> '
    '%[var(txn.route)] %si:%sp %ST %B bytes %Ta ms %tsc"'
)


class Tls(NamedTuple):
    """Where visitors with TLS come in.

    Attributes:
        listen: `host:port`.
        challenges: whether TLS-ALPN-01 challenges can be answered there. Each connection is then handed over once
            inside HAProxy, and counts twice.
    """

    listen: str
    challenges: bool = True


def write_configuration(
    folder: Path,
    *,
    listen: str,
    api_address: str,
    tls: Tls | None = None,
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
        tls: where visitors with TLS come in; None: nowhere.
        pools: how many deployments may have several instances without a reload.
        slots: how many instances such a deployment may have without a reload.
        max_connections: at a time. HAProxy needs two open files for each.
        access_log: whether it writes a line for each request to its standard output.

    Raises:
        ValueError: an address or the path cannot be written into a configuration.
    """
    _check(listen, api_address, *(() if tls is None else (tls.listen,)))
    kept = Folder(folder, pools=pools, slots=slots)
    (folder / "pages").mkdir(parents=True, exist_ok=True)
    ours = resources.files(__package__)
    text = Template((ours / "haproxy.cfg").read_text(encoding="utf-8")).substitute(
        folder=folder,
        listen=listen,
        api_address=api_address,
        max_connections=max_connections,
        ciphers=_CIPHERS,
        bind_tls="# no TLS" if tls is None else _bind_tls(folder, tls),
        tls="" if tls is None or not tls.challenges else _front(folder, tls, max_connections),
        logging=_ACCESS_LOG if access_log else "# no access log",
    )
    with kept.locked(time.monotonic() + _PATIENCE.total_seconds()):
        for page in PAGES:
            replace(folder / "pages" / f"{page}.html", (ours / "pages" / f"{page}.html").read_text(encoding="utf-8"))
        replace(folder / "haproxy.cfg", text)
        kept.add_missing()
        for table in (CERTIFICATES, CHALLENGES):
            Shelf(kept, table).make(_default_certificate)


def _check(*addresses: str) -> None:
    for address in addresses:
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"{address} is not host:port")


def _bind_tls(folder: Path, tls: Tls) -> str:
    bind = _HANDED_OVER.format(folder=folder) if tls.challenges else _DIRECT.format(address=tls.listen)
    return f"{bind} ssl crt-list {folder}/{CERTIFICATES}.list alpn h2,http/1.1"


def _front(folder: Path, tls: Tls, max_connections: int) -> str:
    text = (resources.files(__package__) / "tls.cfg").read_text(encoding="utf-8")
    return Template(text).substitute(
        folder=folder, listen_tls=tls.listen, max_tls_connections=max(1, max_connections // 2)
    )


def _default_certificate() -> str:
    """For visitors who ask for a name that has no certificate; nobody trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "no certificate for this name")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_ALWAYS[0])
        .not_valid_after(_ALWAYS[1])
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (certificate.public_bytes(serialization.Encoding.PEM) + private).decode()
