"""Ledger: records what happened.

    ProjectService ──one-way──> record ──> audit row, projection rows, delivery rows ──one-way──> Notifier.deliver

The whole handler is one idempotent write, so it needs no journal of its own: it is retried as a whole until
the database has it. Out of order or twice changes nothing (`Entry.id`, `Entry.sequence`). Which deliveries an entry
has is settled when it is first written, so a repetition sends the same messages.
"""

from datetime import timedelta

from restate import Context, Service

from lifecycle import policies, resources
from lifecycle.access import links
from lifecycle.ledger.entry import Entry
from lifecycle.notifications.model import Wake
from lifecycle.notifications.notifier import deliver
from lifecycle.observability import measures

ledger = Service(
    "Ledger",
    description="Records transitions in the audit log and the list of pending actions.",
    ingress_private=True,
    journal_retention=timedelta(0),  # the audit log is what remains of it
    invocation_retry_policy=policies.DATABASE.invocations(),
)


@ledger.handler()
async def record(ctx: Context, entry: Entry) -> None:
    """Write one entry."""
    available = resources.current()
    if entry.cancel_generation is not None and entry.project is not None:
        # Made here and not by the sender: the link is a secret, and messages stay in the engine's journal.
        link = links.CancelLink(entry.workspace, entry.project, entry.cancel_generation)
        address = links.url(available.vault, available.settings.api_url, link)
        entry = entry.model_copy(update={"detail": {**entry.detail, "cancel_url": address}})
    deliveries = await available.ledger.write(entry)
    measures.recorded(entry.action)
    for delivery in deliveries:
        ctx.object_send(deliver, delivery, Wake(generation=1))
