"""The gateway: HAProxy in front of all deployments, and what it is told.

`Gateway` changes and mends what it serves; `write_configuration` makes the files that it starts with.
"""

from lifecycle.deploy.gateway.configuration import write_configuration
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
    "Change",
    "Difference",
    "Differences",
    "Gateway",
    "GatewayDownError",
    "Routes",
    "Stale",
    "Wanted",
    "suspended",
    "write_configuration",
]
