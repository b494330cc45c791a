"""Records what a request did by itself, without a handler of the engine, and has people told of it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from lifecycle import clock
from lifecycle.api.context import Context
from lifecycle.db import Connection
from lifecycle.errors import LifecycleError
from lifecycle.ledger import recording
from lifecycle.ledger.entry import Entry
from lifecycle.notifications.model import Begin

_SECONDS = 2


async def record(context: Context, connection: Connection, entry: Entry) -> Sequence[str]:
    """Write an entry in a transaction; returns the deliveries that `tell` is to be given after it."""
    told = await recording.record(connection, [entry], mail=context.settings.smtp_url is not None, now=clock.now())
    return told.get(entry.id, ())


async def tell(context: Context, deliveries: Sequence[str]) -> None:
    """Have deliveries begin that were just written. If the engine cannot be told now, the reconciler starts them."""
    if deliveries:
        with suppress(LifecycleError, TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await context.client.begin(Begin(deliveries=tuple(deliveries)))
