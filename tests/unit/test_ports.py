"""Ports for servers that are about to start."""

import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle.dev import ports

_RANGE = (31_700, 31_760)
_NAMES = tuple(f"server-{number}" for number in range(20))
_OTHER = f"""
import sys
from pathlib import Path
from lifecycle.dev import ports
ports._LOWEST, ports._HIGHEST = {_RANGE}
print(*ports.assign({_NAMES}, remembered=Path(sys.argv[1]), given={{}}).values(), flush=True)
sys.stdin.read()
"""


def test_two_who_look_at_the_same_time_find_different_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stacks that start side by side do not take each other's ports, although nobody listens there yet."""
    monkeypatch.setattr(ports, "_LOWEST", _RANGE[0])
    monkeypatch.setattr(ports, "_HIGHEST", _RANGE[1])
    command = [sys.executable, "-c", _OTHER, str(tmp_path / "theirs.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = set(ports.assign(_NAMES, remembered=tmp_path / "ours.json", given={}).values())
        other.communicate("")

    assert len(theirs) == len(ours) == len(_NAMES)
    assert not theirs & ours
