"""SQL: webhooks, and people who get mail."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from lifecycle.db import Connection, Database, Row
from lifecycle.notifications import events
from lifecycle.notifications.mail import is_address
from lifecycle.notifications.model import Channel, WebhookState


class Target(NamedTuple):
    """Somebody who may want to be told: the id of a webhook, or an address.

    Attributes:
        is_off: a webhook that is disabled; what it misses is kept for it.
    """

    workspace: str
    channel: Channel
    name: str
    patterns: tuple[str, ...]
    is_off: bool = False


class Webhook(NamedTuple):
    """A webhook; its secrets are sealed for its id.

    Attributes:
        events: patterns of the types that it gets.
        sealed_former: the secret before this one, which still signs until `former_until`.
        reason: why it is disabled; empty when it is not.
        failing_since: the first failure behind its last success; none when all is well.
        resting_until: until when it is left alone, because it just failed.
    """

    id: str
    workspace: str
    url: str
    description: str
    events: tuple[str, ...]
    sealed_secret: str
    sealed_former: str | None
    former_until: datetime | None
    state: WebhookState
    reason: str
    failing_since: datetime | None
    resting_until: datetime | None
    created_at: datetime
    created_by: str


class Recipient(NamedTuple):
    """An address, and patterns of the types of events that mail to it is about."""

    address: str
    events: tuple[str, ...]
    created_at: datetime
    created_by: str


def bound_to(webhook: str) -> str:
    """What the secrets of a webhook are sealed for."""
    return webhook


async def insert_webhook(connection: Connection, hook: Webhook) -> None:
    """Store a new webhook."""
    await connection.execute(
        "INSERT INTO webhooks (id, workspace_id, url, description, events, sealed_secret, state, created_at, "
        "created_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        hook.id,
        hook.workspace,
        hook.url,
        hook.description,
        json.dumps(hook.events),
        hook.sealed_secret,
        hook.state.value,
        hook.created_at,
        hook.created_by,
    )


async def count_webhooks(connection: Connection, workspace: str) -> int:
    """How many a workspace has; nobody adds one until the end of the transaction."""
    await connection.all("SELECT id FROM workspaces WHERE id = %s FOR UPDATE", workspace)
    rows = await connection.all("SELECT id FROM webhooks WHERE workspace_id = %s", workspace)
    return len(rows)


async def update_webhook(connection: Connection, hook: Webhook) -> None:
    """Write what people may change of a webhook."""
    await connection.execute(
        "UPDATE webhooks SET url = %s, description = %s, events = %s, state = %s, reason = %s, failing_since = %s, "
        "resting_until = %s, sealed_secret = %s, sealed_former_secret = %s, former_until = %s WHERE id = %s",
        hook.url,
        hook.description,
        json.dumps(hook.events),
        hook.state.value,
        hook.reason,
        hook.failing_since,
        hook.resting_until,
        hook.sealed_secret,
        hook.sealed_former,
        hook.former_until,
        hook.id,
    )


async def delete_webhook(connection: Connection, webhook: str) -> None:
    """Remove a webhook; what was delivered to it stays known."""
    await connection.execute("DELETE FROM webhooks WHERE id = %s", webhook)


async def webhooks(db: Database, workspace: str) -> Sequence[Webhook]:
    """All webhooks of a workspace, newest first."""
    rows = await db.all("SELECT * FROM webhooks WHERE workspace_id = %s ORDER BY id DESC", workspace)
    return [_webhook(row) for row in rows]


async def find_webhook(db: Database, webhook: str, *, workspace: str) -> Webhook | None:
    """One webhook of a workspace."""
    row = await db.one("SELECT * FROM webhooks WHERE id = %s AND workspace_id = %s", webhook, workspace)
    return None if row is None else _webhook(row)


async def locked_webhook(connection: Connection, webhook: str, *, workspace: str) -> Webhook | None:
    """One webhook of a workspace, which nobody else changes until the end of the transaction."""
    row = await connection.one(
        "SELECT * FROM webhooks WHERE id = %s AND workspace_id = %s FOR UPDATE", webhook, workspace
    )
    return None if row is None else _webhook(row)


async def note_success(connection: Connection, webhook: str) -> None:
    """It took a message."""
    await connection.execute(
        "UPDATE webhooks SET failing_since = NULL, resting_until = NULL WHERE id = %s AND failing_since IS NOT NULL",
        webhook,
    )


async def note_failure(connection: Connection, webhook: str, *, since: datetime, resting_until: datetime) -> None:
    """It did not take a message, and none from `since` on."""
    await connection.execute(
        "UPDATE webhooks SET failing_since = %s, resting_until = %s WHERE id = %s", since, resting_until, webhook
    )


async def count_other_recipients(connection: Connection, workspace: str, address: str) -> int:
    """How many others are set in a workspace; nobody sets one until the end of the transaction."""
    await connection.all("SELECT id FROM workspaces WHERE id = %s FOR UPDATE", workspace)
    rows = await connection.all(
        "SELECT address FROM recipients WHERE workspace_id = %s AND address <> %s", workspace, address
    )
    return len(rows)


async def put_recipient(connection: Connection, workspace: str, recipient: Recipient) -> None:
    """Say what an address gets."""
    await connection.execute(
        "INSERT INTO recipients (workspace_id, address, events, created_at, created_by) VALUES (%s, %s, %s, %s, %s) "
        "ON DUPLICATE KEY UPDATE events = VALUES(events)",
        workspace,
        recipient.address,
        json.dumps(recipient.events),
        recipient.created_at,
        recipient.created_by,
    )


async def delete_recipient(connection: Connection, workspace: str, address: str) -> bool:
    """Forget an address; whether there was one."""
    found = await connection.execute(
        "DELETE FROM recipients WHERE workspace_id = %s AND address = %s", workspace, address
    )
    return bool(found)


async def recipients(db: Database, workspace: str) -> Sequence[Recipient]:
    """The addresses of a workspace that somebody set, in order."""
    rows = await db.all("SELECT * FROM recipients WHERE workspace_id = %s ORDER BY address", workspace)
    return [
        Recipient(row["address"], tuple(json.loads(row["events"])), row["created_at"], row["created_by"])
        for row in rows
    ]


async def administrators(db: Database, workspace: str) -> Sequence[str]:
    """The people behind the valid administrator keys of a workspace."""
    rows = await db.all(
        "SELECT DISTINCT person FROM api_keys WHERE workspace_id = %s AND role = 'administrator' "
        "AND revoked_at IS NULL ORDER BY person",
        workspace,
    )
    return [str(row["person"]) for row in rows]


async def patterns_of(db: Database, workspace: str, address: str) -> Sequence[str]:
    """The types of events that mail to an address is about, as things are now; none for one that gets no mail."""
    row = await db.one("SELECT events FROM recipients WHERE workspace_id = %s AND address = %s", workspace, address)
    if row is not None:
        return tuple(json.loads(row["events"]))
    people = await administrators(db, workspace)
    return events.BY_DEFAULT if address in {person.lower() for person in people} else ()


async def workspace_called(db: Database, name: str) -> str | None:
    """The id of the workspace with this name."""
    row = await db.one("SELECT id FROM workspaces WHERE name = %s", name)
    return None if row is None else str(row["id"])


async def targets(connection: Connection, workspaces: set[str], *, mail: bool) -> Sequence[Target]:
    """Whom events of these workspaces may be told to: webhooks, and people if mail can be sent."""
    wanted = json.dumps(sorted(workspaces))
    rows = await connection.all(
        "SELECT webhooks.workspace_id, webhooks.id, webhooks.events, webhooks.state FROM webhooks "
        "JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(40) PATH '$')) AS wanted "
        "ON webhooks.workspace_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin "
        "ORDER BY webhooks.id",
        wanted,
    )
    found = [
        Target(
            row["workspace_id"],
            Channel.WEBHOOK,
            row["id"],
            tuple(json.loads(row["events"])),
            is_off=row["state"] != WebhookState.ENABLED.value,
        )
        for row in rows
    ]
    if not mail:
        return found
    rows = await connection.all(
        "SELECT recipients.workspace_id, recipients.address, recipients.events FROM recipients "
        "JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(40) PATH '$')) AS wanted "
        "ON recipients.workspace_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin",
        wanted,
    )
    chosen = {(row["workspace_id"], row["address"]): tuple(json.loads(row["events"])) for row in rows}
    rows = await connection.all(
        "SELECT DISTINCT api_keys.workspace_id, api_keys.person FROM api_keys "
        "JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(40) PATH '$')) AS wanted "
        "ON api_keys.workspace_id = CONVERT(wanted.id USING utf8mb4) COLLATE utf8mb4_bin "
        "WHERE api_keys.role = 'administrator' AND api_keys.revoked_at IS NULL AND api_keys.person LIKE '%%@%%'",
        wanted,
    )
    by_default = {
        (row["workspace_id"], row["person"].lower()): tuple(events.BY_DEFAULT)
        for row in rows
        if is_address(row["person"])
    }
    return [
        *found,
        *(
            Target(workspace, Channel.MAIL, address, patterns)
            for (workspace, address), patterns in sorted({**by_default, **chosen}.items())
        ),
    ]


async def is_enabled(connection: Connection, webhook: str) -> bool:
    """Whether a webhook is sent to, which nobody changes until the end of the transaction."""
    row = await connection.one("SELECT state FROM webhooks WHERE id = %s LOCK IN SHARE MODE", webhook)
    return row is not None and row["state"] == WebhookState.ENABLED.value


def _webhook(row: Row) -> Webhook:
    return Webhook(
        id=row["id"],
        workspace=row["workspace_id"],
        url=row["url"],
        description=row["description"],
        events=tuple(json.loads(row["events"])),
        sealed_secret=row["sealed_secret"],
        sealed_former=row["sealed_former_secret"],
        former_until=row["former_until"],
        state=WebhookState(row["state"]),
        reason=row["reason"],
        failing_since=row["failing_since"],
        resting_until=row["resting_until"],
        created_at=row["created_at"],
        created_by=row["created_by"],
    )
