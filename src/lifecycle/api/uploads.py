"""Uploads go to disk as they come, and are there only when they are complete."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.requests import ClientDisconnect

from lifecycle import ids
from lifecycle.api.problems import invalid
from lifecycle.errors import Code, LifecycleError


async def keep(stream: AsyncIterator[bytes], path: Path, *, most_bytes: int) -> None:
    """Write a stream to `path`; whatever goes wrong leaves nothing there.

    Raises:
        LifecycleError: it is larger than `most_bytes`, empty, or broke off.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(f"{path.name}.{ids.new('part')}")
    written = 0
    try:
        with part.open("wb") as file:
            async for chunk in stream:
                written += len(chunk)
                if written > most_bytes:
                    raise LifecycleError(Code.SOURCE_TOO_LARGE, limit_bytes=str(most_bytes))
                await asyncio.to_thread(file.write, chunk)
        if written == 0:
            raise invalid("body", "send the tarball as the body")
        part.rename(path)
    except ClientDisconnect as error:
        raise invalid("body", "the upload broke off; send it again") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def tail(path: Path, *, lines: int) -> str:
    """The last lines of a file; empty when there is none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines))
    except FileNotFoundError:
        return ""
