"""API keys: made, shown once, stored hashed, looked up through a cache that outlives a database outage.

A key reads `lck_<id>_<secret>`. The secret has 256 random bits, so one SHA-256 is enough to store it: there is
nothing to guess that a slow hash would protect.
"""

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lifecycle import clock, ids
from lifecycle.access import store
from lifecycle.db import Connection, Database, DatabaseDownError, refusal
from lifecycle.errors import Code, LifecycleError
from lifecycle.ledger import recording
from lifecycle.ledger.entry import SYSTEM, Entry
from lifecycle.models import Actor, Role

_FORM = re.compile(r"lck_(?P<id>[0-9a-z]{26})_(?P<secret>[A-Za-z0-9_-]{43})")
_CACHED_KEYS = 10_000
# A database that is down must not make every request of a known key wait: one asks, this rarely and this long.
_LOOK_UP_DEADLINE = timedelta(seconds=2)
_ASK_AGAIN = timedelta(seconds=5)


class NewKey(NamedTuple):
    """A key just made. `token` is the only copy of its secret."""

    id: str
    token: str


class _Seen(NamedTuple):
    actor: Actor
    at: datetime


async def create(db: Database, *, workspace: str, person: str, role: Role, by: Actor | None) -> NewKey:
    """Make a key for `person` and record who made it.

    Args:
        db: where to store it.
        workspace: id of the workspace it opens.
        person: whose key it is; two keys of one person never count as two administrators.
        role: what it may do.
        by: who makes it; None when it is made from the command line of the server.
    """
    key_id = ids.new("key")
    secret = secrets.token_urlsafe(32)
    row = store.KeyRow(key_id, workspace, person, role, clock.now(), by.person if by else SYSTEM, None)

    async def work(connection: Connection) -> None:
        await store.insert_key(connection, row, secret_sha256=_digest(secret))
        await recording.record_untold(connection, [_entry("key.created", row, by, row.created_at)])

    await db.transaction(work)
    return NewKey(key_id, f"lck_{key_id.removeprefix('key_')}_{secret}")


async def revoke(db: Database, *, key_id: str, by: Actor) -> None:
    """End a key of the actor's workspace. Revoking again changes nothing.

    Raises:
        LifecycleError: `key_not_found`.
    """
    now = clock.now()

    async def work(connection: Connection) -> None:
        row = await store.revoke_key(connection, workspace_id=by.workspace, key_id=key_id, now=now)
        if row is None:
            raise LifecycleError(Code.KEY_NOT_FOUND, key=key_id)
        await recording.record_untold(connection, [_entry("key.revoked", row, by, now)])

    await db.transaction(work)


class Keyring:
    """Answers who stands behind a token.

    Args:
        db: where the keys are.
        ttl: how long an answer counts as fresh.
        outage: how long an answer is still good while the database is down, so that a cancel gets through.
    """

    def __init__(self, db: Database, *, ttl: timedelta, outage: timedelta) -> None:
        self._db = db
        self._ttl = ttl
        self._outage = outage
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._down_until = datetime.min.replace(tzinfo=UTC)

    async def who(self, token: str) -> Actor:
        """The actor behind `token`.

        Raises:
            LifecycleError: `key_invalid`, or `database_unavailable` for a key not seen before.
        """
        form = _FORM.fullmatch(token)
        if form is None:
            raise LifecycleError(Code.KEY_INVALID)
        fingerprint = _digest(token)
        seen = self._seen.get(fingerprint)
        now = clock.now()
        usable = seen is not None and now - seen.at < self._outage
        if seen is not None and (now - seen.at < self._ttl or (usable and now < self._down_until)):
            return seen.actor
        try:
            actor = await self._look_up(f"key_{form['id']}", form["secret"])
        except DatabaseDownError as error:
            self._down_until = clock.now() + _ASK_AGAIN
            if seen is not None and usable:
                return seen.actor
            raise refusal(error) from error
        if actor is None:
            self._seen.pop(fingerprint, None)
            raise LifecycleError(Code.KEY_INVALID)
        self._remember(fingerprint, _Seen(actor, now))
        return actor

    def forget(self, key_id: str) -> None:
        """Drop a key that was revoked through this process, so that it ends at once here."""
        for fingerprint in [mark for mark, seen in self._seen.items() if seen.actor.key == key_id]:
            del self._seen[fingerprint]

    def _remember(self, fingerprint: str, seen: _Seen) -> None:
        self._seen[fingerprint] = seen
        self._seen.move_to_end(fingerprint)
        while len(self._seen) > _CACHED_KEYS:
            self._seen.popitem(last=False)

    async def _look_up(self, key_id: str, secret: str) -> Actor | None:
        found = await store.find_key(self._db, key_id, deadline=_LOOK_UP_DEADLINE)
        if found is None:
            return None
        row, secret_sha256 = found
        if row.revoked_at is not None or not hmac.compare_digest(secret_sha256, _digest(secret)):
            return None
        return Actor(workspace=row.workspace_id, key=row.id, person=row.person, role=row.role)


def _entry(action: str, row: store.KeyRow, by: Actor | None, at: datetime) -> Entry:
    return Entry(
        id=f"{row.id}.{action}",
        sequence=1,
        workspace=row.workspace_id,
        action=action,
        actor=by,
        at=at,
        detail={"key": row.id, "person": row.person, "role": row.role.value},
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
