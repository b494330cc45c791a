"""Waiting in tests: for a predicate, never for a time."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(predicate: Callable[[], Coroutine[Any, Any, T | None]], *, within: float) -> T: ...
@overload
async def eventually(predicate: Callable[[], T | None], *, within: float) -> T: ...
async def eventually(predicate: Callable[[], Any], *, within: float) -> Any:
    """The first truthy answer of `predicate`.

    Args:
        predicate: asked again and again; an AssertionError counts as "not yet".
        within: seconds after which the test fails, with the last answer or error.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    last: object = None
    while True:
        try:
            answer = predicate()
            last = await answer if inspect.isawaitable(answer) else answer
        except AssertionError as error:
            last = error
        else:
            if last:
                return last
        if loop.time() > deadline:
            raise AssertionError(f"not within {within} s; last: {last!r}")
        await asyncio.sleep(0.05)
