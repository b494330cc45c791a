"""SQL: audit log and pending actions."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lifecycle.db import Connection, Database, Row
from lifecycle.deploy.model import Status
from lifecycle.ledger.entry import SYSTEM, ActionState, Entry
from lifecycle.ledger.icalendar import Event


class Action(NamedTuple):
    """One row of the list of pending actions."""

    id: str
    kind: str
    subject: str
    label: str
    project: str | None
    due_at: datetime
    state: ActionState
    generation: int
    reason: str
    requested_by: str


class AuditRow(NamedTuple):
    """One row of the audit log. It was written as number `position`, which may differ from the order of events."""

    position: int
    id: str
    project: str | None
    action: str
    actor_key: str | None
    actor_person: str
    at: datetime
    detail: dict[str, Any]


class ActionFilter(NamedTuple):
    """Which actions to list; None means any."""

    workspace: str
    kind: str | None = None
    project: str | None = None
    state: ActionState | None = None
    closed_too: bool = False
    due_after: datetime | None = None
    due_before: datetime | None = None


class AuditFilter(NamedTuple):
    """Which entries of the audit log to list; None means any.

    Attributes:
        action: one such as `deletion.scheduled`, or all of a family as `deletion.*`.
        since: entries from then on.
        until: entries before then.
    """

    workspace: str
    project: str | None = None
    action: str | None = None
    person: str | None = None
    domain: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def record(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write the audit rows and bring the projections up to date; repeating it changes nothing."""
    await connection.execute_many(
        "INSERT INTO audit_log (id, workspace_id, project_id, action, actor_key, actor_person, at, detail) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE id = audit_log.id",
        [
            (
                entry.id,
                entry.workspace,
                entry.project,
                entry.action,
                entry.actor.key if entry.actor else None,
                entry.actor.person if entry.actor else SYSTEM,
                entry.at,
                json.dumps(dict(entry.detail)),
            )
            for entry in entries
        ],
    )
    await _project_actions(connection, entries)
    await _project_projects(connection, entries)
    await _project_deployments(connection, entries)
    await _project_certificates(connection, entries)


async def _project_actions(connection: Connection, entries: Sequence[Entry]) -> None:
    # `sequence` comes last: MySQL assigns from left to right, and every condition must see the stored one.
    await connection.execute_many(
        "INSERT INTO pending_actions (id, kind, subject, label, project_id, workspace_id, state, is_open, due_at, "
        "generation, sequence, reason, requested_by, updated_at) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE "
        "state = IF(VALUES(sequence) > sequence, VALUES(state), state), "
        "is_open = IF(VALUES(sequence) > sequence, VALUES(is_open), is_open), "
        "due_at = IF(VALUES(sequence) > sequence, VALUES(due_at), due_at), "
        "generation = IF(VALUES(sequence) > sequence, VALUES(generation), generation), "
        "reason = IF(VALUES(sequence) > sequence, VALUES(reason), reason), "
        "requested_by = IF(VALUES(sequence) > sequence, VALUES(requested_by), requested_by), "
        "project_id = IF(VALUES(sequence) > sequence, VALUES(project_id), project_id), "
        "workspace_id = IF(VALUES(sequence) > sequence, VALUES(workspace_id), workspace_id), "
        "updated_at = IF(VALUES(sequence) > sequence, VALUES(updated_at), updated_at), "
        "sequence = GREATEST(VALUES(sequence), sequence)",
        [
            (
                row.id,
                row.kind,
                row.subject,
                row.label,
                entry.project,
                entry.workspace,
                row.state.value,
                row.state.is_open,
                row.due_at,
                row.generation,
                entry.sequence,
                row.reason,
                row.requested_by,
                entry.at,
            )
            for entry in entries
            if (row := entry.pending_action) is not None
        ],
    )


async def _project_projects(connection: Connection, entries: Sequence[Entry]) -> None:
    newest = {
        entry.project: {**row.model_dump(), "id": entry.project, "sequence": entry.sequence}
        for entry in sorted(entries, key=lambda one: one.sequence)
        if (row := entry.project_row) is not None
    }
    # An update and no upsert: the row of a purged project must not come back.
    if newest:
        await connection.execute(
            "UPDATE projects JOIN JSON_TABLE(%s, '$[*]' COLUMNS (id VARCHAR(40) PATH '$.id', "
            "state VARCHAR(20) PATH '$.state', generation BIGINT PATH '$.generation', name VARCHAR(200) PATH '$.name', "
            "protected BOOLEAN PATH '$.protected', sequence BIGINT PATH '$.sequence')) AS newer "
            "ON projects.id = CONVERT(newer.id USING utf8mb4) COLLATE utf8mb4_bin "
            "SET projects.state = newer.state, projects.generation = newer.generation, projects.name = newer.name, "
            "projects.protected = newer.protected, projects.sequence = newer.sequence "
            "WHERE projects.sequence < newer.sequence",
            json.dumps(list(newest.values())),
        )


