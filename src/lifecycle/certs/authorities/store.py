"""SQL: accounts at certificate authorities, their circuit breakers and rate limits, and rehearsals."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.certs.authorities.breaker import Breaker
from lifecycle.certs.authorities.budget import Bucket, Event, Limit, Place
from lifecycle.db import Connection, Database, Row

_BATCH = 1000


class AccountRow(NamedTuple):
    """An account as it is stored.

    Attributes:
        url: None until the CA has given one, and after it has forgotten the account.
        status: as the CA gives it; `new` before that, `deactivating` while we end it.
        sealed_next_key: set while another key is on its way.
    """

    ca: str
    directory_url: str
    url: str | None
    status: str
    sealed_key: str
    sealed_next_key: str | None
    created_at: datetime
    rolled_over_at: datetime | None


async def account(db: Database, ca: str) -> AccountRow | None:
    """The account at a CA."""
    row = await db.one("SELECT * FROM acme_accounts WHERE ca = %s", ca)
    return None if row is None else _account(row)


async def accounts(db: Database) -> Mapping[str, AccountRow]:
    """All accounts, by name of the CA."""
    return {row["ca"]: _account(row) for row in await db.all("SELECT * FROM acme_accounts")}


async def insert_account(db: Database, *, ca: str, directory_url: str, sealed_key: str, now: datetime) -> None:
    """Store a new key, unless there is one."""
    await db.execute(
        "INSERT INTO acme_accounts (ca, directory_url, status, sealed_key, created_at) VALUES (%s, %s, 'new', %s, %s) "
        "ON DUPLICATE KEY UPDATE ca = acme_accounts.ca",
        ca,
        directory_url,
        sealed_key,
        now,
    )


async def move_account(db: Database, row: AccountRow, *, directory_url: str) -> None:
    """Take the key to another directory, where it has no account yet."""
    await db.execute(
        "UPDATE acme_accounts SET directory_url = %s, url = NULL, status = 'new', sealed_next_key = NULL "
        "WHERE ca = %s AND directory_url = %s",
        directory_url,
        row.ca,
        row.directory_url,
    )


async def restart_account(db: Database, row: AccountRow, *, sealed_key: str, now: datetime) -> None:
    """Begin anew with another key, after the account was deactivated."""
    await db.execute(
        "UPDATE acme_accounts SET sealed_key = %s, sealed_next_key = NULL, url = NULL, status = 'new', "
        "created_at = %s, rolled_over_at = NULL WHERE ca = %s AND status = 'deactivated'",
        sealed_key,
        now,
        row.ca,
    )


async def set_url(db: Database, row: AccountRow, *, url: str, status: str) -> None:
    """Note what the CA gave, if nobody has done so and the account is still meant for this directory."""
    await db.execute(
        "UPDATE acme_accounts SET url = %s, status = %s WHERE ca = %s AND url IS NULL AND directory_url = %s",
        url,
        status,
        row.ca,
        row.directory_url,
    )


async def set_status(db: Database, ca: str, *, status: str) -> None:
    """Note how the account stands."""
    await db.execute("UPDATE acme_accounts SET status = %s WHERE ca = %s", status, ca)


async def forget_url(db: Database, ca: str, *, url: str) -> None:
    """Forget what the CA has forgotten, unless it has given another one since."""
    await db.execute("UPDATE acme_accounts SET url = NULL, status = 'new' WHERE ca = %s AND url = %s", ca, url)


async def set_next_key(db: Database, ca: str, *, sealed_next_key: str) -> None:
    """Store the key to come, unless one is on its way."""
    await db.execute(
        "UPDATE acme_accounts SET sealed_next_key = %s WHERE ca = %s AND sealed_next_key IS NULL", sealed_next_key, ca
    )


async def promote_key(db: Database, row: AccountRow, *, now: datetime) -> bool:
    """Make the next key the present one; False when the row has changed meanwhile."""
    # From left to right: the first assignment reads what the second one removes.
    changed = await db.execute(
        "UPDATE acme_accounts SET sealed_key = sealed_next_key, sealed_next_key = NULL, rolled_over_at = %s "
        "WHERE ca = %s AND sealed_next_key = %s",
        now,
        row.ca,
        row.sealed_next_key,
    )
    return changed == 1


async def drop_next_key(db: Database, row: AccountRow) -> None:
    """Give up the next key, which the CA does not take."""
    await db.execute(
        "UPDATE acme_accounts SET sealed_next_key = NULL WHERE ca = %s AND sealed_next_key = %s",
        row.ca,
        row.sealed_next_key,
    )


async def breakers(db: Database) -> Mapping[str, Breaker]:
    """Every breaker that was ever used, by name of the CA."""
    return {row["ca"]: _breaker(row) for row in await db.all("SELECT * FROM acme_breakers")}


async def change_breaker(
    db: Database, ca: str, change: Callable[[Breaker], Breaker | None], *, now: datetime
) -> Breaker | None:
    """Put another breaker in the place of the present one, alone with it.

    Args:
        db: the database.
        ca: whose.
        change: from what it is to what it shall be; None leaves it as it is.
        now: for the row.

    Returns:
        What `change` returned.
    """

    async def work(connection: Connection) -> Breaker | None:
        # There must be a row to lock: two that lock a gap, and then fill it, block each other.
        await connection.execute(
            "INSERT INTO acme_breakers (ca, last_error, updated_at) VALUES (%s, '', %s) "
            "ON DUPLICATE KEY UPDATE ca = acme_breakers.ca",
            ca,
            now,
        )
        row = await connection.one("SELECT * FROM acme_breakers WHERE ca = %s FOR UPDATE", ca)
        changed = None if row is None else change(_breaker(row))
        if changed is not None:
            await connection.execute(
                "UPDATE acme_breakers SET failures = %s, open_until = %s, probing_until = %s, last_error = %s, "
                "updated_at = %s WHERE ca = %s",
                changed.failures,
                changed.open_until,
                changed.probing_until,
                changed.last_error,
                now,
                ca,
            )
        return changed

    return await db.transaction(work)


async def buckets(db: Database, ca: str, places: Iterable[Place]) -> Mapping[Place, Bucket]:
    """Those of these buckets that were ever used."""
    wanted = list(places)

    async def work(connection: Connection) -> Mapping[Place, Bucket]:
        found = {place: await _bucket(connection, ca, place) for place in wanted}
        return {place: bucket for place, bucket in found.items() if bucket is not None}

    return await db.transaction(work)


async def blocked(db: Database, ca: str, *, now: datetime) -> Mapping[Place, Bucket]:
    """The buckets that a CA holds back now."""
    rows = await db.all("SELECT * FROM rate_limits WHERE ca = %s AND blocked_until > %s", ca, now)
    return {Place(Limit(row["limit_name"]), row["subject"]): _to_bucket(row) for row in rows}


async def used_buckets(db: Database, ca: str, *, limit: int) -> Mapping[Place, Bucket]:
    """The buckets of a CA that were used last."""
    rows = await db.all(
        "SELECT * FROM rate_limits WHERE ca = %s ORDER BY subject = '' DESC, at DESC LIMIT %s", ca, limit
    )
    return {Place(Limit(row["limit_name"]), row["subject"]): _to_bucket(row) for row in rows}


async def spend(
    db: Database,
    ca: str,
    event: Event,
    reference: str,
    takes: Mapping[Place, Callable[[Bucket | None], Bucket]],
    *,
    now: datetime,
) -> bool:
    """Take tokens in one transaction, once for each event and reference; False when that was done before."""

    async def work(connection: Connection) -> bool:
        new = await connection.execute(
            "INSERT INTO rate_limit_spendings (ca, event, reference, at) VALUES (%s, %s, %s, %s) "
            "ON DUPLICATE KEY UPDATE ca = rate_limit_spendings.ca",
            ca,
            event.value,
            reference,
            now,
        )
        if not new:
            return False
        for place in sorted(takes):  # in one order, so that two never wait for each other
            await _make_row(connection, ca, place, now)
        for place, take in sorted(takes.items()):
            row = await connection.one(
                "SELECT * FROM rate_limits WHERE ca = %s AND limit_name = %s AND subject = %s FOR UPDATE",
                ca,
                place.limit.value,
                place.subject,
            )
            bucket = take(None if row is None or row["tokens"] < 0 else _to_bucket(row))
            await connection.execute(
                "UPDATE rate_limits SET tokens = %s, at = %s WHERE ca = %s AND limit_name = %s AND subject = %s",
                bucket.tokens,
                bucket.at,
                ca,
                place.limit.value,
                place.subject,
            )
        return True

    return await db.transaction(work)


async def block(db: Database, ca: str, place: Place, *, full: float, until: datetime, now: datetime) -> None:
    """Note until when the CA refuses; a later moment that is known stays."""
    await db.execute(
        "INSERT INTO rate_limits (ca, limit_name, subject, tokens, at, blocked_until) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE blocked_until = GREATEST(COALESCE(blocked_until, VALUES(blocked_until)), "
        "VALUES(blocked_until))",
        ca,
        place.limit.value,
        place.subject,
        full,
        now,
        until,
    )


async def forget_spendings(db: Database, *, before: datetime) -> None:
    """Remove what is too old to mean anything: buckets that are full again, and what was counted long ago."""
    await db.execute("DELETE FROM rate_limit_spendings WHERE at < %s LIMIT %s", before, _BATCH)
    await db.execute(
        "DELETE FROM rate_limits WHERE at < %s AND (blocked_until IS NULL OR blocked_until < %s) LIMIT %s",
        before,
        before,
        _BATCH,
    )


async def rehearsed(db: Database, ca: str, names_digest: str) -> bool:
    """Whether these names were issued at the staging authority of this CA."""
    row = await db.one("SELECT 1 FROM rehearsals WHERE ca = %s AND names_digest = %s LIMIT 1", ca, names_digest)
    return row is not None


async def insert_rehearsal(db: Database, *, ca: str, domain: str, names_digest: str, now: datetime) -> None:
    """Note that they were; the first time stays."""
    await db.execute(
        "INSERT INTO rehearsals (ca, domain, names_digest, at) VALUES (%s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE ca = rehearsals.ca",
        ca,
        domain,
        names_digest,
        now,
    )


async def names_of_workspace(db: Database, workspace: str) -> Sequence[str]:
    """The names of each certificate of a workspace, as JSON arrays."""
    rows = await db.all("SELECT names FROM certificate_domains WHERE workspace_id = %s", workspace)
    return [row["names"] for row in rows]


async def _make_row(connection: Connection, ca: str, place: Place, now: datetime) -> None:
    # No bucket has less than nothing in it: the mark of a row that was just made, and is filled in a moment.
    await connection.execute(
        "INSERT INTO rate_limits (ca, limit_name, subject, tokens, at) VALUES (%s, %s, %s, -1, %s) "
        "ON DUPLICATE KEY UPDATE ca = rate_limits.ca",
        ca,
        place.limit.value,
        place.subject,
        now,
    )


async def _bucket(connection: Connection, ca: str, place: Place) -> Bucket | None:
    row = await connection.one(
        "SELECT * FROM rate_limits WHERE ca = %s AND limit_name = %s AND subject = %s",
        ca,
        place.limit.value,
        place.subject,
    )
    return None if row is None else _to_bucket(row)


def _account(row: Row) -> AccountRow:
    return AccountRow(*(row[name] for name in AccountRow._fields))


def _breaker(row: Row) -> Breaker:
    return Breaker(*(row[name] for name in Breaker._fields))


def _to_bucket(row: Row) -> Bucket:
    return Bucket(*(row[name] for name in Bucket._fields))
