"""SQL: claims to custom domains. Of all claims to one domain the database lets one own it (`owned_hostname`)."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from lifecycle import ids
from lifecycle.db import Connection, Database, Row
from lifecycle.deploy import routing_store
from lifecycle.deploy.model import Environment
from lifecycle.deploy.verification import rules
from lifecycle.deploy.verification.model import Purpose, Question, Ruling, Sight, Status
from lifecycle.deploy.verification.rules import Claim


class Refusal(StrEnum):
    """Why a domain cannot be claimed."""

    NO_PROJECT = "no_project"
    ENDING = "ending"
    TAKEN = "taken"


class Claimed(NamedTuple):
    """A claim that was written down."""

    id: str
    workspace: str
    token: str
    status: Status


class Released(NamedTuple):
    """A claim that was given back, now or by a former attempt.

    Attributes:
        certified: the project has a certificate for this name and no other.
        issuing: that one is being issued.
    """

    id: str
    certified: bool
    issuing: bool


class _Ordered(NamedTuple):
    """The certificate of a domain, as lists show it."""

    workspace: str
    project: str | None
    names: tuple[str, ...]
    challenge: str
    is_issuing: bool
    is_lapsing: bool


class Listed(NamedTuple):
    """A claim as lists show it.

    Attributes:
        contested: another project owns the domain, or asks for it.
    """

    claim: Claim
    contested: bool


def identity(project: str, hostname: str) -> str:
    """The id of a project's claim to a domain: always the same, so that one that is made anew has the same clock."""
    return ids.derived("dom", project, hostname)


async def claim(
    db: Database, project: str, hostname: str, environment: Environment, token: str, *, verify: bool, now: datetime
) -> Claimed | Refusal:
    """Write down that a project wants a domain; one that it owns already may change its environment.

    Args:
        db: the database.
        project: who wants it.
        hostname: the domain.
        environment: whose live deployment it is to show.
        token: a fresh one; one that was made before stays.
        verify: False gives the domain to whoever asks first, and routes it.
        now: the present moment.
    """

    async def work(connection: Connection) -> Claimed | Refusal:
        claims = await _lock(connection, hostname)
        owner = await connection.one("SELECT workspace_id, state FROM projects WHERE id = %s FOR UPDATE", project)
        if owner is None:
            return Refusal.NO_PROJECT
        if owner["state"] == "purging":
            return Refusal.ENDING
        held = any(one.project != project and one.status.owns for one in claims)
        if (held and not verify) or await routing_store.is_generated(connection, hostname):
            return Refusal.TAKEN
        key = identity(project, hostname)
        former = next((one for one in claims if one.project == project), None)
        owns = not verify or (former is not None and former.status.owns)
        status = (former.status if former and former.status.owns else Status.VERIFIED) if owns else Status.PENDING
        kept = token if former is None or not former.token else former.token
        await connection.execute(
            "INSERT INTO domains (id, project_id, hostname, kind, environment, status, token, verified_at, created_at) "
            "VALUES (%s, %s, %s, 'custom', %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE "
            "environment = VALUES(environment), status = VALUES(status), token = VALUES(token), "
            "verified_at = COALESCE(domains.verified_at, VALUES(verified_at))",
            key,
            project,
            hostname,
            environment.value,
            status.value,
            kept,
            now if owns else None,
            now,
        )
        if owns:
            await routing_store.route_custom(connection, project, hostname, environment, now)
        return Claimed(key if former is None else former.id, owner["workspace_id"], kept, status)

    return await db.transaction(work)


async def release(db: Database, project: str, hostname: str) -> Released:
    """Give a domain back, and its route; repeating it changes nothing."""

    async def work(connection: Connection) -> Released:
        await _lock(connection, hostname)
        await connection.execute("DELETE FROM domains WHERE project_id = %s AND hostname = %s", project, hostname)
        await routing_store.unroute_custom(connection, project, hostname)
        ordered = await _ordered(connection, hostname)
        certified = ordered is not None and (ordered.project, ordered.names) == (project, (hostname,))
        return Released(
            identity(project, hostname), certified, issuing=certified and ordered is not None and ordered.is_issuing
        )

    return await db.transaction(work)


