"""Free ports of this machine, for instances that listen on its own addresses."""

import secrets
import socket
from collections.abc import Collection

# Below the range that the kernel hands to outgoing connections (32768 and up), where a port that is free
# now may be taken a moment later.
_LOWEST, _HIGHEST = 20_000, 32_000
_ATTEMPTS = 1000


def choose(host: str, *, taken: Collection[int], former: int | None = None) -> int:
    """A port of `host` that nobody listens on and that is not in `taken`: `former` if it is one, else any.

    Raises:
        OSError: there is none.
    """
    if former is not None and former not in taken and is_free(host, former):
        return former
    for _ in range(_ATTEMPTS):
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if port not in taken and is_free(host, port):
            return port
    raise OSError(f"no free port between {_LOWEST} and {_HIGHEST}")


def is_free(host: str, port: int) -> bool:
    """Whether somebody could listen on this port of `host` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
        return True
