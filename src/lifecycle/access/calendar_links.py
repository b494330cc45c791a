"""Links to the calendar feed: made, shown once, stored hashed, revocable.

Programs that show calendars send no header, so the secret is in the address. Hence it opens the feed and nothing else:
who reads it in a history or a log can see what is going to happen, and change nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle import clock, ids
from lifecycle.access import calendar_store
from lifecycle.access.calendar_store import LinkRow
from lifecycle.db import Connection, Database
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger import recording
from lifecycle.ledger.entry import Entry
from lifecycle.models import Actor, Role

# One for each program of a person, and some to spare. Whoever needs more shares one.
MOST_LINKS = 20
# That are listed; the audit log keeps all.
_MOST_REVOKED = 50
_FORM = re.compile(r"lcl_(?P<id>[0-9a-z]{26})_(?P<secret>[A-Za-z0-9_-]{43})")


class NewLink(NamedTuple):
    """A link just made. `token` is the only copy of its secret."""

    id: str
    token: str


async def create(db: Database, *, by: Actor) -> NewLink:
    """Make a link to the feed of the actor's workspace, for as long as they hold a key of it.

    Raises:
        LifecycleError: `too_many_calendar_links`.
    """
    link_id = ids.new("cal")
    secret = secrets.token_urlsafe(32)
    row = LinkRow(link_id, by.workspace, by.person, clock.now(), None)

    async def work(connection: Connection) -> None:
        counts = await calendar_store.count(connection, workspace=by.workspace, person=by.person)
        if counts.valid >= MOST_LINKS:
            raise LifecycleError(Code.TOO_MANY_CALENDAR_LINKS, limit=str(MOST_LINKS))
        if counts.revoked > _MOST_REVOKED:
            await calendar_store.forget_oldest(
                connection, workspace=by.workspace, person=by.person, count=counts.revoked - _MOST_REVOKED
            )
        await calendar_store.insert(connection, row, secret_sha256=_digest(secret))
        await recording.record_untold(connection, [_entry("calendar_link.created", row, by, row.created_at)])

    await db.transaction(work)
    return NewLink(link_id, f"lcl_{link_id.removeprefix('cal_')}_{secret}")


async def list_links(db: Database, *, by: Actor) -> Sequence[LinkRow]:
    """The links the actor may revoke, newest first: their own; those of everybody for an administrator."""
    return await calendar_store.list_links(db, workspace=by.workspace, person=_whose(by))


async def revoke(db: Database, *, link_id: str, by: Actor) -> None:
    """End a link: one's own, or anybody's for an administrator. Revoking again changes nothing.

    Raises:
        LifecycleError: `calendar_link_not_found`.
    """
    now = clock.now()

    async def work(connection: Connection) -> None:
        row = await calendar_store.revoke(
            connection, workspace=by.workspace, person=_whose(by), link_id=link_id, now=now
        )
        if row is None:
            raise LifecycleError(Code.CALENDAR_LINK_NOT_FOUND, link=link_id)
        await recording.record_untold(connection, [_entry("calendar_link.revoked", row, by, now)])

    await db.transaction(work)


async def workspace(db: Database, token: str) -> str:
    """Id of the workspace whose feed the token opens.

    Raises:
        LifecycleError: `calendar_link_invalid`.
    """
    form = _FORM.fullmatch(token)
    found = None if form is None else await calendar_store.find_valid(db, f"cal_{form['id']}")
    if form is None or found is None or not hmac.compare_digest(found[1], _digest(form["secret"])):
        raise LifecycleError(Code.CALENDAR_LINK_INVALID)
    return found[0].workspace_id


def _whose(by: Actor) -> str | None:
    return None if by.role.includes(Role.ADMINISTRATOR) else by.person


def _entry(action: str, row: LinkRow, by: Actor, at: datetime) -> Entry:
    return Entry(
        id=f"{row.id}.{action}",
        sequence=1,
        workspace=row.workspace_id,
        action=action,
        actor=by,
        at=at,
        detail={"link": row.id, "person": row.person},
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
