"""The gateway: HAProxy in front of all deployments, and what it is told.

`Gateway` changes and mends what it serves, `Gateway.certificates` what it answers TLS with; `write_configuration` makes
the files that it starts with.
"""

from lifecycle.deploy.gateway.bundles import Bundle, UnusableCertificateError
from lifecycle.deploy.gateway.certificates import Certificates
from lifecycle.deploy.gateway.configuration import Tls, write_configuration
from lifecycle.deploy.gateway.gateway import Gateway
from lifecycle.deploy.gateway.model import (
    STOPPED,
    Applied,
    Change,
    Difference,
    Differences,
    GatewayDownError,
    Routes,
    Stale,
    Wanted,
    suspended,
)

__all__ = [
    "STOPPED",
    "Applied",
    "Bundle",
    "Certificates",
    "Change",
    "Difference",
    "Differences",
    "Gateway",
    "GatewayDownError",
    "Routes",
    "Stale",
    "Tls",
    "UnusableCertificateError",
    "Wanted",
    "suspended",
    "write_configuration",
]
