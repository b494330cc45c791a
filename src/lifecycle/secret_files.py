"""Files with secrets: made once, readable by their owner only, never half written."""

import os
from collections.abc import Callable
from pathlib import Path


def ensure(path: Path, make: Callable[[], str]) -> str:
    """What is in `path`; makes it first when it is not there.

    It is written beside and then linked into place, so that whoever is killed, or comes second, finds it whole.
    """
    if not path.exists():
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.touch(mode=0o600)
        try:
            part.write_text(make(), encoding="utf-8")
            path.hardlink_to(part)
        except FileExistsError:
            pass  # somebody else was first
        finally:
            part.unlink()
    return path.read_text(encoding="utf-8")
