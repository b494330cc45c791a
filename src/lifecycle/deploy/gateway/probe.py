"""Looks at what a visitor of the gateway is shown."""

import asyncio
import ssl
from contextlib import suppress
from datetime import timedelta

from lifecycle.deploy.gateway.model import GatewayDownError

# What is served is asked, not whether it can be trusted: a certificate of a test CA is served as well.
_ANY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_ANY.check_hostname = False
_ANY.verify_mode = ssl.CERT_NONE


async def certificate(host: str, port: int, hostname: str, *, timeout: timedelta) -> bytes:  # noqa: ASYNC109
    """The certificate that is served for `hostname`, as DER.

    Args:
        host: of the listener.
        port: of it.
        hostname: that is asked for (SNI).
        timeout: for connection and handshake.

    Raises:
        GatewayDownError: nobody answers, or not with a handshake.
    """
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            _, writer = await asyncio.open_connection(host, port, ssl=_ANY, server_hostname=hostname)
            try:
                found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except OSError as error:  # TimeoutError and ssl.SSLError are such
        raise GatewayDownError(f"no TLS handshake for {hostname} at {host}:{port}: {error}") from error
    if found is None:
        raise GatewayDownError(f"no certificate for {hostname} at {host}:{port}")
    return found