async def _project_deployments(connection: Connection, entries: Sequence[Entry]) -> None:
    # How far a rollout is, it writes down itself; a decision that began it may be recorded later than that.
    for row in sorted((row for entry in entries for row in entry.deployment_rows), key=lambda one: one.sequence):
        await connection.execute(
            "UPDATE deployments SET status = IF(%s OR status IN ('pending', 'queued'), %s, status), message = %s, "
            "sequence = %s WHERE id = %s AND sequence < %s",
            Status(row.status).is_terminal,
            row.status,
            row.message,
            row.sequence,
            row.id,
            row.sequence,
        )


async def _project_certificates(connection: Connection, entries: Sequence[Entry]) -> None:
    # The row of a certificate of a purged project must not come back; SELECT finds no project then.
    for entry in sorted(entries, key=lambda one: one.sequence):
        row = entry.certificate_row
        if row is None:
            continue
        await connection.execute(
            "INSERT INTO certificate_domains (domain, workspace_id, project_id, names, challenge, status, "
            "next_renewal_at, last_error, sequence, updated_at) SELECT %s, %s, %s, %s, %s, %s, %s, %s, %s, %s "
            "FROM DUAL WHERE %s IS NULL OR EXISTS (SELECT 1 FROM projects WHERE id = %s AND state <> 'purging') "
            "ON DUPLICATE KEY UPDATE "
            "workspace_id = IF(VALUES(sequence) > sequence, VALUES(workspace_id), workspace_id), "
            "project_id = IF(VALUES(sequence) > sequence, VALUES(project_id), project_id), "
            "names = IF(VALUES(sequence) > sequence, VALUES(names), names), "
            "challenge = IF(VALUES(sequence) > sequence, VALUES(challenge), challenge), "
            "status = IF(VALUES(sequence) > sequence, VALUES(status), status), "
            "next_renewal_at = IF(VALUES(sequence) > sequence, VALUES(next_renewal_at), next_renewal_at), "
            "last_error = IF(VALUES(sequence) > sequence, VALUES(last_error), last_error), "
            "updated_at = IF(VALUES(sequence) > sequence, VALUES(updated_at), updated_at), "
            "sequence = GREATEST(VALUES(sequence), sequence)",
            row.domain,
            entry.workspace,
            entry.project,
            json.dumps(row.names),
            row.challenge,
            row.status,
            row.next_renewal_at,
            row.last_error,
            entry.sequence,
            entry.at,
            *_twice(entry.project),
        )


async def list_actions(
    db: Database, wanted: ActionFilter, *, after: tuple[datetime, str] | None, limit: int
) -> Sequence[Action]:
    """Actions by due time, soonest first, from behind `after`."""
    due_after, after_id = after if after is not None else (datetime(1970, 1, 1, tzinfo=UTC), "")
    rows = await db.all(
        "SELECT * FROM pending_actions WHERE workspace_id = %s AND is_open IN (1, %s) "
        "AND (%s IS NULL OR kind = %s) AND (%s IS NULL OR project_id = %s) AND (%s IS NULL OR state = %s) "
        "AND (%s IS NULL OR due_at >= %s) AND (%s IS NULL OR due_at < %s) "
        "AND due_at >= %s AND (due_at > %s OR id > %s) ORDER BY due_at, id LIMIT %s",
        wanted.workspace,
        not wanted.closed_too,
        *_twice(wanted.kind),
        *_twice(wanted.project),
        *_twice(wanted.state.value if wanted.state else None),
        *_twice(wanted.due_after),
        *_twice(wanted.due_before),
        due_after,
        due_after,
        after_id,
        limit,
    )
    return [_action(row) for row in rows]


async def find_action(db: Database, *, workspace: str, action_id: str) -> Action | None:
    """One action of the workspace."""
    row = await db.one("SELECT * FROM pending_actions WHERE id = %s AND workspace_id = %s", action_id, workspace)
    return None if row is None else _action(row)


async def list_events(db: Database, *, workspace: str, closed_since: datetime, limit: int) -> Sequence[Event]:
    """Open actions, soonest first, then those closed since a time, the latest first: at most `limit` of each.

    What was closed just now is what programs have to hear of, whenever it would have been due.
    """
    # Two walks along two indexes; one condition with OR would read every action that ever was.
    rows = await db.all(
        "(SELECT * FROM pending_actions WHERE workspace_id = %s AND is_open = 1 ORDER BY due_at, id LIMIT %s) "
        "UNION ALL (SELECT * FROM pending_actions WHERE workspace_id = %s AND is_open = 0 AND updated_at >= %s "
        "ORDER BY updated_at DESC, id DESC LIMIT %s)",
        workspace,
        limit,
        workspace,
        closed_since,
        limit,
    )
    return [
        Event(
            id=row["id"],
            kind=row["kind"],
            label=row["label"],
            state=ActionState(row["state"]),
            due_at=row["due_at"],
            generation=int(row["generation"]),
            sequence=int(row["sequence"]),
            reason=row["reason"],
            requested_by=row["requested_by"],
            changed_at=row["updated_at"],
        )
        for row in rows
    ]


