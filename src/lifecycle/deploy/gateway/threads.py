"""Threads in which the gateway is changed, each with a deadline."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lifecycle.deploy.gateway.files import BusyError
from lifecycle.deploy.gateway.model import GatewayDownError

T = TypeVar("T")

_THREADS = 4


class Threads:
    """Threads of our own: who waits for the folder's lock here takes no thread from others."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="gateway")

    async def run(self, seconds: float, work: Callable[[float], T]) -> T:
        """`work` in a thread, which goes on when the caller is cancelled: half a change is worse than a late one.

        Args:
            seconds: that it may take, counted from when a thread is free.
            work: told its deadline, by `time.monotonic()`.

        Raises:
            GatewayDownError: it did not end in time, or did not get the lock.
        """
        try:
            async with asyncio.timeout(seconds + 1):
                return await asyncio.get_running_loop().run_in_executor(
                    self._pool, lambda: work(time.monotonic() + seconds)
                )
        except TimeoutError as error:
            raise GatewayDownError("no answer from HAProxy in time") from error
        except BusyError as error:
            raise GatewayDownError(str(error)) from error

    async def close(self) -> None:
        """Let go of the threads; what was begun is finished."""
        await asyncio.to_thread(self._pool.shutdown)
