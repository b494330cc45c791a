"""Finds free ports and remembers them, so that a restarted stack has the same addresses."""

import json
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

# Below the range that the kernel hands to outgoing connections (32768 and up), where a port that is free
# now may be taken a moment later.
_LOWEST, _HIGHEST = 20_000, 32_000
# A port is found some time before a server listens there; until this process ends no other one finds it too.
_CLAIMS: set[int] = set()


def assign(names: Sequence[str], *, remembered: Path, given: Mapping[str, int]) -> dict[str, int]:
    """A port for each name: the given one, else last time's when it is free, else any free one."""
    former: dict[str, int] = {}
    if remembered.exists():
        former = json.loads(remembered.read_text(encoding="utf-8"))
    ports: dict[str, int] = {}
    for name in names:
        if given.get(name):
            ports[name] = given[name]
        elif name in former and _is_free(former[name]) and former[name] not in ports.values():
            ports[name] = former[name]
        else:
            ports[name] = _find(taken=ports.values())
    remembered.write_text(json.dumps(ports, indent=2) + "\n", encoding="utf-8")
    return ports


def _find(*, taken: Collection[int]) -> int:
    for _ in range(1000):
        port = _LOWEST + secrets.randbelow(_HIGHEST - _LOWEST)
        if port not in taken and port not in _CLAIMS and _is_free(port) and _claim(port):
            return port
    raise OSError(f"no free port between {_LOWEST} and {_HIGHEST}")


def _claim(port: int) -> bool:
    """Whether nobody else found this port; an abstract socket (unix(7)) is gone with its process, and is no file."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0lifecycle-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # open as long as this process is there
    _CLAIMS.add(port)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