async def count_open(db: Database) -> Mapping[tuple[str, str], int]:
    """How many actions of a kind are in each open state, over all workspaces, for metrics."""
    rows = await db.all("SELECT kind, state, COUNT(*) AS n FROM pending_actions WHERE is_open = 1 GROUP BY kind, state")
    return {(row["kind"], row["state"]): int(row["n"]) for row in rows}


async def count_due(
    db: Database, wanted: ActionFilter, edges: tuple[datetime, datetime, datetime, datetime]
) -> Sequence[int]:
    """How many of the wanted open actions are due before the first of the rising edges, between two, and after all."""
    rows = await db.all(
        "SELECT (due_at >= %s) + (due_at >= %s) + (due_at >= %s) + (due_at >= %s) AS place, COUNT(*) AS n "
        "FROM pending_actions WHERE workspace_id = %s AND is_open = 1 "
        "AND (%s IS NULL OR kind = %s) AND (%s IS NULL OR project_id = %s) GROUP BY place",
        *edges,
        wanted.workspace,
        *_twice(wanted.kind),
        *_twice(wanted.project),
    )
    found = {int(row["place"]): int(row["n"]) for row in rows}
    return [found.get(place, 0) for place in range(len(edges) + 1)]


async def overdue(db: Database, *, before: datetime) -> Mapping[str, tuple[int, datetime]]:
    """By kind, how many actions were due before a time and only wait, and the oldest due time of these."""
    rows = await db.all(
        "SELECT kind, COUNT(*) AS n, MIN(due_at) AS oldest FROM pending_actions "
        "WHERE is_open = 1 AND due_at < %s AND state = 'pending' GROUP BY kind",
        before,
    )
    return {row["kind"]: (int(row["n"]), row["oldest"]) for row in rows}


async def list_audit(
    db: Database, wanted: AuditFilter, *, before: tuple[datetime, int] | None, limit: int
) -> Sequence[AuditRow]:
    """The audit log, newest first, from before the time and position `before`."""
    before_at, before_position = before if before is not None else (datetime(9999, 1, 1, tzinfo=UTC), 0)
    is_family = wanted.action is not None and wanted.action.endswith("*")
    rows = await db.all(
        "SELECT * FROM audit_log WHERE workspace_id = %s AND (%s IS NULL OR project_id = %s) "
        "AND (%s IS NULL OR action = %s) AND (%s IS NULL OR action LIKE %s) AND (%s IS NULL OR actor_person = %s) "
        "AND (%s IS NULL OR domain = %s) AND (%s IS NULL OR at >= %s) AND (%s IS NULL OR at < %s) "
        "AND at <= %s AND (at < %s OR position < %s) ORDER BY at DESC, position DESC LIMIT %s",
        wanted.workspace,
        *_twice(wanted.project),
        *_twice(None if is_family else wanted.action),
        *_twice(_all_of(wanted.action) if is_family else None),
        *_twice(wanted.person),
        *_twice(wanted.domain),
        *_twice(wanted.since),
        *_twice(wanted.until),
        before_at,
        before_at,
        before_position,
        limit,
    )
    return [_audit_row(row) for row in rows]


async def find_audit(db: Database, entry: str, *, workspace: str) -> AuditRow | None:
    """One entry of the workspace's audit log."""
    row = await db.one("SELECT * FROM audit_log WHERE id = %s AND workspace_id = %s", entry, workspace)
    return None if row is None else _audit_row(row)


class Change(NamedTuple):
    """A line of the audit log that is new."""

    position: int
    workspace: str
    project: str | None
    action: str
    at: datetime


async def changes(db: Database, *, after: int | None, limit: int) -> Sequence[Change]:
    """The lines behind a position, oldest first, over all workspaces; for None the last one there is."""
    rows = await db.all(
        "SELECT position, workspace_id, project_id, action, at FROM audit_log "
        "WHERE position > COALESCE(%s, (SELECT MAX(position) - 1 FROM audit_log)) ORDER BY position LIMIT %s",
        after,
        limit,
    )
    return [
        Change(int(row["position"]), row["workspace_id"], row["project_id"], row["action"], row["at"]) for row in rows
    ]


def _twice(value: object) -> tuple[object, object]:
    return value, value


def _all_of(family: str | None) -> str | None:
    """The pattern of SQL for a family of actions, in which `_` is a letter."""
    return None if family is None else family.replace("_", r"\_").replace("*", "%")


def _audit_row(row: Row) -> AuditRow:
    return AuditRow(
        position=int(row["position"]),
        id=row["id"],
        project=row["project_id"],
        action=row["action"],
        actor_key=row["actor_key"],
        actor_person=row["actor_person"],
        at=row["at"],
        detail=json.loads(row["detail"]),
    )


def _action(row: Row) -> Action:
    return Action(
        id=row["id"],
        kind=row["kind"],
        subject=row["subject"],
        label=row["label"],
        project=row["project_id"],
        due_at=row["due_at"],
        state=ActionState(row["state"]),
        generation=int(row["generation"]),
        reason=row["reason"],
        requested_by=row["requested_by"],
    )
