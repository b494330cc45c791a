"""CertificateUpkeep: makes the gateway serve what the database says, and removes what issuances left behind.

Object key: `"upkeep"`. Sent by each sweep of the Reconciler; one at a time, and nobody waits for it.
"""

import logging
from collections.abc import Awaitable
from datetime import timedelta

from restate import ObjectContext, TerminalError, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.certs import delivery, proving, retention_store, watch
from lifecycle.certs.retention_store import Kept
from lifecycle.deploy.gateway import GatewayDownError

KEY = "upkeep"
# An issuance that is only waiting keeps what it has published; so young a row may be of one that just begins.
_LEFT_FOR = timedelta(minutes=1)
# So much of each kind in one sweep, so that none of them keeps the others, or the database, for long.
_WITHDRAWN_AT_ONCE, _FORGOTTEN_AT_ONCE = 100, 500
_log = logging.getLogger(__name__)

certificate_upkeep = VirtualObject(
    "CertificateUpkeep",
    description="Makes the gateway serve what the database says, and removes what issuances left behind.",
    ingress_private=True,
    journal_retention=timedelta(0),
    invocation_retry_policy=policies.PLATFORM.invocations(),
)


@certificate_upkeep.handler()
async def keep_up(ctx: ObjectContext) -> None:
    """Mend once. What cannot be mended now is for the next time, and keeps nothing else from being mended."""
    await _or_later(ctx.run_typed("synchronise", _synchronise, policies.LOOK.options(type(None))))
    await _or_later(ctx.run_typed("withdraw", _withdraw, policies.LOOK.options(type(None))))
    await _or_later(ctx.run_typed("forget", _forget, policies.LOOK.options(type(None))))


async def _or_later(step: Awaitable[None]) -> None:
    try:
        await step
    except TerminalError as error:
        _log.warning("not mended now: %s", error.message)


async def _synchronise() -> None:
    differences = await delivery.synchronise()
    for difference in differences.found:
        _log.warning("gateway was mended: %s", difference)


async def _withdraw() -> None:
    available, now = resources.current(), clock.now()
    left = await retention_store.left_behind(available.db, before=now - _LEFT_FOR, limit=_WITHDRAWN_AT_ONCE)
    if not left:
        return
    at_work = await watch.unfinished(available.engine)
    # Before anything is tried: what cannot be removed comes after the others the next time.
    await retention_store.note_looked(available.db, left, now)
    for issuance in left:
        if issuance.removesuffix("_r") not in at_work:
            _log.warning("issuance %s left something published; it is removed", issuance)
            try:
                await proving.withdraw(issuance)
            except (RuntimeError, GatewayDownError) as error:  # the others are not to wait for this one
                _log.warning("%s", error)


async def _forget() -> None:
    available, now = resources.current(), clock.now()
    settings = available.settings
    kept = Kept(keys=settings.certificate_keys_kept, certificates=settings.certificates_kept)
    destroyed = await retention_store.destroy_keys(available.db, kept, now, limit=_FORGOTTEN_AT_ONCE)
    removed = await retention_store.forget(available.db, kept, now, limit=_FORGOTTEN_AT_ONCE)
    if destroyed or removed:
        _log.info("destroyed %s private keys of former certificates, removed %s rows", destroyed, removed)