async def settle(db: Database, question: Question, sight: Sight, now: datetime) -> Ruling:
    """Write down what a look has come to; the routes of all whom it concerns change in the same transaction.

    Until `note_told`, every repetition and every other look names those again who have to be told.
    """

    async def work(connection: Connection) -> Ruling:
        claims = await _lock(connection, question.hostname)
        mine = next((one for one in claims if one.id == question.id and one.token == question.token), None)
        if mine is None:
            return Ruling(gone=True)
        settled = rules.settle(claims, mine.id, sight, version=question.version, begun_at=question.begun_at, now=now)
        before = {one.id: one for one in claims}
        changed = [one for one in settled.claims if one != before[one.id]]
        # Who loses comes first: two owners at a time are refused by the table.
        for one in sorted(changed, key=lambda one: one.status.owns):
            if before[one.id].status.owns and not one.status.owns:
                await routing_store.unroute_custom(connection, one.project, one.hostname)
            await _update(connection, one)
        if settled.ruling.status.owns and not mine.status.owns:
            await routing_store.route_custom(connection, mine.project, mine.hostname, mine.environment, now)
        return await _with_certificate(connection, settled.ruling, mine)

    return await db.transaction(work)


async def note_told(db: Database, told: Sequence[tuple[str, int]]) -> None:
    """All are told, or will be, who have to know of these changes: of the claim with this id, at this version."""

    async def work(connection: Connection) -> None:
        for claim, version in told:
            await connection.execute("UPDATE domains SET untold = FALSE WHERE id = %s AND version = %s", claim, version)

    await db.transaction(work)


async def listed(db: Database, project: str) -> Mapping[str, Listed]:
    """The claims of a project, by domain."""
    rows = await db.all(
        "SELECT d.*, EXISTS (SELECT 1 FROM domains r WHERE r.hostname = d.hostname AND r.project_id <> d.project_id "
        "AND r.status IN ('pending', 'verified', 'dangling')) AS contested FROM domains d "
        "WHERE d.project_id = %s AND d.kind = 'custom' ORDER BY d.hostname",
        project,
    )
    return {row["hostname"]: Listed(_claim(row), bool(row["contested"])) for row in rows}


async def first(db: Database, project: str, *, limit: int) -> Mapping[str, Listed]:
    """As many claims of a project, in the order of the alphabet, by domain."""
    rows = await db.all(
        "SELECT d.*, EXISTS (SELECT 1 FROM domains r WHERE r.hostname = d.hostname AND r.project_id <> d.project_id "
        "AND r.status IN ('pending', 'verified', 'dangling')) AS contested FROM domains d "
        "WHERE d.project_id = %s AND d.kind = 'custom' ORDER BY d.hostname LIMIT %s",
        project,
        limit,
    )
    return {row["hostname"]: Listed(_claim(row), bool(row["contested"])) for row in rows}


async def statuses(db: Database, project: str, hostnames: Sequence[str]) -> Mapping[str, Status]:
    """How far a project has proved its claims to these domains; what it does not claim is left out."""
    rows = await db.all(
        "SELECT d.hostname, d.status FROM JSON_TABLE(%s, '$[*]' COLUMNS (name VARCHAR(255) PATH '$')) AS wanted "
        "JOIN domains d ON d.hostname = CONVERT(wanted.name USING utf8mb4) COLLATE utf8mb4_bin "
        "WHERE d.project_id = %s AND d.kind = 'custom'",
        json.dumps(list(hostnames)),
        project,
    )
    return {row["hostname"]: Status(row["status"]) for row in rows}


async def count(db: Database, project: str) -> int:
    """How many domains the project claims."""
    row = await db.one("SELECT COUNT(*) AS n FROM domains WHERE project_id = %s AND kind = 'custom'", project)
    return 0 if row is None else int(row["n"])


class Claimant(NamedTuple):
    """Who claims a domain here, and how far they have proved it."""

    hostname: str
    workspace: str
    status: Status


async def claimants(db: Database, hostnames: Sequence[str]) -> Sequence[Claimant]:
    """Every claim to one of these domains that is not lost; of whatever project and workspace."""
    rows = await db.all(
        "SELECT d.hostname, d.status, p.workspace_id FROM domains d JOIN projects p ON p.id = d.project_id "
        "JOIN JSON_TABLE(%s, '$[*]' COLUMNS (name VARCHAR(255) PATH '$')) AS wanted "
        "ON d.hostname = CONVERT(wanted.name USING utf8mb4) COLLATE utf8mb4_bin "
        "WHERE d.kind = 'custom' AND d.status <> 'lost'",
        json.dumps(list(hostnames)),
    )
    return [Claimant(row["hostname"], row["workspace_id"], Status(row["status"])) for row in rows]


async def count_unverified(db: Database, project: str) -> int:
    """How many domains of the project wait for proof."""
    row = await db.one("SELECT COUNT(*) AS n FROM domains WHERE project_id = %s AND status = 'pending'", project)
    return 0 if row is None else int(row["n"])


