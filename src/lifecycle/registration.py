"""Keeps the worker known to the engine, and the reconciler's loop alive."""

import asyncio
import logging
from datetime import timedelta

from lifecycle.client import Client
from lifecycle.receipts import signing
from lifecycle.resources import Resources

_RETRY = timedelta(seconds=1)
_log = logging.getLogger(__name__)


async def keep_registered(available: Resources, client: Client, url: str) -> None:
    """Register the worker at `url`, then look once per reconciler interval that all is still in place.

    An engine that lost its data learns of the worker again. One that knows it is left alone: registering again
    would make an old worker that is being drained the newest.
    """
    said = ""
    while True:
        pause = _RETRY
        try:
            await _ensure(available, client, url)
        except Exception as error:  # noqa: BLE001  whatever it is, the loop must go on: nothing else starts it again
            news = f"not registered, trying again: {error}"
        else:
            news = f"registered as {url}" if available.settings.worker_register else "the engine answers"
            pause = available.settings.reconciler_interval
        if news != said:
            _log.info("%s", news)
            said = news
        await asyncio.sleep(pause.total_seconds())


async def _ensure(available: Resources, client: Client, url: str) -> None:
    if available.settings.worker_register:
        known = {deployment.uri.rstrip("/") for deployment in await available.engine.deployments()}
        if url not in known:
            await available.engine.register(url)
    await client.start_reconciler()
    await signing.ensure_key(available.db, available.vault)
