"""The one place that writes entries: audit rows, projections, and the deliveries that tell people, all at once."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from lifecycle.db import Connection
from lifecycle.ledger import store
from lifecycle.ledger.entry import Entry
from lifecycle.notifications import events
from lifecycle.notifications import store as notifications_store


async def record(
    connection: Connection, entries: Sequence[Entry], *, mail: bool, now: datetime
) -> Mapping[str, tuple[str, ...]]:
    """Write entries, and who is to be told of them; repeating it changes nothing.

    Args:
        connection: of a transaction; what the entries tell of is written in it too.
        entries: in any number.
        mail: whether mail can be sent.
        now: the present moment.

    Returns:
        The ids of the deliveries of each entry that has some. They begin when they are sent to `Notifier`, or when the
        reconciler finds them.
    """
    told = await notifications_store.enqueue(connection, entries, mail=mail, now=now)
    await store.record(connection, entries)
    return told


async def record_untold(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries that nobody is told of, such as those about API keys.

    Raises:
        ValueError: people are told of one of them.
    """
    if notable := [entry.action for entry in entries if events.is_notable(entry.action)]:
        raise ValueError(f"people are told of {notable[0]}")
    await store.record(connection, entries)