async def overdue(db: Database, before: datetime, limit: int) -> Sequence[Claim]:
    """Claims whose next look should have been before this moment, oldest first: their clock was lost."""
    rows = await db.all("SELECT * FROM domains WHERE next_check_at < %s ORDER BY next_check_at LIMIT %s", before, limit)
    return [_claim(row) for row in rows]


async def _lock(connection: Connection, hostname: str) -> Sequence[Claim]:
    """All claims to a domain; nobody else changes them, or adds one, until this transaction ends."""
    rows = await connection.all("SELECT * FROM domains WHERE hostname = %s ORDER BY id FOR UPDATE", hostname)
    return [_claim(row) for row in rows]


async def _update(connection: Connection, claim: Claim) -> None:
    await connection.execute(
        "UPDATE domains SET status = %s, version = %s, sight = %s, reason = %s, bad_looks = %s, verified_at = %s, "
        "routed_at = %s, checked_at = %s, next_check_at = %s, begun_at = %s, untold = %s WHERE id = %s",
        claim.status.value,
        claim.version,
        claim.sight.model_dump_json(),
        claim.reason,
        claim.bad_looks,
        claim.verified_at,
        claim.routed_at,
        claim.checked_at,
        claim.next_check_at,
        claim.begun_at,
        claim.untold,
        claim.id,
    )


async def _with_certificate(connection: Connection, ruling: Ruling, mine: Claim) -> Ruling:
    """Whether a certificate may be asked for, whether one of somebody else has to give way, and what others forfeit.

    One of ours that was ordered with further names, or another way, stays as it is. One of others with further names is
    renewed no more at first, and gives way at the next look: whoever has it can see to the other names meanwhile.
    """
    if not ruling.status.owns:
        return ruling
    workspace = await _workspace(connection, mine.project)
    # What leads here by itself proves too little to take anything from others.
    if workspace is not None and ruling.proof is Purpose.OWNERSHIP:
        ruling = ruling.model_copy(update={"forfeits": await _with_others(connection, mine.hostname, workspace)})
    ordered = await _ordered(connection, mine.hostname)
    if ordered is None:
        return ruling.model_copy(update={"certificate": True, "missing": True})
    is_plain = ordered.names == (mine.hostname,)
    if ordered.project in {None, mine.project} and ordered.workspace == workspace:
        return ruling.model_copy(update={"certificate": is_plain and ordered.challenge == "http-01"})
    gives_way = ordered.is_lapsing or (is_plain and ruling.proof is Purpose.OWNERSHIP)
    return ruling.model_copy(update={"certificate": gives_way, "displaces": gives_way})


async def _with_others(connection: Connection, hostname: str, workspace: str) -> tuple[str, ...]:
    """The domains whose certificates have this name among others, and belong to other workspaces."""
    rows = await connection.all(
        "SELECT domain FROM certificate_domains WHERE workspace_id <> %s AND status <> 'removed' "
        "AND JSON_CONTAINS(names, JSON_QUOTE(%s)) AND JSON_LENGTH(names) > 1 ORDER BY domain",
        workspace,
        hostname,
    )
    return tuple(str(row["domain"]) for row in rows)


async def _workspace(connection: Connection, project: str) -> str | None:
    row = await connection.one("SELECT workspace_id FROM projects WHERE id = %s", project)
    return None if row is None else str(row["workspace_id"])


async def _ordered(connection: Connection, hostname: str) -> _Ordered | None:
    row = await connection.one(
        "SELECT * FROM certificate_domains WHERE domain = %s AND status <> 'removed'",
        hostname,
    )
    if row is None:
        return None
    is_issuing = row["status"] in {"issuing", "renewing"}
    return _Ordered(
        workspace=row["workspace_id"],
        project=row["project_id"],
        names=tuple(json.loads(row["names"])),
        challenge=row["challenge"],
        is_issuing=is_issuing,
        is_lapsing=row["next_renewal_at"] is None and not is_issuing,
    )


def _claim(row: Row) -> Claim:
    return Claim(
        id=row["id"],
        project=row["project_id"],
        hostname=row["hostname"],
        environment=Environment(row["environment"]),
        token=row["token"],
        status=Status(row["status"]),
        version=int(row["version"]),
        sight=Sight() if row["sight"] is None else Sight.model_validate_json(row["sight"]),
        reason=row["reason"],
        bad_looks=int(row["bad_looks"]),
        verified_at=row["verified_at"],
        routed_at=row["routed_at"],
        checked_at=row["checked_at"],
        next_check_at=row["next_check_at"],
        begun_at=row["begun_at"],
        untold=bool(row["untold"]),
    )
