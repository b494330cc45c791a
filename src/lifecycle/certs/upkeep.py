"""CertificateUpkeep: makes the gateway serve what the database says, and removes what challenges left behind.

Object key: `"upkeep"`. Sent by each sweep of the Reconciler; one at a time, and nobody waits for it.
"""

import logging
from datetime import timedelta

from restate import ObjectContext, VirtualObject

from lifecycle import clock, policies, resources
from lifecycle.certs import delivery, orders_store, proving, watch

KEY = "upkeep"
# An issuance that is only waiting keeps what it has published; so young a row may be of one that just begins.
_LEFT_FOR = timedelta(minutes=1)
_log = logging.getLogger(__name__)

certificate_upkeep = VirtualObject(
    "CertificateUpkeep",
    description="Makes the gateway serve what the database says, and removes what challenges left behind.",
    ingress_private=True,
    journal_retention=timedelta(0),
    invocation_retry_policy=policies.PLATFORM.invocations(),
)


@certificate_upkeep.handler()
async def keep_up(ctx: ObjectContext) -> None:
    """Mend once. What cannot be mended now is for the next time."""
    await ctx.run_typed("synchronise", _synchronise, policies.LOOK.options(type(None)))
    await ctx.run_typed("withdraw", _withdraw, policies.LOOK.options(type(None)))


async def _synchronise() -> None:
    differences = await delivery.synchronise()
    for difference in differences.found:
        _log.warning("gateway was mended: %s", difference)


async def _withdraw() -> None:
    available = resources.current()
    left = await orders_store.left_behind(available.db, before=clock.now() - _LEFT_FOR)
    if not left:
        return
    at_work = await watch.unfinished(available.engine)
    for issuance in left:
        if issuance.removesuffix("_r") not in at_work:
            _log.warning("issuance %s left something published; it is removed", issuance)
            try:
                await proving.withdraw(issuance)
            except RuntimeError as error:  # the others are not to wait for this one
                _log.warning("%s", error)
